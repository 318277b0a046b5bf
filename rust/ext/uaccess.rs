// SPDX-License-Identifier: GPL-2.0

//! Size-first structures of ioctls, extensible in both directions.
//!
//! The rules are those of `copy_struct_from_user()`, with the size in the structure's first four bytes. What was
//! copied is never read from the user again.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)

use core::mem::size_of;

use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

use zerocopy::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

/// What a structure may be long at most, in bytes; longer ones are taken for nonsense.
const LIMIT: usize = 4096;

/// A structure that starts with its size as a 32-bit number.
pub trait Extensible: FromBytes + IntoBytes + Immutable + Copy {
    /// Bytes of the first version of the structure.
    const FIRST: usize;
}

/// Where a structure lies in the caller's memory, and how much of it the caller knows of.
pub struct Argument {
    /// Start of the structure.
    pointer: UserPtr,
    /// Its length as the caller gave it, in bytes.
    bytes: usize,
}

impl Argument {
    /// Copies a structure from the caller.
    ///
    /// Errors: `EFAULT`; `EINVAL` when it is shorter than the first version; `E2BIG` when it is longer than `T` and
    /// its tail is not zero.
    pub fn read<T: Extensible>(pointer: UserPtr) -> Result<(Self, T)> {
        let mut head = [0u8; 4];
        UserSlice::new(pointer, head.len())
            .reader()
            .read_slice(&mut head)?;
        let bytes = usize::try_from(u32::from_ne_bytes(head))?;
        if bytes < T::FIRST {
            return Err(EINVAL);
        }
        if bytes > LIMIT {
            return Err(E2BIG);
        }
        let mut value = T::new_zeroed();
        let known = bytes.min(size_of::<T>());
        let mut reader = UserSlice::new(pointer, bytes).reader();
        let (copied, _) = value.as_mut_bytes().split_at_mut(known);
        reader.read_slice(copied)?;
        // The caller may have changed the size since.
        copied[..head.len()].copy_from_slice(&head);
        let mut tail = [0u8; 64];
        while !reader.is_empty() {
            let length = reader.len().min(tail.len());
            let part = &mut tail[..length];
            reader.read_slice(part)?;
            if part.iter().any(|&byte| byte != 0) {
                return Err(E2BIG);
            }
        }
        Ok((Self { pointer, bytes }, value))
    }

    /// Copies results back, as much of them as the caller knows of. Error: `EFAULT`.
    pub fn write<T: Extensible>(&self, value: &T) -> Result {
        let known = self.bytes.min(size_of::<T>());
        let (copied, _) = value.as_bytes().split_at(known);
        UserSlice::new(self.pointer, known)
            .writer()
            .write_slice(copied)
    }
}
