// SPDX-License-Identifier: GPL-2.0
//! Takes a node's adapters out and puts them back while it runs. QEMU knows what is plugged; nothing is kept here.

use std::time::Duration;

use serde_json::json;

use super::Node;
use crate::qemu::{function_ids, functions, root_port_address, window_memory, window_memory_id};
use crate::Error;

/// The guest's part in it takes well under a second when nothing is wrong.
const LIMIT: Duration = Duration::from_secs(30);

impl Node {
    /// Hot-unplugs adapter `adapter`'s slot and waits until QEMU reports its functions gone.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the guest does not let go; [`Error::Qmp`].
    pub fn unplug_ntb(&self, adapter: usize) -> Result<(), Error> {
        self.adapter_port(adapter)?;
        let machine = self.machine()?;
        let ids = function_ids(adapter, self.spec.layout);
        machine.qmp.forget_events();
        // The guest gives up the slot as a whole.
        machine.monitor("device_del", json!({ "id": ids[0] }))?;
        for id in &ids {
            machine.wait_deleted(id, LIMIT)?;
        }
        // QEMU 11 aborts when a function is plugged onto memory that another one had.
        if let Some(memory) = window_memory_id(adapter, self.spec.layout) {
            machine.monitor("object-del", json!({ "id": memory }))?;
        }
        Ok(())
    }

    /// Hot-plugs adapter `adapter` again and waits until the guest lists it on its PCI bus.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Qmp`].
    pub fn plug_ntb(&self, adapter: usize) -> Result<(), Error> {
        let port = self.adapter_port(adapter)?;
        let machine = self.machine()?;
        let run_dir = &self.image.run_dir;
        if let Some(memory) = window_memory(&self.spec, adapter, port, run_dir) {
            machine.monitor("object-add", memory)?;
        }
        for function in functions(&self.spec, adapter, port, run_dir) {
            machine.monitor("device_add", function)?;
        }
        self.wait_for(&list(adapter), LIMIT).map(drop)
    }

    /// The guest's PCI address of adapter `adapter`'s NT function, e.g. `0000:01:00.0`.
    ///
    /// # Errors
    /// [`Error::Failed`] if it is unplugged; an unreachable node.
    pub fn ntb_address(&self, adapter: usize) -> Result<String, Error> {
        self.adapter_port(adapter)?;
        Ok(self
            .run(&list(adapter))?
            .check()?
            .stdout_text()
            .trim()
            .to_owned())
    }

    fn adapter_port(&self, adapter: usize) -> Result<u8, Error> {
        let port = self.spec.ports.get(adapter).copied();
        port.ok_or_else(|| Error::Config(format!("{} has no adapter {adapter}", self.who())))
    }
}

/// A shell line that prints the address of function 0 behind the adapter's root port, or fails.
fn list(adapter: usize) -> String {
    format!(
        "cd /sys/bus/pci/devices/{} && ls -d *:*:*.0 2>/dev/null | grep -v pcie",
        root_port_address(adapter)
    )
}
