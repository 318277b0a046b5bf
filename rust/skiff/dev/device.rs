// SPDX-License-Identifier: GPL-2.0

//! The file that stands for a borrowed device; it is given back when the file goes.

use kernel::{
    fs::File,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        aref::ARef,
        Arc,
        ArcBorrow, //
    },
    uaccess::UserPtr, //
};
use skiff_ext::{
    anon::create_file,
    errno::Errno,
    eventfd::EventFd,
    fops::{
        object_of,
        FileObject, //
    }, //
};
use skiff_model::{
    ids::MapId,
    wire::{
        DeviceOp,
        Share, //
    },
};

use super::{
    arguments,
    command,
    device_arguments,
    events::tells,
    exchange,
    exchange_file,
    exchange_made,
    local::LocalFile,
    obey,
    remote::RemoteFile,
    uapi,
    Node, //
};
use crate::lend::{
    Borrowed,
    Memory, //
};

const INFO: u32 = command(uapi::SKIFF_CMD_DEVICE_INFO);
const RETURN: u32 = command(uapi::SKIFF_CMD_DEVICE_RETURN);
const RELEASE_EXCLUSIVE: u32 = command(uapi::SKIFF_CMD_DEVICE_RELEASE_EXCLUSIVE);
const SEGMENT_CREATE: u32 = command(uapi::SKIFF_CMD_DEVICE_SEGMENT_CREATE);
const SEGMENT_CONNECT: u32 = command(uapi::SKIFF_CMD_DEVICE_SEGMENT_CONNECT);
const MAP: u32 = command(uapi::SKIFF_CMD_DEVICE_MAP);
const UNMAP: u32 = command(uapi::SKIFF_CMD_DEVICE_UNMAP);
const CONFIG_READ: u32 = command(uapi::SKIFF_CMD_DEVICE_CONFIG_READ);
const CONFIG_WRITE: u32 = command(uapi::SKIFF_CMD_DEVICE_CONFIG_WRITE);
const BUS_MASTER: u32 = command(uapi::SKIFF_CMD_DEVICE_BUS_MASTER);
const VECTORS: u32 = command(uapi::SKIFF_CMD_DEVICE_VECTORS);
const VECTOR: u32 = command(uapi::SKIFF_CMD_DEVICE_VECTOR);
const RESET: u32 = command(uapi::SKIFF_CMD_DEVICE_RESET);

/// What the file owns.
pub(super) struct BorrowedFile {
    node: Arc<Node>,
    borrowed: Arc<Borrowed>,
}

impl BorrowedFile {
    /// A file for `borrowed`; it is given back when this cannot be made.
    pub(super) fn new(node: Arc<Node>, borrowed: Arc<Borrowed>) -> Result<Arc<Self>> {
        // On failure the value is dropped, which gives it back.
        Ok(Arc::new(Self { node, borrowed }, GFP_KERNEL)?)
    }

    /// `SKIFF_IOC_DEVICE_INFO`.
    fn info(&self, value: &mut uapi::skiff_device_info) -> Result {
        let info = self.borrowed.info()?;
        let device = self
            .node
            .lend
            .device(info.fdid)
            .map_err(|_| Errno::ConnReset)?;
        *value = uapi::skiff_device_info {
            size: value.size,
            flags: match info.share {
                Share::Exclusive => uapi::skiff_borrow_flags_SKIFF_BORROW_EXCLUSIVE,
                Share::Shared => 0,
            },
            maps: info.maps,
            vectors: info.vectors,
            device: uapi::devices::describe(info.fdid, &device),
        };
        Ok(())
    }

    /// A command that says nothing but how long it may take.
    fn plain(
        argument: UserPtr,
        call: impl FnOnce(u32) -> Result, //
    ) -> Result {
        obey(argument, |value: &uapi::skiff_device_plain| {
            arguments::zero(&[value.flags, value.__reserved])?;
            call(uapi::numbers::timeout(value.timeout_ms)?)
        })
    }

    /// `SKIFF_IOC_DEVICE_SEGMENT_CONNECT`.
    fn connect(&self, value: &mut uapi::skiff_device_segment, number: i32) -> Result<ARef<File>> {
        let (op, timeout) = device_arguments::segment_connect(value)?;
        let remote = self.borrowed.connect(op, timeout)?;
        value.bytes = remote.bytes();
        value.fd = number;
        let object = RemoteFile::new(self.node.clone(), remote.clone())?;
        let file = create_file(c"[skiff-remote]", object)?;
        remote.attach(&file)?;
        Ok(file)
    }

