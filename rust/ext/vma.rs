// SPDX-License-Identifier: GPL-2.0

//! Areas of a program's memory that lead to page frames, filled on faults and taken back at any time.
//!
//! An object that can be mapped implements [`Mapped`]; [`NewVma::install`] ties one to an area, which keeps a reference
//! for itself and for each piece that it is split into. [`AddressSpace::zap`] takes the pages of all areas of a file
//! back; what keeps them from coming back at once is that [`Mapped::fault`] does not insert them any more.
//!
//! No page is counted: the frames that [`Fault::insert`] gets must be there until they are zapped, or the areas gone.
//!
//! # Locking
//!
//! All methods of [`Mapped`] are called under the mmap lock; they must not wait for what is done under it.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::bindings as helpers;
use core::{
    marker::PhantomData,
    ops::Range,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    fs::File,
    mm::virt::{
        flags,
        VmaNew, //
    },
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::Arc, //
};

/// How the CPU goes about a page. On x86 the memory type that is known for the frame has the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// As ordinary memory.
    WriteBack,
    /// Stores are gathered, loads are not cached.
    WriteCombining,
    /// Neither.
    Uncached,
}

/// What a program may do with an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load and store.
    ReadWrite,
    /// Load only, whatever the program asks for later.
    ReadOnly,
}

/// How a fault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The page is there.
    Done,
    /// There is no such page.
    Sigbus,
    /// There is no memory for the page table.
    NoMemory,
}

impl Outcome {
    /// As the C API returns it.
    fn raw(self) -> bindings::vm_fault_t {
        match self {
            Self::Done => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
            Self::Sigbus => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
            Self::NoMemory => bindings::vm_fault_reason_VM_FAULT_OOM,
        }
    }
}

/// What an area of a program's memory leads to.
pub trait Mapped: Send + Sync + 'static {
    /// A program touched a page that is not there.
    fn fault(&self, fault: &mut Fault<'_>) -> Outcome;

    /// There is one more area: the first one, a piece that was split off, or one that is being moved to.
    fn opened(&self);

    /// There is one area less, and no page of it is in any page table or TLB.
    fn closed(&self);
}

/// An area that is being made, in `mmap`.
pub struct NewVma<'a> {
    /// The kernel crate's idea of it.
    vma: &'a VmaNew,
}

impl<'a> NewVma<'a> {
    /// The area of an `mmap` call.
    ///
    /// # Safety
    ///
    /// `vma` is what `file_operations.mmap` was called with, and the call lasts for `'a`.
    pub unsafe fn from_raw(vma: *mut bindings::vm_area_struct) -> Self {
        Self {
            // SAFETY: The caller says that the area is undergoing initial setup for `'a`.
            vma: unsafe { VmaNew::from_raw(vma) },
        }
    }

    /// Its length.
    pub fn pages(&self) -> usize {
        // PANIC: An area ends behind its start.
        (self.vma.end() - self.vma.start()) / PAGE_SIZE
    }

    /// The page of the file that it starts with, as the program said.
    pub fn first_page(&self) -> u64 {
        // SAFETY: The area is ours alone during initial setup.
        let page = unsafe { (*self.vma.as_ptr()).vm_pgoff };
        // CAST: Both are 64 bits wide.
        page as u64
    }

    /// The offset that the program said, in bytes.
    pub fn offset(&self) -> u64 {
        // The system call took it as a number of 64 bits.
        self.first_page().wrapping_shl(PAGE_SHIFT as u32)
    }

