// SPDX-License-Identifier: GPL-2.0
//! Takes a node's adapters out and puts them back while it runs. QEMU knows what is plugged; nothing is kept here.

use std::time::Duration;

use serde_json::{json, Value};

use super::Node;
use crate::qemu::{function_ids, functions, root_port_address};
use crate::Error;

/// The guest's part in it takes well under a second when nothing is wrong.
const LIMIT: Duration = Duration::from_secs(30);

impl Node {
    /// Hot-unplugs adapter `adapter` and waits until QEMU reports its function gone.
    ///
    /// # Errors
    /// [`Error::Config`] in the companion layout: QEMU does not survive it; [`Error::Timeout`] when the guest does not let go;
    /// [`Error::Qmp`].
    pub fn unplug_ntb(&self, adapter: usize) -> Result<(), Error> {
        self.adapter_port(adapter)?;
        match &function_ids(adapter, self.spec.layout)[..] {
            [id] => self.unplug(id),
            _ => Err(Error::Config(
                "QEMU ends when a function with MSI-X, as the companion layout has it, is unplugged: use the chip layout"
                    .to_owned(),
            )),
        }
    }

    /// Hot-plugs adapter `adapter` again and waits until the guest lists it on its PCI bus.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Qmp`].
    pub fn plug_ntb(&self, adapter: usize) -> Result<(), Error> {
        let port = self.adapter_port(adapter)?;
        let machine = self.machine()?;
        for function in functions(&self.spec, adapter, port, &self.image.run_dir) {
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

    /// Asks the guest to let go of the device that QEMU knows as `id`, and waits until it is gone.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the guest does not let go; [`Error::Qmp`].
    pub fn unplug(&self, id: &str) -> Result<(), Error> {
        let machine = self.machine()?;
        machine.qmp.forget_events();
        machine.monitor("device_del", json!({ "id": id }))?;
        machine.wait_deleted(id, LIMIT)
    }

    /// Hot-plugs a device, described as QEMU's device_add takes it. The guest has not seen it when this returns.
    ///
    /// # Errors
    /// [`Error::Qmp`].
    pub fn plug(&self, device: Value) -> Result<(), Error> {
        self.machine()?.monitor("device_add", device).map(drop)
    }

    pub(super) fn adapter_port(&self, adapter: usize) -> Result<u8, Error> {
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
