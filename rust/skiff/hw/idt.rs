// SPDX-License-Identifier: GPL-2.0

//! An adapter with an IDT (now Renesas) 89HPESxNTx switch, which has up to eight ports with bridges.
//!
//! It has run on `tools/ntb-switch` only, never on the chip. [`Idt`] owns the enabled function and its registers; whoever has
//! `&mut Idt` is alone, which is what the shared window to the switch's registers needs. Dropping it leaves the chip as it was
//! found: gate closed, slots empty, nothing unmasked.
//!
//! Source of what the hardware does: `drivers/ntb/hw/idt/ntb_hw_idt.c` of Linux 7.2.

mod allow;
mod chip;
mod companion;
mod events;
mod ports;
mod regs;
mod requesters;
mod slots;
mod words;

use self::{
    allow::Allowed,
    chip::Chip,
    ports::Ports,
    requesters::{
        Range,
        Requesters, //
    },
    slots::Slots, //
};
use super::{
    containment::{
        Board,
        Containment, //
    },
    signal::Signal,
    window::Window,
    NAME, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_ext::{
    errno::Errno,
    pci,
    wc, //
};
use skiff_model::{
    addr::BusAddr,
    ids::{
        Port,
        PortSet,
        RequesterId, //
    },
    ntb::{
        EventSet,
        Geometry,
        Ntb,
        Sent,
        WindowClass,
        Windows, //
    },
};

/// PCI vendor id of IDT.
const VENDOR: u16 = 0x111d;

/// The chips of the family, and which of their ports can have a bridge; source: PCI_DEVICE_ID_IDT_* and idt_*_config.
const CHIPS: [(u16, &[u8]); 8] = [
    (0x8091, &[0, 2, 4, 6, 8, 12]),
    (0x808f, &[0, 2, 4, 6, 8, 12, 16, 20]),
    (0x8088, &[0, 2, 4, 6, 8, 12, 16, 20]),
    (0x8092, &[0, 8, 16]),
    (0x8090, &[0, 8, 12, 16]),
    (0x808e, &[0, 2, 4, 6, 8, 12, 16, 20]),
    (0x808c, &[0, 2, 4, 6, 8, 12, 16, 20]),
    (0x808a, &[0, 2, 4, 6, 8, 12, 16, 20]),
];

/// Their PCI ids.
pub(super) const IDS: [pci::Id; CHIPS.len()] = {
    let mut ids = [pci::Id {
        vendor: VENDOR,
        device: 0,
    }; CHIPS.len()];
    let mut index = 0;

    while index < CHIPS.len() {
        ids[index].device = CHIPS[index].0;
        index += 1;
    }
    ids
};

/// An adapter.
pub(crate) struct Idt {
    chip: Chip,
    ports: Ports,
    requesters: Requesters,
    allowed: Allowed,
    slots: Windows<Slots>,
    dev: pci::Device,
    // Last: everything above needs it.
    _enabled: pci::Enabled,
}

impl Idt {
    /// Enables a function, finds its windows and its place in the switch, and sets it up: nothing gets in or out yet.
    pub(crate) fn open(dev: &pci::Device) -> Result<Self> {
        let device = dev.id().device;
        let (_, candidates) = CHIPS.iter().find(|(id, _)| *id == device).ok_or(ENODEV)?;
        let enabled = dev.enable()?;

        dev.clear_master();
        dev.save_state()?;
        dev.set_dma_mask_64()?;
        let mut chip = Chip::new(dev, dev.request(0, NAME)?)?;
        let slots = slots::windows(dev, &chip)?;
        let ports = Ports::scan(&mut chip, candidates)?;
        let requesters = Requesters::new(&mut chip, ports.own())?;
        let mut adapter = Self {
            chip,
            ports,
            requesters,
            allowed: Allowed::new(),
            slots,
            dev: dev.clone(),
            _enabled: enabled,
        };

        adapter.restart()?;
        Ok(adapter)
    }

    /// Sets the chip up again, as after [`open`](Self::open): after a reset of the function or a sleep of the machine.
    pub(crate) fn restart(&mut self) -> Result {
        self.dev.clear_master();
        self.silence()?;
        self.allowed.restore(&self.chip)?;
        events::listen(&self.dev, &mut self.chip, &self.ports)
    }

    /// The window of this class; `EOPNOTSUPP` if there is none.
    pub(crate) fn window(&self, class: WindowClass) -> Result<&Arc<Window>> {
        self.slots(class).map(Slots::window)
    }

    /// The slots of this class; `EOPNOTSUPP` if there are none.
    fn slots(&self, class: WindowClass) -> Result<&Slots> {
        Ok(self.slots.get(class).ok_or(Errno::NotSupported)?)
    }

    /// Lets peers raise an interrupt of this node, by entry `entry` of [`SIGNALS`](crate::hw::SIGNALS), or takes that back. It
    /// stays so until it is changed here. A switch that holds nobody back has nothing to do.
    pub(crate) fn allow(&mut self, entry: usize, signal: Option<Signal>) -> Result {
        self.allowed.set(&self.chip, entry, signal)
    }

    /// What keeps peers to what is exported.
    pub(crate) fn containment(&mut self) -> Result<Containment> {
        let board = self.board()?;

        Ok(Containment::of(&self.dev, board))
    }

    /// Ports of the switch that have a bridge, the own one excluded: whether somebody is behind them or not.
    pub(crate) fn peers(&self) -> PortSet {
        let mut peers = PortSet::EMPTY;

        self.ports.peers().for_each(|(port, _)| peers.insert(port));
        peers
    }

    /// Whether no request of the node behind `peer` gets through the switch. Before one does again, its windows are emptied: by a
    /// reset, which is what takes all of a node's entries out of the mapping table at once, or by whoever puts them there.
    pub(crate) fn silent(&self, peer: Port) -> Result<bool> {
        self.ports.check_peer(peer)?;
        requesters::silent(&self.chip, peer)
    }

    /// Nothing gets in or out, nothing is reported.
    fn silence(&mut self) -> Result {
        events::quiet(&mut self.chip)?;
        self.chip.write(regs::NTCTL, 0);
        for (_, slots) in self.slots.iter() {
            slots.clear_all(&self.chip)?;
        }
        self.requesters.clear(&self.chip)
    }

    /// Whether the switch's registers are protected from all ports, and each port has entries of its own in the table.
    fn board(&mut self) -> Result<Board> {
        let bits = self.ports.chip_bits();

        if self.chip.read_global(regs::GASAPROT)? & bits != bits {
            return Ok(Board::Open);
        }
        let own = Range::read(&mut self.chip, self.ports.own())?;

        for (peer, _) in self.ports.peers() {
            if Range::read(&mut self.chip, peer)?.overlaps(own) {
                return Ok(Board::Open);
            }
        }
        Ok(Board::Guarded)
    }

    /// Whether the own end of all links is up.
    fn own_end_up(&self) -> Result<bool> {
        Ok(
            self.dev.config_read32(regs::PCICMDSTS) & regs::PCICMDSTS_BME != 0
                && self.chip.read(regs::NTCTL)? & regs::NTCTL_CPEN != 0,
        )
    }

    /// Whether a peer's end is up; source: idt_ntb_peer_link_is_up().
    fn peer_end_up(chip: &mut Chip, peer: Port, chip_port: u8) -> Result<bool> {
        Ok(
            chip.read_global(regs::swportsts(chip_port))? & regs::SWPORTSTS_LINKUP != 0
                && chip.read_global(regs::ntp(chip_port, regs::PCICMDSTS))? & regs::PCICMDSTS_BME
                    != 0
                && chip.read_global(regs::ntp(chip_port, regs::NTCTL_OFFSET))? & regs::NTCTL_CPEN
                    != 0
                && requesters::admitted(chip, peer)?,
        )
    }
}

impl Ntb for Idt {
    type Error = Error;

    fn port(&self) -> Port {
        self.ports.own()
    }

    fn geometry(&self) -> Windows<Geometry> {
        Windows {
            memory: self.slots.memory.window().geometry(),
            registers: self
                .slots
                .registers
                .as_ref()
                .map(|slots| slots.window().geometry()),
        }
    }

    fn linked(&mut self) -> Result<PortSet> {
        let mut linked = PortSet::EMPTY;

        if !self.own_end_up()? {
            return Ok(linked);
        }
        for (peer, chip_port) in self.ports.peers() {
            if Self::peer_end_up(&mut self.chip, peer, chip_port)? {
                linked.insert(peer);
            }
        }
        Ok(linked)
    }

    fn set_slot(&mut self, class: WindowClass, slot: u8, peer: Port, base: BusAddr) -> Result {
        self.ports.check_peer(peer)?;
        self.slots(class)?.set(&self.chip, slot, peer, base)
    }

    fn clear_slot(&mut self, class: WindowClass, slot: u8, _: Port) -> Result {
        self.slots(class)?.clear(&self.chip, slot)
    }

    fn admit(&mut self, requester: RequesterId) -> Result {
        self.requesters.admit(&self.chip, requester)
    }

    fn withdraw(&mut self, requester: RequesterId) -> Result {
        self.requesters.withdraw(&self.chip, requester)
    }

    fn flush(&mut self) -> Result {
        self.chip.alive()
    }

    fn ring(&mut self, peer: Port) -> Result {
        self.ports.check_peer(peer)?;
        // What it is rung for goes first.
        wc::wmb();
        self.chip.write(regs::OUTDBELLSET, regs::doorbell(peer));
        Ok(())
    }

    fn take_events(&mut self) -> Result<EventSet> {
        events::take(&mut self.chip, &self.ports)
    }

    fn send_word(&mut self, peer: Port, word: u32) -> Result<Sent> {
        self.ports.check_peer(peer)?;
        words::send(&mut self.chip, &self.ports, peer, word)
    }

    fn take_word(&mut self) -> Result<Option<(Port, u32)>> {
        words::take(&mut self.chip, &self.ports)
    }

    fn open_gate(&mut self) -> Result {
        self.requesters.admit_cpu(&self.chip)?;
        self.chip.write(regs::NTCTL, regs::NTCTL_CPEN);
        self.chip.alive()?;
        self.dev.set_master();
        events::signal(&mut self.chip, &self.ports)
    }

    fn close_gate(&mut self) -> Result {
        self.dev.clear_master();
        self.chip.write(regs::NTCTL, 0);
        self.requesters.withdraw_cpu(&self.chip)?;
        events::signal(&mut self.chip, &self.ports)
    }
}

impl Drop for Idt {
    fn drop(&mut self) {
        // A function that is gone is quiet.
        let quiet = self
            .close_gate()
            .and_then(|()| self.silence())
            .and_then(|()| self.allowed.clear(&self.chip));

        if quiet.is_err() {
            dev_info!(self.dev, "the function is gone\n");
        }
    }
}
