// SPDX-License-Identifier: GPL-2.0
//! Who has borrowed a device.
//!
//! A borrow ends in two steps: [`Borrowers::end`] says that its holder has lost it, [`Borrowers::release`] that nothing of it
//! is left. Between them nobody new gets the device, for it may be about to be reset.
//!
//! # Locking
//!
//! None of its own: the owner's lock of the device covers every call.

use crate::ids::BorrowId;
use crate::ids::DeviceIndex;
use crate::wire::DeviceState;
use crate::wire::Share;
use crate::wire::Status;

/// Borrows of one device at a time.
pub const BORROWS_MAX: usize = 64;

/// Why something is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It is unavailable, or somebody is in the way.
    Busy,
    /// The borrow has ended, or never was.
    Ended,
}

impl Denied {
    /// What the asking node is told.
    pub const fn status(self) -> Status {
        match self {
            Self::Busy => Status::Busy,
            Self::Ended => Status::Ended,
        }
    }
}

/// Who is left when a borrow ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Remains {
    /// Nobody: the device has to be stopped, or reset.
    Nobody,
    /// Others, who go on using it.
    Others,
}

/// Whether a device can be had at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Unavailable,
    Available,
    Broken,
}

/// How far a borrow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Good,
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Place<W> {
    borrow: BorrowId,
    who: W,
    phase: Phase,
}

/// The borrows of one device; `W` is who has one.
///
/// # Invariants
///
/// No two have the same id. If one is exclusive it is the only one.
#[derive(Debug)]
pub struct Borrowers<W> {
    index: DeviceIndex,
    condition: Condition,
    places: [Option<Place<W>>; BORROWS_MAX],
    /// Meaningful if there is a borrow.
    share: Share,
    /// Number of the last borrow's id.
    last: u16,
}

impl<W: Copy + Eq> Borrowers<W> {
    /// Those of a device that was added to the pool at `index`: nobody, and it is unavailable.
    pub const fn new(index: DeviceIndex) -> Self {
        Self {
            index,
            condition: Condition::Unavailable,
            places: [None; BORROWS_MAX],
            share: Share::Shared,
            last: 0,
        }
    }

    /// The device can be borrowed from now on. Error: it could be, or is it still.
    pub fn make_available(&mut self) -> Result<(), Denied> {
        if self.condition == Condition::Available || !self.is_empty() {
            return Err(Denied::Busy);
        }
        self.condition = Condition::Available;
        Ok(())
    }

    /// It cannot be borrowed any more. Error: it could not, or somebody has it.
    pub fn make_unavailable(&mut self) -> Result<(), Denied> {
        if self.condition != Condition::Available || !self.is_empty() {
            return Err(Denied::Busy);
        }
        self.condition = Condition::Unavailable;
        Ok(())
    }

    /// It does not work any more. Those who have it keep their borrows until they are ended.
    pub fn fail(&mut self) {
        self.condition = Condition::Broken;
    }

    /// How it stands with the device.
    pub fn state(&self) -> DeviceState {
        match (self.condition, self.share) {
            (Condition::Unavailable, _) => DeviceState::Unavailable,
            (Condition::Broken, _) => DeviceState::Broken,
            (Condition::Available, _) if self.is_empty() => DeviceState::Available,
            (Condition::Available, Share::Shared) => DeviceState::Borrowed,
            (Condition::Available, Share::Exclusive) => DeviceState::Exclusive,
        }
    }

    /// Somebody borrows it.
    pub fn borrow(&mut self, who: W, share: Share) -> Result<BorrowId, Denied> {
        let alone = self.is_empty();
        let in_the_way = !alone && (share == Share::Exclusive || self.share == Share::Exclusive);
        let ended = self.all().any(|place| place.phase == Phase::Ended);
        if self.condition != Condition::Available || in_the_way || ended {
            return Err(Denied::Busy);
        }
        let (borrow, number) = self.next_id();
        let place = self.places.iter_mut().find(|place| place.is_none());
        // INVARIANT: The id is new, and who is exclusive has found nobody.
        *place.ok_or(Denied::Busy)? = Some(Place {
            borrow,
            who,
            phase: Phase::Good,
        });
        self.last = number;
        self.share = share;
        Ok(borrow)
    }