    /// Lets the area lead to `map`. [`EINVAL`] when it is private or executable, [`EACCES`] when the program wants to
    /// write what it may not.
    pub fn install<T: Mapped>(&self, map: Arc<T>, access: Access) -> Result {
        let vma = self.vma;
        // `flags::MAYSHARE` of the kernel crate has the value of VM_MAYEXEC (rust/bindings/bindings_helper.h, 7.2).
        //
        // SAFETY: The area is valid for as long as `self`.
        if !unsafe { helpers::vma_may_share(vma.as_ptr()) } {
            return Err(EINVAL);
        }
        vma.try_clear_mayexec().map_err(|_| EINVAL)?;
        if access == Access::ReadOnly {
            vma.try_clear_maywrite().map_err(|_| EACCES)?;
        }
        map.opened();
        // SAFETY: The area is undergoing initial setup. It is shared, so that page frames may be in it, and no page is.
        unsafe {
            helpers::vm_flags_mod(
                vma.as_ptr(),
                flags::PFNMAP | flags::IO | flags::DONTEXPAND | flags::DONTDUMP | flags::DONTCOPY,
                0,
            )
        };
        // SAFETY: As above. The area owns the reference from here on; `close` gives it back.
        unsafe {
            (*vma.as_ptr()).vm_private_data = Arc::into_raw(map).cast_mut().cast();
            (*vma.as_ptr()).vm_ops = &Table::<T>::OPS;
        }
        Ok(())
    }
}

/// A fault on a page that is not there.
pub struct Fault<'a> {
    /// What the kernel says of it.
    fault: NonNull<bindings::vm_fault>,
    /// The call lasts that long.
    call: PhantomData<&'a mut bindings::vm_fault>,
}

impl Fault<'_> {
    /// The area.
    fn vma(&self) -> *mut bindings::vm_area_struct {
        // SAFETY: The fault is there during the call.
        unsafe { self.fault.as_ref() }.__bindgen_anon_1.vma
    }

    /// The page of the file that was touched.
    pub fn page(&self) -> u64 {
        // SAFETY: As above.
        let page = unsafe { self.fault.as_ref() }.__bindgen_anon_1.pgoff;
        // CAST: Both are 64 bits wide.
        page as u64
    }

    /// First page of the file, first address, and address behind the last one of the area.
    fn bounds(&self) -> (u64, usize, usize) {
        // SAFETY: The mmap lock or the area's own is held during the call, so that the area does not change.
        unsafe {
            let vma = self.vma();
            let range = (*vma).__bindgen_anon_1.__bindgen_anon_1;
            // CAST: Both are 64 bits wide.
            ((*vma).vm_pgoff as u64, range.vm_start, range.vm_end)
        }
    }

    /// The pages of the file around the touched one that the area has and that share `pages` aligned pages of addresses
    /// with it; `pages` must be a power of two not above 512, so that they share a page table, too.
    pub fn around(&self, pages: usize) -> Range<u64> {
        let (first, start, end) = self.bounds();
        // SAFETY: The fault is there during the call.
        let address = unsafe { self.fault.as_ref() }.__bindgen_anon_1.address;
        let bytes = pages.clamp(1, 512) * PAGE_SIZE;
        let low = (address & !(bytes - 1)).max(start);
        // PANIC: Programs' addresses are far from the last one; none of these is below `start`.
        let high = ((address & !(bytes - 1)) + bytes).min(end);
        let page_of =
            |address: usize| first.saturating_add(((address - start) >> PAGE_SHIFT) as u64);
        page_of(low)..page_of(high)
    }

    /// Lets `page` of the file lead to `frame`; nothing happens when it leads somewhere already.
    pub fn insert(&mut self, page: u64, frame: u64, caching: Caching) -> Outcome {
        let (first, start, end) = self.bounds();
        let address = page
            .checked_sub(first)
            .and_then(|page| usize::try_from(page).ok())
            .and_then(|page| page.checked_mul(PAGE_SIZE))
            .and_then(|distance| start.checked_add(distance));
        let Some(address) = address.filter(|address| *address < end) else {
            return Outcome::Sigbus;
        };
        let vma = self.vma();
        // SAFETY: As in `bounds`.
        let plain = unsafe { (*vma).vm_page_prot };
        let prot = match caching {
            Caching::WriteBack => plain,
            // SAFETY: It takes any value.
            Caching::WriteCombining => unsafe { bindings::pgprot_writecombine(plain) },
            // SAFETY: It takes any value.
            Caching::Uncached => unsafe { helpers::pgprot_noncached(plain) },
        };
        // CAST: Both are 64 bits wide.
        // SAFETY: `install` has made it a shared area of page frames, and the address is inside.
        let result = unsafe { bindings::vmf_insert_pfn_prot(vma, address, frame as usize, prot) };
        if result == bindings::vm_fault_reason_VM_FAULT_NOPAGE {
            Outcome::Done
        } else if result == bindings::vm_fault_reason_VM_FAULT_OOM {
            Outcome::NoMemory
        } else {
            Outcome::Sigbus
        }
    }
}

