// SPDX-License-Identifier: GPL-2.0

//! A directory of debugfs, whose files print what functions make of a common object.
//!
//! Shaped like the kernel crate's `debugfs::Scope`, with an owner: its files of Linux 7.2 and 7.3 have none, so that one that
//! is closed after the module was unloaded is released by code that is not there any more.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use core::{
    ffi::c_void,
    marker::PhantomData, //
};

use kernel::{
    bindings,
    fmt,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::Arc, //
};

/// Prints the content of a file. Called in the context of who reads, who may sleep; it may be called again when there was not
/// enough room.
pub type Show<T> = fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result;

/// What a file prints.
struct Content<T> {
    show: Show<T>,
    object: Arc<T>,
}

impl<T> fmt::Display for Content<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.show)(&self.object, f)
    }
}

/// The directory. Dropping it removes the files and waits until nobody is reading them.
///
/// # Invariants
///
/// `entry` is a directory of debugfs that this object owns, or an error.
pub struct Directory<T: Send + Sync + 'static> {
    entry: *mut bindings::dentry,
    /// What the files point to: not moved until they are removed.
    _contents: KVec<Content<T>>,
}

// SAFETY: The functions of debugfs may be called by any task; the contents may be sent and shared as `T` may.
unsafe impl<T: Send + Sync + 'static> Send for Directory<T> {}
// SAFETY: As above; nothing is changed by shared references.
unsafe impl<T: Send + Sync + 'static> Sync for Directory<T> {}

impl<T: Send + Sync + 'static> Directory<T> {
    /// Makes `/sys/kernel/debug/<name>` with these files, readable for root. Where there is no debugfs nothing is shown.
    ///
    /// Nothing may fail in the module's `init` afterwards: who has a file open then holds a module that goes nevertheless.
    pub fn new(
        name: &'static CStr,
        object: &Arc<T>,
        files: &[(&'static CStr, Show<T>)],
    ) -> Result<Self> {
        let mut contents = KVec::with_capacity(files.len(), GFP_KERNEL)?;

        for (_, show) in files {
            let object = object.clone();

            contents.push(
                Content {
                    show: *show,
                    object,
                },
                GFP_KERNEL,
            )?;
        }

        // SAFETY:
        // - The name is a C string; without a parent the directory is at the root.
        let entry =
            unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), core::ptr::null_mut()) };

        for ((name, _), content) in files.iter().zip(contents.iter()) {
            // SAFETY:
            // - The name is a C string, and the parent a directory or an error, which is passed on.
            // - The table takes the private data for a `Content<T>`, which is on the heap, so that it stays where it is when
            //   the vector is moved, and which goes after the file only.
            unsafe {
                bindings::debugfs_create_file_full(
                    name.as_char_ptr(),
                    0o400,
                    entry,
                    core::ptr::from_ref(content).cast_mut().cast(),
                    core::ptr::null(),
                    &Operations::<T>::TABLE,
                );
            }
        }
        // INVARIANT: It was made above.
        Ok(Self {
            entry,
            _contents: contents,
        })
    }
}

impl<T: Send + Sync + 'static> Drop for Directory<T> {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant it is this object's, or an error, which is nothing to remove.
        unsafe { bindings::debugfs_remove(self.entry) }
    }
}

/// The table of operations of files whose inode's private data is a `Content<T>`.
struct Operations<T>(PhantomData<T>);

impl<T: Send + Sync + 'static> Operations<T> {
    const TABLE: bindings::file_operations = bindings::file_operations {
        owner: crate::THIS_MODULE,
        open: Some(Self::open),
        read: Some(bindings::seq_read),
        llseek: Some(bindings::seq_lseek),
        release: Some(bindings::single_release),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by debugfs for a file with this table.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY:
        // - Inode and file are valid, and the file has no private data yet.
        // - debugfs calls nothing that looks at the content once the file is removed.
        unsafe { bindings::single_open(file, Some(Self::show), (*inode).i_private) }
    }

    /// # Safety
    ///
    /// Called by `seq_read` for a file that [`Self::open`] has opened.
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: It was given to `single_open`, and debugfs keeps the file from being removed during a read.
        let content = unsafe { &*(*seq).private.cast::<Content<T>>() };
        // SAFETY: The reader holds the lock of the seq_file.
        let out = unsafe { SeqFile::from_raw(seq) };

        seq_print!(out, "{content}");
        0
    }
}
