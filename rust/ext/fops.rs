// SPDX-License-Identifier: GPL-2.0

//! `struct file_operations` of files whose private data is an [`Arc`].
//!
//! The module that holds this crate owns every table, so it cannot go while a file is open (the kernel crate's
//! `MiscDevice` of Linux 7.2 leaves the owner out). [`crate::chardev`] and [`crate::anon`] make such files.
//!
//! # Locking
//!
//! The kernel holds no lock around the operations but `mmap_lock` around [`FileObject::mmap`]. The object is dropped when the
//! last descriptor and the last map of the file are gone.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use core::{
    marker::PhantomData,
    ptr, //
};

use kernel::{
    bindings,
    fs::{
        File,
        LocalFile, //
    },
    iov::IovIterDest,
    prelude::*,
    seq_file::SeqFile,
    sync::{
        aref::ARef,
        Arc,
        ArcBorrow, //
    },
    types::ForeignOwnable,
    uaccess::UserPtr, //
};

use crate::{
    vma::NewVma,
    wait::WaitQueue, //
};

/// What a poll finds.
#[derive(Clone, Copy, Default)]
pub struct Ready {
    /// There is something to read.
    pub readable: bool,
    /// The object is gone for good.
    pub hung_up: bool,
}

/// Whether a read may wait for something to come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    /// It may.
    Wait,
    /// `O_NONBLOCK` is set or the caller said so: `EAGAIN` instead.
    Never,
}

