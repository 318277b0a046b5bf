// SPDX-License-Identifier: GPL-2.0
//! What a node's QEMU sees: its trace events, and the memory that it gives the guest.

use std::fs::{self, File};

use serde_json::json;

use super::Node;
use crate::Error;

impl Node {
    /// Has QEMU write an event of its trace, or a pattern of events such as `pci_nvme_*`, to its log, or stop doing so.
    ///
    /// # Errors
    /// [`Error::Qmp`].
    pub fn trace(&self, events: &str, on: bool) -> Result<(), Error> {
        let arguments = json!({ "name": events, "enable": on });
        self.machine()?
            .monitor("trace-event-set-state", arguments)
            .map(drop)
    }

    /// Has the disk of the device that QEMU knows as `id` do no more than so many operations a second; 0: as many as it can.
    ///
    /// # Errors
    /// [`Error::Qmp`].
    pub fn throttle(&self, id: &str, operations: u32) -> Result<(), Error> {
        let arguments = json!({
            "id": id,
            "bps": 0, "bps_rd": 0, "bps_wr": 0,
            "iops": operations, "iops_rd": 0, "iops_wr": 0,
        });
        self.machine()?
            .monitor("block_set_io_throttle", arguments)
            .map(drop)
    }

    /// All that QEMU has said since the node's first start.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn qemu_log(&self) -> Result<String, Error> {
        let path = self.image.log_dir.join("qemu.log");
        fs::read(&path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|source| Error::Io {
                what: format!("{}: read qemu.log", self.who()),
                source,
            })
    }

    /// The guest's memory, to be looked at while it runs. A hole for devices below 4 GiB is none in the file.
    ///
    /// # Errors
    /// [`Error::Config`] if the node does not run; [`Error::Io`].
    pub fn memory(&self) -> Result<File, Error> {
        let folder = format!("/proc/{}/fd", self.pid().unwrap_or_default());
        let failed = |source| Error::Io {
            what: format!("{}: open its memory", self.who()),
            source,
        };
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let named = fs::read_link(&path).unwrap_or_default();
            if named.to_string_lossy().contains("memory-backend-memfd") {
                return File::open(path).map_err(failed);
            }
        }
        Err(Error::Config(format!("{} has no memory", self.who())))
    }
}
