// SPDX-License-Identifier: GPL-2.0

//! `/dev/skiff`: contexts, and the objects that they make, each a file of its own.
//!
//! An ioctl copies its argument, has it checked and made into types of the rooms below, calls these, and copies back.
//! Ownership: each file owns its object here, whose drop gives up what it stands for; all own the [`Node`].

mod arguments;
mod context;
mod device;
mod device_arguments;
mod events;
mod lend;
mod local;
mod remote;

pub(crate) use self::context::Context;

use kernel::{
    fs::{
        file::FileDescriptorReservation,
        File, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    uaccess::UserPtr, //
};
use skiff_ext::uaccess::{
    Argument,
    Extensible, //
};

use crate::{
    fabric::Fabric,
    lend::Lend,
    segment::Segments,
    uapi, //
};

/// What all files share.
pub(crate) struct Node {
    /// The adapters and the other nodes.
    pub(crate) fabric: Arc<Fabric>,
    /// The segments.
    pub(crate) segments: Arc<Segments>,
    /// The devices.
    pub(crate) lend: Arc<Lend>,
}

/// Permissions of the device node.
pub(crate) const MODE: u16 = 0o660;

/// The number of a command.
const fn command(number: u32) -> u32 {
    kernel::ioctl::_IO(uapi::SKIFF_IOC_TYPE, number)
}

/// Copies the argument of a command without results, and has `call` execute what it says. It may lie in memory that can only
/// be read.
fn obey<T: Extensible>(pointer: UserPtr, call: impl FnOnce(&T) -> Result) -> Result {
    let (_, value) = Argument::read::<T>(pointer)?;
    call(&value)
}

/// Copies an argument, has `call` execute what it says, and copies it back.
///
/// It is copied back once before: a command that fails leaves nothing changed, and what was done cannot be taken back because
/// there is no room for its results.
fn exchange<T: Extensible>(pointer: UserPtr, call: impl FnOnce(&mut T) -> Result) -> Result {
    let (argument, mut value) = Argument::read::<T>(pointer)?;
    argument.write(&value)?;
    call(&mut value)?;
    argument.write(&value)
}

/// The same for a command that makes something without a file: `undo` takes it back when the program cannot be told of it,
/// for its memory can have gone meanwhile.
fn exchange_made<T: Extensible, M>(
    pointer: UserPtr,
    call: impl FnOnce(&mut T) -> Result<M>,
    undo: impl FnOnce(M),
) -> Result {
    let (argument, mut value) = Argument::read::<T>(pointer)?;
    argument.write(&value)?;
    let made = call(&mut value)?;
    argument.write(&value).inspect_err(|_| undo(made))
}

/// The same for a command that makes a file: the descriptor comes to be only when the program was told its number.
fn exchange_file<T: Extensible>(
    pointer: UserPtr,
    call: impl FnOnce(&mut T, i32) -> Result<ARef<File>>,
) -> Result {
    let (argument, mut value) = Argument::read::<T>(pointer)?;
    let flags = kernel::bindings::O_CLOEXEC;
    let descriptor = FileDescriptorReservation::get_unused_fd_flags(flags)?;
    let number = i32::try_from(descriptor.reserved_fd())?;
    let file = call(&mut value, number)?;
    argument.write(&value)?;
    descriptor.fd_install(file);
    Ok(())
}
