// SPDX-License-Identifier: GPL-2.0
//! What the rest may know of the hardware: one trait that every chip family implements.

use crate::addr::BusAddr;
use crate::addr::SlotBytes;
use crate::ids::Port;
use crate::ids::PortSet;
use crate::ids::RequesterId;

/// Slots that a window may have, whatever the chip.
pub const SLOTS_MAX: u8 = 64;

/// How the CPU reaches a peer's memory. It belongs to the slot: x86 has one cache mode for a physical page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheMode {
    /// Write-combining.
    Wc,
    /// Uncached.
    Uc,
}

/// Who programs a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The node that uses it, as on IDT.
    User,
    /// The node whose memory it reaches, as on AMD, Intel, Switchtec: it is asked by message.
    Owner,
}

/// What a window is for. They differ in what a switch makes of accesses through them, and a slot of one never serves the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WindowClass {
    /// Memory of a peer. Every adapter has it.
    Memory,
    /// Registers of a peer's devices.
    Registers,
}

/// Something that each window of an adapter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows<T> {
    /// That of [`WindowClass::Memory`].
    pub memory: T,
    /// That of [`WindowClass::Registers`], if the adapter has such a window.
    pub registers: Option<T>,
}

impl<T> Windows<T> {
    /// What the window of this class has, if there is one.
    pub const fn get(&self, class: WindowClass) -> Option<&T> {
        match class {
            WindowClass::Memory => Some(&self.memory),
            WindowClass::Registers => self.registers.as_ref(),
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, class: WindowClass) -> Option<&mut T> {
        match class {
            WindowClass::Memory => Some(&mut self.memory),
            WindowClass::Registers => self.registers.as_mut(),
        }
    }

    /// What each window has, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        core::iter::once(&mut self.memory).chain(self.registers.as_mut())
    }

    /// What each window has, and its class.
    pub fn iter(&self) -> impl Iterator<Item = (WindowClass, &T)> {
        let registers = self.registers.iter();

        core::iter::once((WindowClass::Memory, &self.memory))
            .chain(registers.map(|of| (WindowClass::Registers, of)))
    }
}

/// A window of an adapter: slots that are equally long, one behind the other.
///
/// # Invariants
///
/// There are 1 to [`SLOTS_MAX`] slots, and the window's length in bytes is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    slots: u8,
    slot_bytes: SlotBytes,
    side: Side,
}

impl Geometry {
    /// A window of `slots` slots, if there can be one.
    pub fn new(slots: u8, slot_bytes: SlotBytes, side: Side) -> Option<Self> {
        if slots == 0 || slots > SLOTS_MAX {
            return None;
        }
        slot_bytes.get().checked_mul(u64::from(slots))?;
        // INVARIANT: Just checked.
        Some(Self {
            slots,
            slot_bytes,
            side,
        })
    }

    /// How many slots there are.
    pub const fn slots(&self) -> u8 {
        self.slots
    }

    /// What one of them reaches.
    pub const fn slot_bytes(&self) -> SlotBytes {
        self.slot_bytes
    }

    /// Who programs them.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Where slot `slot` starts in the window, in bytes; `None` if there is no such slot.
    pub fn slot_offset(&self, slot: u8) -> Option<u64> {
        if slot < self.slots {
            self.slot_bytes.get().checked_mul(u64::from(slot))
        } else {
            None
        }
    }
}

/// Whether the hardware took a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// It is at the peer.
    Sent,
    /// The peer has not yet taken the one before, or its link is down: send it again later.
    Full,
}

/// What has happened at an adapter: a set of [`EventSet::DOORBELL`], [`EventSet::WORD`], [`EventSet::LINK`] and
/// [`EventSet::ERROR`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EventSet(u8);

impl EventSet {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Some peer rang: look at all rings.
    pub const DOORBELL: Self = Self(1);
    /// A word waits: [`Ntb::take_word`].
    pub const WORD: Self = Self(2);
    /// Some link went up or down, maybe both: look at [`Ntb::linked`].
    pub const LINK: Self = Self(4);
    /// The hardware has noticed an error of its own.
    pub const ERROR: Self = Self(8);

    /// Whether nothing has happened.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// An adapter: one NTB function.
///
/// # Locking
///
/// The caller serialises all calls by one lock of the adapter that allows sleeping, and methods may sleep. None of them
/// waits for a peer.
pub trait Ntb {
    /// Why the hardware did not do it.
    type Error;

    /// The port of the switch that this adapter is.
    fn port(&self) -> Port;

    /// Its windows.
    fn geometry(&self) -> Windows<Geometry>;

    /// Peers whose link to here is up: a store through a slot would arrive. Never holds the own port.
    fn linked(&mut self) -> Result<PortSet, Self::Error>;

    /// Programs a slot; in force when it returns. `base` is slot-aligned.
    ///
    /// [`Side::User`]: slot `slot` of the own window of this class leads to `base` of `peer`. [`Side::Owner`]: slot `slot` of
    /// `peer`'s window leads to `base` of this node; the peer has asked for it.
    fn set_slot(
        &mut self,
        class: WindowClass,
        slot: u8,
        peer: Port,
        base: BusAddr,
    ) -> Result<(), Self::Error>;

    /// Lets that slot lead nowhere; in force when it returns.
    fn clear_slot(&mut self, class: WindowClass, slot: u8, peer: Port) -> Result<(), Self::Error>;

    /// Lets a PCI function of this node send through the bridge.
    fn admit(&mut self, requester: RequesterId) -> Result<(), Self::Error>;

    /// Takes that back.
    fn withdraw(&mut self, requester: RequesterId) -> Result<(), Self::Error>;

    /// Pushes earlier stores through the window and to registers on their way: a read of a local register.
    fn flush(&mut self) -> Result<(), Self::Error>;

    /// Rings the doorbell of `peer`.
    fn ring(&mut self, peer: Port) -> Result<(), Self::Error>;

    /// What has happened since the last call. Its cause is cleared first, so that what happens meanwhile is told by the next.
    fn take_events(&mut self) -> Result<EventSet, Self::Error>;

    /// Sends one word by the chip's own message path.
    fn send_word(&mut self, peer: Port, word: u32) -> Result<Sent, Self::Error>;

    /// Takes a word that has come, and the port that the hardware says it is from. To be called until there is none.
    fn take_word(&mut self) -> Result<Option<(Port, u32)>, Self::Error>;

    /// Lets peers reach this node's memory: bus mastering on. The last step of starting.
    fn open_gate(&mut self) -> Result<(), Self::Error>;

    /// No peer reaches this node's memory any more when it returns. The first step of stopping.
    fn close_gate(&mut self) -> Result<(), Self::Error>;
}
