// SPDX-License-Identifier: GPL-2.0

//! The file that stands for a segment of this node; the segment is removed when it goes.

use kernel::{
    fs::File,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        Arc,
        ArcBorrow, //
    },
    uaccess::UserPtr, //
};
use skiff_ext::{
    fops::FileObject,
    vma::NewVma, //
};
use skiff_model::ids::AdapterId;

use super::{
    arguments,
    command,
    events::tells,
    exchange,
    obey,
    uapi,
    Node, //
};
use crate::segment::{
    Local,
    Removal, //
};

const PREPARE: u32 = command(uapi::SKIFF_CMD_SEGMENT_PREPARE);
const SET_AVAILABLE: u32 = command(uapi::SKIFF_CMD_SEGMENT_SET_AVAILABLE);
const SET_UNAVAILABLE: u32 = command(uapi::SKIFF_CMD_SEGMENT_SET_UNAVAILABLE);
const REMOVE: u32 = command(uapi::SKIFF_CMD_SEGMENT_REMOVE);
const REVOKE: u32 = command(uapi::SKIFF_CMD_SEGMENT_REVOKE);
const INFO: u32 = command(uapi::SKIFF_CMD_SEGMENT_INFO);

/// What the file owns.
pub(super) struct LocalFile {
    node: Arc<Node>,
    local: Arc<Local>,
}

impl LocalFile {
    /// A file for `local`; it is removed when this cannot be made.
    pub(super) fn new(node: Arc<Node>, local: Arc<Local>) -> Result<Arc<Self>> {
        // On failure the value is dropped, which removes the segment.
        Ok(Arc::new(Self { node, local }, GFP_KERNEL)?)
    }

    /// What it stands for.
    pub(super) fn local(&self) -> &Arc<Local> {
        &self.local
    }

    /// Executes a command that names an adapter.
    fn with_adapter(argument: UserPtr, call: impl FnOnce(Option<AdapterId>) -> Result) -> Result {
        obey(argument, |value: &uapi::skiff_segment_adapter| {
            call(arguments::adapter(value.adapter)?)
        })
    }

    /// `SKIFF_IOC_SEGMENT_REVOKE`.
    fn revoke(&self, value: &mut uapi::skiff_segment_revoke) -> Result {
        arguments::zero(&[value.flags])?;
        let timeout = uapi::numbers::timeout(value.timeout_ms)?;
        let only = uapi::numbers::node(value.node).map_err(|_| EINVAL)?;
        let own = self.node.fabric.node();
        let result = self.node.segments.revoke(&self.local, only, own, timeout)?;
        value.revoked = result.revoked;
        value.unconfirmed = result.unconfirmed;
        Ok(())
    }

    /// `SKIFF_IOC_SEGMENT_INFO`.
    fn info(&self, value: &mut uapi::skiff_segment_info) -> Result {
        let info = self.local.info()?;
        *value = uapi::skiff_segment_info {
            size: value.size,
            flags: arguments::create_flags(&info.what),
            id: info.id.map_or(0, |id| id.get()),
            mode: info.what.rights.mode,
            bytes: info.what.bytes,
            nodes: info.what.rights.nodes.bits(),
            prepared: info.prepared,
            available: info.available,
            connections: info.connections,
            extents: info.extents,
        };
        Ok(())
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        // The only error is that it was removed before.
        let _ = self.node.segments.remove(&self.local, Removal::Forced);
        self.local.close();
    }
}

impl FileObject for LocalFile {
    fn ioctl(this: ArcBorrow<'_, Self>, _file: &File, command: u32, argument: UserPtr) -> Result {
        let fabric = &this.node.fabric;
        let local = &this.local;
        match command {
            PREPARE => Self::with_adapter(argument, |adapter| local.prepare(fabric, adapter)),
            SET_AVAILABLE => {
                Self::with_adapter(argument, |adapter| local.set_available(fabric, adapter))
            }
            SET_UNAVAILABLE => {
                Self::with_adapter(argument, |adapter| local.set_unavailable(fabric, adapter))
            }
            REMOVE => obey(argument, |value| {
                let removal = arguments::removal(value)?;
                this.node.segments.remove(local, removal)
            }),
            REVOKE => exchange(argument, |value| this.revoke(value)),
            INFO => exchange(argument, |value| this.info(value)),
            _ => Err(ENOTTY),
        }
    }

    fn mmap(this: ArcBorrow<'_, Self>, vma: &NewVma<'_>) -> Result {
        // Neither the cache mode nor the loss policy is a choice here.
        this.local.mmap(vma, vma.offset())
    }

    tells!(this => this.local.events());

    fn show_fdinfo(this: ArcBorrow<'_, Self>, out: &SeqFile) {
        match this.local.info() {
            Ok(info) => {
                seq_print!(out, "skiff:\tlocal segment\n");
                seq_print!(out, "id:\t{}\n", info.id.map_or(0, |id| id.get()));
                seq_print!(out, "bytes:\t{}\n", info.what.bytes);
                seq_print!(out, "mode:\t{:o}\n", info.what.rights.mode);
                seq_print!(out, "prepared:\t{:#x}\n", info.prepared);
                seq_print!(out, "available:\t{:#x}\n", info.available);
                seq_print!(out, "connections:\t{}\n", info.connections);
                seq_print!(out, "maps:\t{}\n", info.maps);
            }
            Err(_) => seq_print!(out, "skiff:\tremoved local segment\n"),
        }
    }
}
