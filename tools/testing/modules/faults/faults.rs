// SPDX-License-Identifier: GPL-2.0

//! Deliberate faults, one for each detector of the debug kernel: proof that it can fail.
//!
//! Interface of `/dev/skiff_faults` for the program that tests it. Writing a name, with or without
//! a newline, commits the fault in the writer's context and then succeeds; the detector's report is
//! in the kernel log. An unknown name is EINVAL.
//!
//! | name | the fault | line in the log |
//! |---|---|---|
//! | `kasan` | reads one byte behind a heap allocation | `BUG: KASAN: slab-out-of-bounds in ` |
//! | `ubsan` | shifts an int by 40, in C | `UBSAN: shift-out-of-bounds in ` |
//! | `lockdep` | takes two mutexes in both orders | `WARNING: possible circular locking dependency detected` |
//! | `atomic-sleep` | allocates with GFP_KERNEL under a spinlock | `BUG: sleeping function called from invalid context at ` |
//! | `kmemleak` | forgets [`LEAKS`] objects of [`LEAK_SIZE`] bytes | none, see below |
//! | `warn` | a failed assertion that the kernel survives | `WARNING: ` and a place in this module |
//!
//! * lockdep reports one problem in a boot, and none after a KASAN report: give it the
//!   first place, or a boot of its own.
//! * kmemleak: write `scan` to `/sys/kernel/debug/kmemleak`, and again at least five seconds after
//!   the fault; then that file has [`LEAKS`] lines `unreferenced object 0x... (size 256):` whose
//!   backtraces name this module, and the kernel log has `kmemleak: 8 new suspected memory leaks`.
//!   The kernel needs `slab_debug=U`: SLUB's sheaves hold on to object addresses otherwise.
//! * fail-nth is an ioctl, not a name:
//!
//! ```c
//! #define SKIFF_FAULTS_ALLOCATE _IO('s', 2) // 0x7302
//! // Makes four allocations of different kinds one after the other, frees them all and returns 4;
//! // ENOMEM as soon as one of them fails, with everything freed that was there already.
//! ```
//!
//!   First write `N` to `/sys/kernel/debug/failslab/ignore-gfp-wait` and to
//!   `/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait`, and `0` to `min-order` of the latter: by
//!   default nothing that may sleep ever fails. Then, for n = 1, 2, ...: write n to
//!   `/proc/self/fail-nth`, call the ioctl, read the file back (same descriptor, offset 0). `0`
//!   means that the nth point inside the call failed, and the log has `FAULT_INJECTION: forcing a
//!   failure.`; the ioctl gave ENOMEM, or 4 where the kernel has a way round (the metadata of KASAN
//!   and kmemleak are such points). Anything else, or a read that fails with EFAULT because its own
//!   copy was the nth point, means that there are no more points: write 0 and stop. At least four n
//!   give ENOMEM.
//!
//! The locks belong to an open file; no fault touches what others use.

use core::ffi::{
    c_int,
    c_uint, //
};

use kernel::{
    fs::{
        File,
        Kiocb, //
    },
    ioctl::_IO,
    iov::IovIterSource,
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    new_mutex, new_spinlock,
    page::Page,
    prelude::*,
    sync::{
        Mutex,
        SpinLock, //
    },
    warn_on,
};

/// Number of objects that `kmemleak` forgets: one alone may be shadowed by a stale register.
const LEAKS: usize = 8;

/// Size of each of them in bytes; kmemleak tells that of the slab, 256.
const LEAK_SIZE: usize = 200;

/// The ioctl that allocates.
const FAULTS_ALLOCATE: u32 = _IO('s' as u32, 2);

/// Longest name that is looked at, in bytes.
const NAME_MAX: usize = 32;

unsafe extern "C" {
    /// `1 << by`, undefined above 31; see shift.c.
    safe fn skiff_faults_shift(by: c_uint) -> c_int;
}

module! {
    type: FaultsModule,
    name: "skiff_faults",
    authors: ["The Skiff developers"],
    description: "Deliberate faults for the detectors of a debug kernel",
    license: "GPL",
}

