// SPDX-License-Identifier: GPL-2.0

//! Files without a name, each with an inode of its own.
//!
//! An own inode means an own `address_space`: what maps of one file see can be taken away without touching those of
//! another. `anon_inode_getfile()` would give all files of the kernel the same.
//!
//! C header: [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h)

use core::ptr::NonNull;

use kernel::{
    bindings,
    error::from_err_ptr,
    fs::File,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    types::ForeignOwnable, //
};

use crate::{
    bindings::anon_inode_create_getfile,
    fops::{
        FileObject,
        Operations, //
    },
};

/// Makes a file that owns `object`, open for reading and writing. On failure `object` is dropped, not released.
pub fn create_file<T: FileObject>(name: &'static CStr, object: Arc<T>) -> Result<ARef<File>> {
    let private = object.into_foreign();
    // SAFETY: Name and table live for ever, and the private data is what the table's operations take it for.
    let file = from_err_ptr(unsafe {
        anon_inode_create_getfile(
            name.as_char_ptr(),
            Operations::<T>::ANONYMOUS,
            private,
            (bindings::O_RDWR | bindings::O_CLOEXEC) as c_int,
        )
    });
    match file.map(NonNull::new) {
        // SAFETY: The file is new and its one reference is ours; nothing uses its position.
        Ok(Some(file)) => Ok(unsafe { ARef::from_raw(file.cast()) }),
        failed => {
            // SAFETY: There is no file, so the reference is still the one that was given up above.
            drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign(private) });
            Err(failed.err().unwrap_or(ENOMEM))
        }
    }
}
