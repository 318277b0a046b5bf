// SPDX-License-Identifier: GPL-2.0

//! The file that stands for a connection; it is given up when the file goes.

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
    Remote,
    RemoteState, //
};

const DISCONNECT: u32 = command(uapi::SKIFF_CMD_REMOTE_DISCONNECT);
const INFO: u32 = command(uapi::SKIFF_CMD_REMOTE_INFO);

/// What the file owns.
pub(super) struct RemoteFile {
    node: Arc<Node>,
    remote: Arc<Remote>,
}

impl RemoteFile {
    /// A file for `remote`; it is given up when this cannot be made.
    pub(super) fn new(node: Arc<Node>, remote: Arc<Remote>) -> Result<Arc<Self>> {
        // On failure the value is dropped, which disconnects.
        Ok(Arc::new(Self { node, remote }, GFP_KERNEL)?)
    }

    /// What it stands for.
    pub(super) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// `SKIFF_IOC_REMOTE_INFO`.
    fn info(&self, value: &mut uapi::skiff_remote_info) -> Result {
        let info = self.remote.info()?;
        *value = uapi::skiff_remote_info {
            size: value.size,
            flags: arguments::connect_flags(info.access),
            node: info.node.get(),
            adapter: arguments::adapter_number(info.adapter),
            id: info.segment.get(),
            state: match info.state {
                RemoteState::Operational => uapi::skiff_remote_state_SKIFF_REMOTE_OPERATIONAL,
                RemoteState::NotOperational => {
                    uapi::skiff_remote_state_SKIFF_REMOTE_NOT_OPERATIONAL
                }
                RemoteState::Lost => uapi::skiff_remote_state_SKIFF_REMOTE_LOST,
            },
            bytes: info.bytes,
            maps: info.maps,
            slots: info.slots,
        };
        Ok(())
    }
}

impl Drop for RemoteFile {
    fn drop(&mut self) {
        // The file is not mapped any more; the only other error is that it was given up before.
        let _ = self.node.segments.disconnect(&self.remote);
    }
}

impl FileObject for RemoteFile {
    fn ioctl(this: ArcBorrow<'_, Self>, _file: &File, command: u32, argument: UserPtr) -> Result {
        match command {
            DISCONNECT => obey(argument, |value: &uapi::skiff_remote_disconnect| {
                arguments::zero(&[value.flags])?;
                this.node.segments.disconnect(&this.remote)
            }),
            INFO => exchange(argument, |value| this.info(value)),
            _ => Err(ENOTTY),
        }
    }

    fn mmap(this: ArcBorrow<'_, Self>, vma: &NewVma<'_>) -> Result {
        let (place, mode, loss) = arguments::map(vma.offset());
        this.remote.mmap(vma, place, mode, loss)
    }

    tells!(this => this.remote.events());

    fn show_fdinfo(this: ArcBorrow<'_, Self>, out: &SeqFile) {
        match this.remote.info() {
            Ok(info) => {
                let state = match info.state {
                    RemoteState::Operational => "operational",
                    RemoteState::NotOperational => "not operational",
                    RemoteState::Lost => "lost",
                };
                seq_print!(out, "skiff:\tremote segment\n");
                seq_print!(out, "node:\t{}\n", info.node.get());
                seq_print!(out, "id:\t{}\n", info.segment.get());
                seq_print!(out, "state:\t{}\n", state);
                seq_print!(out, "bytes:\t{}\n", info.bytes);
                seq_print!(out, "maps:\t{}\n", info.maps);
                seq_print!(out, "slots:\t{}\n", info.slots);
            }
            Err(_) => seq_print!(out, "skiff:\tdisconnected remote segment\n"),
        }
    }
}