    /// `SKIFF_IOC_DEVICE_MAP`.
    fn map(&self, value: &mut uapi::skiff_device_map) -> Result<MapId> {
        arguments::zero(&[value.flags, value.__reserved])?;
        let timeout = uapi::numbers::timeout(value.timeout_ms)?;
        let (uid, gid) = arguments::who();
        let (_file, memory) = match object_of::<LocalFile>(value.fd) {
            Ok((file, local)) => (file, Memory::Local(local.local().clone())),
            Err(_) => {
                let (file, remote) = object_of::<RemoteFile>(value.fd)?;
                (file, Memory::Remote(remote.remote().clone(), uid, gid))
            }
        };
        let (offset, bytes) = (value.offset, value.bytes);
        let (map, address) = self.borrowed.map(&memory, offset, bytes, timeout)?;
        value.map = map.get();
        value.address = address;
        Ok(map)
    }

    /// `SKIFF_IOC_DEVICE_VECTORS`.
    fn vectors(&self, value: &mut uapi::skiff_device_vectors) -> Result {
        arguments::zero(&[value.flags])?;
        let timeout = uapi::numbers::timeout(value.timeout_ms)?;
        if !(1..=uapi::SKIFF_DEVICE_VECTORS_MAX).contains(&value.count) {
            return Err(EINVAL);
        }
        value.count = self.borrowed.vectors(value.count, timeout)?;
        Ok(())
    }

    /// `SKIFF_IOC_DEVICE_VECTOR`.
    fn vector(&self, value: &uapi::skiff_device_vector) -> Result {
        arguments::zero(&[value.flags])?;
        let eventfd = match value.fd {
            -1 => None,
            fd => Some(EventFd::from_fd(fd)?),
        };
        let timeout = uapi::numbers::timeout(0)?;
        self.borrowed.listen(value.index, eventfd, timeout)
    }
}

impl Drop for BorrowedFile {
    fn drop(&mut self) {
        self.borrowed.close();
    }
}

impl FileObject for BorrowedFile {
    fn ioctl(this: ArcBorrow<'_, Self>, _file: &File, command: u32, argument: UserPtr) -> Result {
        let borrowed = &this.borrowed;
        match command {
            INFO => exchange(argument, |value| this.info(value)),
            RETURN => Self::plain(argument, |timeout| borrowed.give_back(timeout)),
            RELEASE_EXCLUSIVE => {
                Self::plain(argument, |timeout| borrowed.release_exclusive(timeout))
            }
            RESET => Self::plain(argument, |timeout| borrowed.order(DeviceOp::Reset, timeout)),
            SEGMENT_CREATE => obey(argument, |value| {
                let (what, timeout) = device_arguments::segment_create(value)?;
                borrowed.create(&what, timeout)
            }),
            SEGMENT_CONNECT => exchange_file(argument, |value, number| this.connect(value, number)),
            MAP => exchange_made(
                argument,
                |value| this.map(value),
                |map| {
                    // It can fail only if the borrow ends, and the mapping with it.
                    let _ = uapi::numbers::timeout(0).and_then(|limit| borrowed.unmap(map, limit));
                },
            ),
            UNMAP => obey(argument, |value: &uapi::skiff_device_unmap| {
                arguments::zero(&[value.flags])?;
                let timeout = uapi::numbers::timeout(value.timeout_ms)?;
                borrowed.unmap(MapId::new(value.map), timeout)
            }),
            CONFIG_READ => exchange(argument, |value| {
                let (op, timeout) = device_arguments::config_read(value)?;
                value.value = borrowed.config_read(op, timeout)?;
                Ok(())
            }),
            CONFIG_WRITE => obey(argument, |value| {
                let (op, timeout) = device_arguments::config_write(value)?;
                borrowed.order(op, timeout)
            }),
            BUS_MASTER => obey(argument, |value| {
                let (op, timeout) = device_arguments::bus_master(value)?;
                borrowed.order(op, timeout)
            }),
            VECTORS => exchange(argument, |value| this.vectors(value)),
            VECTOR => obey(argument, |value| this.vector(value)),
            _ => Err(ENOTTY),
        }
    }

    tells!(this => this.borrowed.events());

    fn show_fdinfo(this: ArcBorrow<'_, Self>, out: &SeqFile) {
        match this.borrowed.info() {
            Ok(info) => {
                seq_print!(out, "skiff:\tborrowed device\n");
                seq_print!(out, "fdid:\t{:x}\n", info.fdid.get());
                seq_print!(
                    out,
                    "exclusive:\t{}\n",
                    u8::from(info.share == Share::Exclusive)
                );
                seq_print!(out, "maps:\t{}\n", info.maps);
                seq_print!(out, "vectors:\t{}\n", info.vectors);
            }
            Err(_) => seq_print!(out, "skiff:\treturned device\n"),
        }
    }
}