/// What an open file is to the module: the owner of its private data, and its operations.
pub trait FileObject: Send + Sync + Sized + 'static {
    /// Executes an ioctl. Error: `ENOTTY` for a command that is not known.
    fn ioctl(this: ArcBorrow<'_, Self>, file: &File, command: u32, argument: UserPtr) -> Result;

    /// Fills a new area of a program's memory. Called with `mmap_lock` held for writing.
    fn mmap(_this: ArcBorrow<'_, Self>, _vma: &NewVma<'_>) -> Result {
        Err(ENODEV)
    }

    /// Reads; returns the number of bytes.
    fn read(
        this: ArcBorrow<'_, Self>,
        blocking: Blocking,
        iov: &mut IovIterDest<'_>,
    ) -> Result<usize>;

    /// The queue that is woken when [`FileObject::ready`] changes.
    fn queue(&self) -> &WaitQueue;

    /// What there is at the moment.
    fn ready(&self) -> Ready;

    /// Prints lines for `/proc/PID/fdinfo`.
    fn show_fdinfo(this: ArcBorrow<'_, Self>, out: &SeqFile);
}

/// The table of operations of files whose private data is an `Arc<T>`.
pub(crate) struct Operations<T: FileObject>(PhantomData<T>);

impl<T: FileObject> Operations<T> {
    /// The table of files that are made open.
    pub(crate) const ANONYMOUS: &'static bindings::file_operations = &Self::TABLE;

    /// The table without `open`.
    pub(crate) const TABLE: bindings::file_operations = bindings::file_operations {
        owner: crate::THIS_MODULE,
        llseek: Some(bindings::noop_llseek),
        read_iter: Some(Self::read_iter),
        poll: Some(Self::poll),
        unlocked_ioctl: Some(Self::ioctl),
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: bindings::compat_ptr_ioctl,
        mmap: Some(Self::mmap),
        release: Some(Self::release),
        show_fdinfo: Some(Self::show_fdinfo),
        ..pin_init::zeroed()
    };

    /// Borrows the private data of a file.
    ///
    /// # Safety
    ///
    /// The private data of `file` is an `Arc<T>`, and the file is not released for `'a`.
    unsafe fn object<'a>(file: *mut bindings::file) -> ArcBorrow<'a, T> {
        // SAFETY: The file is valid; its private data was set before it could be used and never changes.
        let private = unsafe { (*file).private_data };
        // SAFETY: By the function's condition it came from `Arc::into_foreign` and is alive.
        unsafe { <Arc<T> as ForeignOwnable>::borrow(private) }
    }

    /// # Safety
    ///
    /// Called by the kernel for a file with this table.
    unsafe extern "C" fn read_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The kernel passes a valid kiocb, whose file has this table and is held by it.
        let this = unsafe { Self::object((*kiocb).ki_filp) };
        // SAFETY: The kernel passes a valid iterator to copy to, for the time of the call.
        let iov = unsafe { IovIterDest::from_raw(iter) };
        // SAFETY: The kiocb is valid for the time of the call.
        let blocking = if unsafe { crate::bindings::kiocb_may_wait(kiocb) } {
            Blocking::Wait
        } else {
            Blocking::Never
        };
        match T::read(this, blocking, iov) {
            // CAST: No read returns more than the iterator takes, which fits in an isize.
            Ok(bytes) => bytes as isize,
            Err(error) => error.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// Called by the kernel for a file with this table.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> bindings::__poll_t {
        // SAFETY: The file has this table and is open for the time of the call.
        let this = unsafe { Self::object(file) };
        // SAFETY: File and table are valid for the time of the call. The queue is part of what the file's private
        // data owns, which is not given up before every poll of the file is over.
        unsafe { bindings::poll_wait(file, this.queue().as_raw(), table) };
        let ready = this.ready();
        let mut mask = 0;
        if ready.readable {
            mask |= bindings::POLLIN | bindings::POLLRDNORM;
        }
        if ready.hung_up {
            mask |= bindings::POLLHUP;
        }
        mask
    }

    /// # Safety
    ///
    /// Called by the kernel for a file with this table.
    unsafe extern "C" fn ioctl(
        file: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long {
        // SAFETY: The file has this table and is open for the time of the call.
        let this = unsafe { Self::object(file) };
        // SAFETY: As above; an ioctl does not use the file's position.
        let file = unsafe { File::from_raw_file(file) };
        match T::ioctl(this, file, command, UserPtr::from_addr(argument)) {
            Ok(()) => 0,
            // CAST: An errno fits in every integer.
            Err(error) => error.to_errno() as c_long,
        }
    }

    /// # Safety
    ///
    /// Called by the kernel for a file with this table.
    unsafe extern "C" fn mmap(
        file: *mut bindings::file,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        // SAFETY: The file has this table and is open for the time of the call.
        let this = unsafe { Self::object(file) };
        // SAFETY: The kernel passes the area that it is setting up, for the time of the call.
        let vma = unsafe { NewVma::from_raw(vma) };
        match T::mmap(this, &vma) {
            Ok(()) => 0,
            Err(error) => error.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by the kernel for a file with this table, once.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The file is valid for the time of the call.
        let private = unsafe { (*file).private_data };
        // SAFETY: It came from `Arc::into_foreign`, and nothing borrows it any more.
        drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign(private) });
        0
    }

    /// # Safety
    ///
    /// Called by the kernel for a file with this table.
    unsafe extern "C" fn show_fdinfo(seq: *mut bindings::seq_file, file: *mut bindings::file) {
        // SAFETY: The file has this table and is open for the time of the call.
        let this = unsafe { Self::object(file) };
        // SAFETY: The kernel passes a seq_file that only this task uses.
        T::show_fdinfo(this, unsafe { SeqFile::from_raw(seq) });
    }
}

/// Gives a file its private data.
///
/// # Safety
///
/// `file` is being opened with a table of [`Operations<T>`] and has none yet.
pub(crate) unsafe fn set_object<T: FileObject>(file: *mut bindings::file, object: Arc<T>) {
    // SAFETY: Nobody else uses the file while it is being opened.
    unsafe { ptr::write(&raw mut (*file).private_data, object.into_foreign()) };
}

/// The object behind a descriptor of the current task, and its file, which the caller keeps open. `EBADF` if it is not a
/// file that [`crate::anon`] has made for a `T`.
pub fn object_of<T: FileObject>(fd: i32) -> Result<(ARef<File>, Arc<T>)> {
    let fd = u32::try_from(fd).map_err(|_| EBADF)?;
    let file = LocalFile::fget(fd).map_err(|_| EBADF)?;
    // SAFETY: The file is referenced, and the operations of an open file do not change.
    let operations = unsafe { (*file.as_ptr()).f_op };
    // The table is made of functions of `T`, so that no other type's can be taken for it.
    if !core::ptr::eq(operations, Operations::<T>::ANONYMOUS) {
        return Err(EBADF);
    }
    // SAFETY: A file with that table was made with an `Arc<T>`, which it owns until it is released.
    let object = unsafe { Operations::<T>::object(file.as_ptr()) };
    let object = Arc::from(object);
    // SAFETY: `fdget_pos` locks, and its users rely on the position of, files with `FMODE_ATOMIC_POS` alone. Those are opened
    // by a path; a file of this table never has it, and no operation uses its position.
    let file = unsafe { LocalFile::assume_no_fdget_pos(file) };
    Ok((file, object))
}