    /// Who has this borrow, which has not ended.
    pub fn who(&self, borrow: BorrowId) -> Option<W> {
        let mut good = self.good();
        good.find(|&(id, _)| id == borrow).map(|(_, who)| who)
    }

    /// Checks that `who` has the borrow.
    pub fn check(&self, borrow: BorrowId, who: W) -> Result<(), Denied> {
        match self.who(borrow) {
            Some(has) if has == who => Ok(()),
            _ => Err(Denied::Ended),
        }
    }

    /// Checks that the borrow is exclusive.
    pub fn check_exclusive(&self, borrow: BorrowId) -> Result<(), Denied> {
        self.who(borrow).ok_or(Denied::Ended)?;
        match self.share {
            Share::Exclusive => Ok(()),
            Share::Shared => Err(Denied::Busy),
        }
    }

    /// Lets others borrow it as well. Error [`Denied::Busy`]: the borrow is not exclusive.
    pub fn release_exclusive(&mut self, borrow: BorrowId) -> Result<(), Denied> {
        self.check_exclusive(borrow)?;
        self.share = Share::Shared;
        Ok(())
    }

    /// The first step of the end of the borrows that are meant. `None` if none of them was left; else who can still use it.
    pub fn end(&mut self, meant: impl Fn(BorrowId, W) -> bool) -> Option<Remains> {
        let mut ended = false;
        for place in self.places.iter_mut().flatten() {
            if place.phase == Phase::Good && meant(place.borrow, place.who) {
                place.phase = Phase::Ended;
                ended = true;
            }
        }
        ended.then(|| Self::remains(self.good().next().is_none()))
    }

    /// The first step of the end of all of them.
    pub fn take_all(&mut self) -> Option<Remains> {
        self.end(|_, _| true)
    }

    /// The first one that has ended, and of which something may be left.
    pub fn next_ended(&self) -> Option<(BorrowId, W)> {
        let mut all = self.all();
        all.find(|place| place.phase == Phase::Ended)
            .map(|place| (place.borrow, place.who))
    }

    /// Who has anything of the device beside this borrow: nobody else, then it is to be reset before the borrow is released.
    pub fn beside(&self, borrow: BorrowId) -> Remains {
        Self::remains(self.all().all(|place| place.borrow == borrow))
    }

    /// The second step of the end of a borrow. Error [`Denied::Busy`]: it has not taken the first one.
    pub fn release(&mut self, borrow: BorrowId) -> Result<(), Denied> {
        let is_it = |place: &Place<W>| place.borrow == borrow;
        let mut places = self.places.iter_mut();
        let place = places.find(|place| place.as_ref().is_some_and(is_it));
        match place.ok_or(Denied::Ended)? {
            Some(Place {
                phase: Phase::Good, ..
            }) => Err(Denied::Busy),
            place => {
                *place = None;
                Ok(())
            }
        }
    }

    /// Borrows that have not ended, and who has them.
    pub fn good(&self) -> impl Iterator<Item = (BorrowId, W)> + '_ {
        self.all()
            .filter(|place| place.phase == Phase::Good)
            .map(|place| (place.borrow, place.who))
    }

    /// Whether there is no borrow, nor anything left of one.
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    fn all(&self) -> impl Iterator<Item = &Place<W>> {
        self.places.iter().flatten()
    }

    const fn remains(empty: bool) -> Remains {
        if empty {
            Remains::Nobody
        } else {
            Remains::Others
        }
    }

    /// An id that no borrow has, and its number among those of this device.
    fn next_id(&self) -> (BorrowId, u16) {
        let mut number = self.last;
        loop {
            // There are more numbers than places.
            number = number.wrapping_add(1);
            let id = BorrowId::of(self.index, number);
            if self.all().all(|place| place.borrow != id) {
                return (id, number);
            }
        }
    }
}
