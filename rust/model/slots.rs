// SPDX-License-Identifier: GPL-2.0
//! Which slot of a window leads where, who holds it, and which one to take next.
//!
//! The cache only keeps books; its owner programs the hardware. A slot that holders have pinned never changes its target: not
//! for another acquisition, nor when its peer is lost, until the last of them has let go.
//!
//! # Locking
//!
//! None of its own: the owner's lock of the adapter's slots covers every call.

use crate::addr::Chunk;
use crate::ids::Port;
use crate::ntb::CacheMode;
use crate::ntb::Geometry;
use crate::ntb::SLOTS_MAX;

/// Who shares a slot: all who want the same with [`Lot::SHARED`], or only those of one lot, which can then be emptied without
/// asking anybody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lot(u64);

impl Lot {
    /// Everybody.
    pub const SHARED: Self = Self(0);

    /// Those who have this number, which is not 0.
    pub const fn new(number: core::num::NonZeroU64) -> Self {
        Self(number.get())
    }
}

/// What a slot leads to, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Whose memory.
    pub peer: Port,
    /// Which part of it.
    pub chunk: Chunk,
    /// How the CPU accesses it.
    pub mode: CacheMode,
    /// For whom.
    pub lot: Lot,
}

/// What becomes of a slot between two targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// It leads nowhere.
    Free,
    /// It is being programmed, on behalf of one holder.
    Programming(Target),
    /// It leads there.
    Live(Target),
    /// Its peer is lost, or its last holder has retired it: nobody new gets it, the hardware has to be told.
    Lost(Target),
    /// The hardware has been told; the last holders have not let go yet.
    Cleared(Target),
}

impl SlotState {
    /// Where it leads, or has led last if somebody still holds it.
    pub const fn target(&self) -> Option<Target> {
        match *self {
            Self::Free => None,
            Self::Programming(target)
            | Self::Live(target)
            | Self::Lost(target)
            | Self::Cleared(target) => Some(target),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    state: SlotState,
    /// Holders.
    pins: u32,
    /// When it was pinned or let go of last, in acquisitions.
    used: u64,
}

/// A slot that a holder has pinned. To be given back by [`SlotCache::release`], once.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Pin {
    slot: u8,
}

impl Pin {
    /// Its number.
    pub const fn slot(&self) -> u8 {
        self.slot
    }
}

/// What an acquisition comes to.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// A slot leads there already.
    Hit(Pin),
    /// This slot has to be programmed, then [`SlotCache::commit`] or [`SlotCache::abort`] be called.
    Program {
        /// The slot.
        pin: Pin,
        /// Where it has led until now; nobody holds it any more, but the hardware still does it.
        evict: Option<Target>,
    },
    /// Somebody else is programming a slot for this target; try again later.
    Pending,
    /// All slots are pinned, or so many that those that are to be left are not.
    Full,
}

/// A mistake of the owner of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotError {
    /// The slot is not in a state for that.
    State,
    /// The peer was lost while the slot was being programmed: clear it, then give the pin back.
    Lost,
}

/// A set of slots: bit n is slot n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotSet(u64);

impl SlotSet {
    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The slots, in order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..SLOTS_MAX).filter(move |&slot| self.0 & Self::bit(slot) != 0)
    }

    fn insert(&mut self, slot: u8) {
        self.0 |= Self::bit(slot);
    }

    fn bit(slot: u8) -> u64 {
        1_u64.checked_shl(u32::from(slot)).unwrap_or(0)
    }
}

/// The books of one adapter's slots.
///
/// # Invariants
///
/// No two slots that are programmed or live have the same target; one that is being programmed has one pin.
#[derive(Debug)]
pub struct SlotCache {
    geometry: Geometry,
    entries: [Entry; SLOTS_MAX as usize],
    /// Acquisitions and releases so far.
    clock: u64,
}

