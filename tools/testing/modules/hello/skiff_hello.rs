// SPDX-License-Identifier: GPL-2.0

//! A device, an ioctl and an mmap: proof that a Rust module builds against a KDIR and runs there.
//!
//! Interface of `/dev/skiff_hello` for the program that tests it:
//!
//! ```c
//! struct skiff_hello { __u64 in; __u64 out; };
//! #define SKIFF_HELLO_XOR    _IOWR('s', 1, struct skiff_hello) // 0xc0107301
//! // out = in ^ 0x5c1ff0c0ffee1dea; `in` comes back as it was
//! // any other command: ENOTTY; a bad pointer: EFAULT
//! // mmap: offset 0, exactly one page (4096 bytes), else EINVAL. The first eight bytes hold
//! // 0x6f6c6c6548666b53 (little endian "SkfHello"), the others are zero.
//! ```
//!
//! Every open file has a page of its own; a store into a shared mapping is seen by the other
//! mappings of the same open file. The page lives until the file is closed and all mappings are
//! gone: the file holds one reference, every mapping another. Nothing here takes a lock: the page
//! is written before anybody can map it, and never touched by the kernel afterwards.
//!
//! On 7.2 an open `MiscDevice` does not pin its module: close all files before `rmmod`.

use kernel::{
    fs::File,
    ioctl::{
        _IOC_SIZE,
        _IOWR, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    mm::virt::VmaNew,
    page::{
        Page,
        PAGE_SIZE, //
    },
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

/// What the ioctl applies to its input.
const XOR_MASK: u64 = 0x5c1f_f0c0_ffee_1dea;

/// What the first eight bytes of a fresh page hold: "SkfHello".
const PAGE_MAGIC: [u8; 8] = *b"SkfHello";

/// Layout of the ioctl's argument.
#[repr(C)]
struct HelloArg {
    input: u64,
    output: u64,
}

/// The one ioctl.
const HELLO_XOR: u32 = _IOWR::<HelloArg>('s' as u32, 1);

module! {
    type: HelloModule,
    name: "skiff_hello",
    authors: ["The Skiff developers"],
    description: "Test device: an ioctl and an mmap in Rust",
    license: "GPL",
}

/// The module's state: the registered device.
#[pin_data]
struct HelloModule {
    #[pin]
    _device: MiscDeviceRegistration<HelloFile>,
}

impl kernel::InPlaceModule for HelloModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _device <- MiscDeviceRegistration::register(MiscDeviceOptions {
                name: c"skiff_hello",
            }),
        })
    }
}

/// An open file: owns the page that its mappings show.
struct HelloFile {
    page: Page,
}

impl HelloFile {
    /// Answers [`HELLO_XOR`] for the argument at user address `arg`, `size` bytes long.
    fn xor(arg: usize, size: usize) -> Result {
        let (mut reader, mut writer) =
            UserSlice::new(UserPtr::from_addr(arg), size).reader_writer();
        let input: u64 = reader.read()?;

        writer.write(&input)?;
        writer.write(&(input ^ XOR_MASK))
    }
}

#[vtable]
impl MiscDevice for HelloFile {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        let page = Page::alloc_page(GFP_KERNEL | __GFP_ZERO)?;
        // SAFETY:
        // - `PAGE_MAGIC` is valid for reads of its own length.
        // - Nobody else knows the page yet, so there is no data race.
        unsafe { page.write_raw(PAGE_MAGIC.as_ptr(), 0, PAGE_MAGIC.len())? };
        Ok(KBox::new(Self { page }, GFP_KERNEL)?)
    }

    fn mmap(me: &Self, _file: &File, vma: &VmaNew) -> Result {
        // SAFETY: `vma` refers to a vma that is being set up, so its fields may be read.
        let offset = unsafe { (*vma.as_ptr()).vm_pgoff };

        if offset != 0 || vma.end() - vma.start() != PAGE_SIZE {
            return Err(EINVAL);
        }
        vma.set_dontexpand();
        vma.set_mixedmap().vm_insert_page(vma.start(), &me.page)
    }

    fn ioctl(_me: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            HELLO_XOR => Self::xor(arg, _IOC_SIZE(cmd))?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }
}