/// The module's state: the registered device.
#[pin_data]
struct FaultsModule {
    #[pin]
    _device: MiscDeviceRegistration<FaultsFile>,
}

impl kernel::InPlaceModule for FaultsModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _device <- MiscDeviceRegistration::register(MiscDeviceOptions {
                name: c"skiff_faults",
            }),
        })
    }
}

/// An open file, with the locks that the faults misuse.
#[pin_data]
struct FaultsFile {
    #[pin]
    first: Mutex<()>,
    #[pin]
    second: Mutex<()>,
    #[pin]
    spin: SpinLock<()>,
}

impl FaultsFile {
    /// Reads one byte behind an allocation.
    fn kasan() -> Result {
        let object = KBox::new([0u8; 24], GFP_KERNEL)?;
        let start: *const u8 = core::hint::black_box(object.as_ptr());

        // SAFETY: Not answered: the byte is outside the object, which is the fault. It is inside
        // the slab, so that the read itself does no harm.
        let byte = unsafe { start.add(24).read_volatile() };
        core::hint::black_box(byte);
        Ok(())
    }

    /// Shifts an int by more than its width.
    fn ubsan() {
        core::hint::black_box(skiff_faults_shift(core::hint::black_box(40)));
    }

    /// Takes two mutexes in one order, then in the other.
    fn lockdep(&self) {
        {
            let _first = self.first.lock();
            let _second = self.second.lock();
        }
        {
            let _second = self.second.lock();
            let _first = self.first.lock();
        }
    }

    /// Makes an allocation that may sleep where nothing may.
    fn atomic_sleep(&self) -> Result {
        let _guard = self.spin.lock();

        KBox::new([0u8; 24], GFP_KERNEL)?;
        Ok(())
    }

    /// Forgets some objects.
    fn kmemleak() -> Result {
        for _ in 0..LEAKS {
            let object = KBox::new([0x5au8; LEAK_SIZE], GFP_KERNEL)?;
            core::hint::black_box(KBox::into_raw(object));
        }
        Ok(())
    }

    /// Makes one allocation of each kind; returns how many.
    fn allocate() -> Result<isize> {
        let flags = GFP_KERNEL | __GFP_NOWARN;
        let boxed = KBox::new(0u64, flags)?;
        let array = KVec::<u64>::with_capacity(64, flags)?;
        let page = Page::alloc_page(flags)?;
        let virt = VVec::<u8>::with_capacity(2 * kernel::page::PAGE_SIZE, flags)?;

        core::hint::black_box((&boxed, &array, &page, &virt));
        Ok(4)
    }

    /// Commits the fault that `name` asks for.
    fn commit(&self, name: &[u8]) -> Result {
        match name {
            b"kasan" => Self::kasan()?,
            b"ubsan" => Self::ubsan(),
            b"lockdep" => self.lockdep(),
            b"atomic-sleep" => self.atomic_sleep()?,
            b"kmemleak" => Self::kmemleak()?,
            b"warn" => {
                warn_on!(core::hint::black_box(true));
            }
            _ => return Err(EINVAL),
        }
        Ok(())
    }
}

#[vtable]
impl MiscDevice for FaultsFile {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Pin<KBox<Self>>> {
        KBox::try_pin_init(
            try_pin_init!(Self {
                first <- new_mutex!((), "skiff_faults_first"),
                second <- new_mutex!((), "skiff_faults_second"),
                spin <- new_spinlock!((), "skiff_faults_spin"),
            }),
            GFP_KERNEL,
        )
    }

    fn write_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        if iov.len() > NAME_MAX {
            return Err(EINVAL);
        }
        let mut name = KVec::new();
        let len = iov.copy_from_iter_vec(&mut name, GFP_KERNEL)?;

        kiocb.file().commit(name.trim_ascii_end())?;
        Ok(len)
    }

    fn ioctl(_me: Pin<&Self>, _file: &File, cmd: u32, _arg: usize) -> Result<isize> {
        match cmd {
            FAULTS_ALLOCATE => Self::allocate(),
            _ => Err(ENOTTY),
        }
    }
}