/// The operations of areas that lead to a `T`.
struct Table<T>(PhantomData<T>);

impl<T: Mapped> Table<T> {
    /// As the C API takes them.
    const OPS: bindings::vm_operations_struct = bindings::vm_operations_struct {
        open: Some(Self::open),
        close: Some(Self::close),
        fault: Some(Self::fault),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `vma` is an area that has these operations.
    unsafe extern "C" fn open(vma: *mut bindings::vm_area_struct) {
        // SAFETY: `install` has put it there, and the area that this one is a copy of has a reference.
        let map = unsafe { Arc::from_raw((*vma).vm_private_data.cast::<T>()) };
        map.opened();
        // One reference for each of the two.
        let _ = Arc::into_raw(map.clone());
        let _ = Arc::into_raw(map);
    }

    /// # Safety
    ///
    /// `vma` is an area that has these operations.
    unsafe extern "C" fn close(vma: *mut bindings::vm_area_struct) {
        // SAFETY: `install` or `open` has put it there with a reference, which nobody uses after us.
        let map = unsafe { Arc::from_raw((*vma).vm_private_data.cast::<T>()) };
        map.closed();
    }

    /// # Safety
    ///
    /// `fault` is a fault in an area that has these operations.
    unsafe extern "C" fn fault(fault: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: The caller says that there is one, and its area has a reference while the call lasts.
        let map = unsafe { &*(*(*fault).__bindgen_anon_1.vma).vm_private_data.cast::<T>() };
        let Some(fault) = NonNull::new(fault) else {
            return Outcome::Sigbus.raw();
        };
        let mut fault = Fault {
            fault,
            call: PhantomData,
        };
        map.fault(&mut fault).raw()
    }
}

/// All areas that were made of a file.
///
/// # Invariants
///
/// `inode` counts a reference of ours.
pub struct AddressSpace {
    /// What the areas hang on.
    inode: NonNull<bindings::inode>,
}

// SAFETY: Inodes can be used by any thread.
unsafe impl Send for AddressSpace {}

// SAFETY: As above.
unsafe impl Sync for AddressSpace {}

impl AddressSpace {
    /// The areas of `file`, which must have an inode of its own: those of others would be zapped, too. Does not keep the
    /// file open.
    pub fn of(file: &File) -> Result<Self> {
        // SAFETY: An open file has an inode, which does not change.
        let inode = NonNull::new(unsafe { (*file.as_ptr()).f_inode }).ok_or(EINVAL)?;
        // SAFETY: The file has a reference.
        unsafe { bindings::ihold(inode.as_ptr()) };
        // INVARIANT: Just taken.
        Ok(Self { inode })
    }

    /// Takes all pages of all areas back; none is in any page table or TLB when it returns, but for those that a fault
    /// has inserted since it was called.
    pub fn zap(&self) {
        // SAFETY: By the type invariant the inode is there, and so is its mapping; 0 pages are all.
        unsafe { bindings::unmap_mapping_range((*self.inode.as_ptr()).i_mapping, 0, 0, 1) };
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::iput(self.inode.as_ptr()) };
    }
}