impl SlotCache {
    /// All slots of the window are free.
    pub const fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            entries: [Entry {
                state: SlotState::Free,
                pins: 0,
                used: 0,
            }; SLOTS_MAX as usize],
            clock: 0,
        }
    }

    /// The window.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn entries(&self) -> impl Iterator<Item = (u8, &Entry)> {
        (0..self.geometry.slots()).zip(self.entries.iter())
    }

    fn entries_mut(&mut self) -> impl Iterator<Item = (u8, &mut Entry)> {
        (0..self.geometry.slots()).zip(self.entries.iter_mut())
    }

    fn entry(&mut self, slot: u8) -> Result<&mut Entry, SlotError> {
        self.entries
            .get_mut(..usize::from(self.geometry.slots()))
            .and_then(|entries| entries.get_mut(usize::from(slot)))
            .ok_or(SlotError::State)
    }

    fn tick(&mut self) -> u64 {
        self.clock = self.clock.wrapping_add(1);
        self.clock
    }

    /// Pins a slot that leads to `target`. One that has to be programmed is the one that was let go of longest ago, a free
    /// one if there is any.
    pub fn acquire(&mut self, target: Target) -> Outcome {
        self.acquire_leaving(target, 0)
    }

    /// The same for who can do without: if a slot has to be programmed, `spare` others that nobody holds must be left.
    pub fn acquire_leaving(&mut self, target: Target, spare: u8) -> Outcome {
        let now = self.tick();
        let mut choice: Option<(u8, u64)> = None;
        let mut open: u8 = 0;
        for (slot, entry) in self.entries_mut() {
            match entry.state {
                SlotState::Programming(there) if there == target => return Outcome::Pending,
                SlotState::Live(there) if there == target => {
                    entry.pins = entry.pins.saturating_add(1);
                    entry.used = now;
                    return Outcome::Hit(Pin { slot });
                }
                SlotState::Free | SlotState::Live(_) if entry.pins == 0 => {
                    open = open.saturating_add(1);
                    let age = match entry.state {
                        SlotState::Free => 0,
                        _ => entry.used,
                    };
                    if choice.is_none_or(|(_, oldest)| age < oldest) {
                        choice = Some((slot, age));
                    }
                }
                _ => {}
            }
        }
        let Some((slot, _)) = choice.filter(|_| open > spare) else {
            return Outcome::Full;
        };
        let Ok(entry) = self.entry(slot) else {
            return Outcome::Full;
        };
        let evict = entry.state.target();
        // INVARIANT: No slot has this target, or one of the first two arms had been taken.
        *entry = Entry {
            state: SlotState::Programming(target),
            pins: 1,
            used: now,
        };
        Outcome::Program {
            pin: Pin { slot },
            evict,
        }
    }

    /// Pins slot `slot`, which was free: the owner of the memory has let it lead to `target` from the start.
    pub fn install(&mut self, slot: u8, target: Target) -> Result<Pin, SlotError> {
        let now = self.tick();
        let taken = self
            .entries()
            .any(|(_, entry)| matches!(entry.state, SlotState::Programming(there) | SlotState::Live(there) if there == target));
        let entry = self.entry(slot)?;
        if taken || entry.state != SlotState::Free {
            return Err(SlotError::State);
        }
        // INVARIANT: Just checked.
        *entry = Entry {
            state: SlotState::Live(target),
            pins: 1,
            used: now,
        };
        Ok(Pin { slot })
    }

    /// The slot of `pin` is programmed.
    pub fn commit(&mut self, pin: &Pin) -> Result<(), SlotError> {
        let entry = self.entry(pin.slot)?;
        match entry.state {
            SlotState::Programming(target) => {
                entry.state = SlotState::Live(target);
                Ok(())
            }
            SlotState::Lost(_) | SlotState::Cleared(_) => Err(SlotError::Lost),
            SlotState::Free | SlotState::Live(_) => Err(SlotError::State),
        }
    }

    /// The slot of `pin` could not be programmed, and leads nowhere.
    pub fn abort(&mut self, pin: Pin) -> Result<(), SlotError> {
        let entry = self.entry(pin.slot)?;
        let pins = entry.pins.checked_sub(1).ok_or(SlotError::State)?;
        match entry.state {
            SlotState::Programming(_) => entry.state = SlotState::Free,
            SlotState::Cleared(_) if pins == 0 => entry.state = SlotState::Free,
            // Whoever was told to clear it is yet to do that.
            SlotState::Lost(_) => {}
            _ => return Err(SlotError::State),
        }
        entry.pins = pins;
        Ok(())
    }

    /// The holder has let go: no access through the slot comes from it any more.
    pub fn release(&mut self, pin: Pin) -> Result<(), SlotError> {
        let now = self.tick();
        let entry = self.entry(pin.slot)?;
        let pins = entry.pins.checked_sub(1).ok_or(SlotError::State)?;
        match entry.state {
            SlotState::Programming(_) => return Err(SlotError::State),
            SlotState::Cleared(_) if pins == 0 => entry.state = SlotState::Free,
            _ => {}
        }
        entry.pins = pins;
        entry.used = now;
        Ok(())
    }

    /// As [`SlotCache::release`], but if nobody else holds the slot it shall not lead there any longer: then it is to be
    /// cleared, and [`SlotCache::cleared`] be called. Whom it leads to in that case.
    pub fn retire(&mut self, pin: Pin) -> Result<Option<Port>, SlotError> {
        let slot = pin.slot;
        self.release(pin)?;
        let entry = self.entry(slot)?;
        match entry.state {
            SlotState::Live(target) if entry.pins == 0 => {
                entry.state = SlotState::Lost(target);
                Ok(Some(target.peer))
            }
            _ => Ok(None),
        }
    }

    /// `peer` is lost: its slots are handed out no more. They are to be cleared, and [`SlotCache::cleared`] be called
    /// for each.
    pub fn forget(&mut self, peer: Port) -> SlotSet {
        let mut lost = SlotSet::default();
        for (slot, entry) in self.entries_mut() {
            match entry.state {
                SlotState::Programming(target)
                | SlotState::Live(target)
                | SlotState::Lost(target)
                    if target.peer == peer =>
                {
                    entry.state = SlotState::Lost(target);
                    lost.insert(slot);
                }
                _ => {}
            }
        }
        lost
    }

    /// Slot `slot` shall lead there no longer, whoever holds it: it is handed out no more, is to be cleared, and
    /// [`SlotCache::cleared`] be called. Whom it leads to; [`None`] if it leads nowhere already.
    pub fn empty(&mut self, slot: u8) -> Result<Option<Port>, SlotError> {
        let entry = self.entry(slot)?;
        match entry.state {
            SlotState::Live(target) | SlotState::Lost(target) => {
                entry.state = SlotState::Lost(target);
                Ok(Some(target.peer))
            }
            SlotState::Free | SlotState::Cleared(_) => Ok(None),
            SlotState::Programming(_) => Err(SlotError::State),
        }
    }

    /// Slot `slot`, which was emptied and is held all the same, shall lead where it has led before: it is to be programmed, or
    /// [emptied](SlotCache::empty) again if that fails. Where that is; [`None`] if it leads there already.
    pub fn revive(&mut self, slot: u8) -> Result<Option<Target>, SlotError> {
        let target = match self.entry(slot)?.state {
            SlotState::Live(_) => return Ok(None),
            SlotState::Cleared(target) => target,
            _ => return Err(SlotError::State),
        };
        let taken = self
            .entries()
            .any(|(_, entry)| matches!(entry.state, SlotState::Programming(there) | SlotState::Live(there) if there == target));
        if taken {
            return Err(SlotError::State);
        }
        // INVARIANT: Just checked.
        self.entry(slot)?.state = SlotState::Live(target);
        Ok(Some(target))
    }

    /// The hardware lets slot `slot`, of a lost peer, retired or emptied, lead nowhere. It is free as soon as nobody holds it.
    pub fn cleared(&mut self, slot: u8) -> Result<(), SlotError> {
        let entry = self.entry(slot)?;
        match entry.state {
            SlotState::Lost(target) => {
                entry.state = match entry.pins {
                    0 => SlotState::Free,
                    _ => SlotState::Cleared(target),
                };
                Ok(())
            }
            _ => Err(SlotError::State),
        }
    }

    /// How many slots somebody holds.
    pub fn pinned(&self) -> u8 {
        // CAST: There are SLOTS_MAX at most.
        self.entries().filter(|(_, entry)| entry.pins > 0).count() as u8
    }

    /// Every slot with its state and holders, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, SlotState, u32)> + '_ {
        self.entries()
            .map(|(slot, entry)| (slot, entry.state, entry.pins))
    }
}
