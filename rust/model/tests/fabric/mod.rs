// SPDX-License-Identifier: GPL-2.0
//! Two nodes and a switch in memory: the hardware below the tests of a pair, in both kinds.
//!
//! A board of either [`Side`] implements [`Ntb`]. Stores through a window are under way until somebody delivers them, in
//! their order; the tests decide when, and what is lost.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::rc::Rc;

use skiff_model::addr::BusAddr;
use skiff_model::addr::SlotBytes;
use skiff_model::ids::Port;
use skiff_model::ids::PortSet;
use skiff_model::ids::RequesterId;
use skiff_model::ntb::EventSet;
use skiff_model::ntb::Geometry;
use skiff_model::ntb::Ntb;
use skiff_model::ntb::Sent;
use skiff_model::ntb::Side;
use skiff_model::ntb::WindowClass;
use skiff_model::ntb::Windows;

pub mod inboxes;
pub mod node;

/// What a slot reaches.
pub const SLOT: u64 = 1 << 20;

/// Slots of a window.
pub const SLOTS: u8 = 4;

/// What of a node's bus addresses is memory, from [`RAM_BASE`] up: two chunks.
pub const RAM: usize = 2 << 20;

/// Not at 0, so that an address that was forgotten leads nowhere.
pub const RAM_BASE: u64 = 16 << 20;

/// What the hardware refuses.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such slot, or a base that is not slot-aligned.
    Slot,
}

/// A store that is under way.
struct Store {
    bus: u64,
    bytes: Vec<u8>,
}

/// One end.
struct End {
    ram: Vec<u8>,
    gate: bool,
    /// Where slots lead that this end has programmed, by the rules of its side.
    slots: HashMap<u8, u64>,
    /// Stores towards this end, oldest first.
    coming: VecDeque<Store>,
    word: Option<u32>,
    events: EventSet,
}

impl End {
    fn new() -> Self {
        Self {
            ram: vec![0; RAM],
            gate: false,
            slots: HashMap::new(),
            coming: VecDeque::new(),
            word: None,
            events: EventSet::NONE,
        }
    }

    fn range(bus: u64, bytes: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(bus.checked_sub(RAM_BASE)?).ok()?;
        let end = start.checked_add(bytes)?;
        (end <= RAM).then_some(start..end)
    }

    fn deliver(&mut self, store: &Store) {
        if let Some(range) = Self::range(store.bus, store.bytes.len()) {
            self.ram[range].copy_from_slice(&store.bytes);
        }
    }
}

/// The switch between ports 0 and 1.
pub struct Switch {
    side: Side,
    ends: [End; 2],
    link: bool,
}

/// The switch, shared by its boards.
pub type Shared = Rc<RefCell<Switch>>;

impl Switch {
    /// A switch whose windows are programmed by `side`.
    pub fn new(side: Side) -> Shared {
        Rc::new(RefCell::new(Self {
            side,
            ends: [End::new(), End::new()],
            link: false,
        }))
    }

    fn linked(&self) -> bool {
        self.link && self.ends.iter().all(|end| end.gate)
    }

    /// Takes the link away or gives it back. What is under way is lost when it goes.
    pub fn set_link(&mut self, up: bool) {
        self.link = up;
        for end in &mut self.ends {
            if !up {
                end.coming.clear();
            }
            end.events = end.events.union(EventSet::LINK);
        }
    }

    /// How many stores are under way to `port`.
    pub fn coming(&self, port: usize) -> usize {
        self.ends[port].coming.len()
    }

    /// Lets the oldest `count` stores to `port` arrive.
    pub fn deliver(&mut self, port: usize, count: usize) {
        let end = &mut self.ends[port];
        for _ in 0..count {
            let Some(store) = end.coming.pop_front() else {
                break;
            };
            end.deliver(&store);
        }
    }

    /// Overwrites memory of `port`: a peer that does not keep to the protocol.
    pub fn poke(&mut self, port: usize, bus: u64, bytes: &[u8]) {
        let store = Store {
            bus,
            bytes: bytes.to_vec(),
        };
        self.ends[port].deliver(&store);
    }

    /// The memory of `port`.
    pub fn peek(&self, port: usize, bus: u64, bytes: usize) -> Vec<u8> {
        let range = End::range(bus, bytes).expect("a test looks at memory");
        self.ends[port].ram[range].to_vec()
    }

    /// Loses the word that waits at `port`.
    pub fn lose_word(&mut self, port: usize) {
        self.ends[port].word = None;
    }

    /// The node at `port` dies and boots: its memory and its registers are as new. Stores that are under way to it still arrive.
    pub fn reboot(&mut self, port: usize) {
        let coming = std::mem::take(&mut self.ends[port].coming);
        self.ends[port] = End {
            coming,
            ..End::new()
        };
        let other = &mut self.ends[1 - port];
        other.events = other.events.union(EventSet::LINK);
    }

    /// Where the byte at `offset` of `port`'s window leads: by its own slot, or by one that the owner of the memory has set.
    fn route(&self, port: usize, offset: u64) -> Option<u64> {
        let slot = u8::try_from(offset / SLOT).ok()?;
        let programmer = match self.side {
            Side::User => port,
            Side::Owner => 1 - port,
        };
        let base = self.ends[programmer].slots.get(&slot)?;
        self.linked().then_some(base + offset % SLOT)
    }
}

/// One end's adapter.
#[derive(Clone)]
pub struct Board {
    switch: Shared,
    port: usize,
}

impl Board {
    /// The adapter of port `port`.
    pub fn new(switch: &Shared, port: usize) -> Self {
        Self {
            switch: Rc::clone(switch),
            port,
        }
    }

    /// Stores through the window; lost if it leads nowhere.
    pub fn store(&self, offset: u64, bytes: &[u8]) {
        let mut switch = self.switch.borrow_mut();
        if let Some(bus) = switch.route(self.port, offset) {
            let bytes = bytes.to_vec();
            switch.ends[1 - self.port]
                .coming
                .push_back(Store { bus, bytes });
        }
    }

    /// Loads from local memory.
    pub fn load(&self, bus: u64, bytes: usize) -> Vec<u8> {
        self.switch.borrow().peek(self.port, bus, bytes)
    }

    /// Empties local memory.
    pub fn clear(&self, bus: u64, bytes: usize) {
        self.switch
            .borrow_mut()
            .poke(self.port, bus, &vec![0; bytes]);
    }
}

impl Ntb for Board {
    type Error = Refusal;

    fn port(&self) -> Port {
        Port::new(self.port as u8).expect("0 or 1")
    }

    fn geometry(&self) -> Windows<Geometry> {
        let slot_bytes = SlotBytes::new(SLOT).expect("a power of two");
        let side = self.switch.borrow().side;
        Windows {
            memory: Geometry::new(SLOTS, slot_bytes, side).expect("a few slots"),
            registers: None,
        }
    }

    fn linked(&mut self) -> Result<PortSet, Refusal> {
        let mut linked = PortSet::EMPTY;
        if self.switch.borrow().linked() {
            linked.insert(Port::new(1 - self.port as u8).expect("0 or 1"));
        }
        Ok(linked)
    }

    fn set_slot(
        &mut self,
        class: WindowClass,
        slot: u8,
        peer: Port,
        base: BusAddr,
    ) -> Result<(), Refusal> {
        if class != WindowClass::Memory
            || slot >= SLOTS
            || base.get() % SLOT != 0
            || peer.index() != 1 - self.port
        {
            return Err(Refusal::Slot);
        }
        self.switch.borrow_mut().ends[self.port]
            .slots
            .insert(slot, base.get());
        Ok(())
    }

    fn clear_slot(&mut self, class: WindowClass, slot: u8, _peer: Port) -> Result<(), Refusal> {
        if class != WindowClass::Memory {
            return Err(Refusal::Slot);
        }
        self.switch.borrow_mut().ends[self.port].slots.remove(&slot);
        Ok(())
    }

    fn admit(&mut self, _requester: RequesterId) -> Result<(), Refusal> {
        Ok(())
    }

    fn withdraw(&mut self, _requester: RequesterId) -> Result<(), Refusal> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        Ok(())
    }

    fn ring(&mut self, peer: Port) -> Result<(), Refusal> {
        let mut switch = self.switch.borrow_mut();
        if switch.linked() {
            let end = &mut switch.ends[peer.index()];
            end.events = end.events.union(EventSet::DOORBELL);
        }
        Ok(())
    }

    fn take_events(&mut self) -> Result<EventSet, Refusal> {
        let mut switch = self.switch.borrow_mut();
        Ok(std::mem::take(&mut switch.ends[self.port].events))
    }

    fn send_word(&mut self, peer: Port, word: u32) -> Result<Sent, Refusal> {
        let mut switch = self.switch.borrow_mut();
        if !switch.linked() || switch.ends[peer.index()].word.is_some() {
            return Ok(Sent::Full);
        }
        let end = &mut switch.ends[peer.index()];
        end.word = Some(word);
        end.events = end.events.union(EventSet::WORD);
        Ok(Sent::Sent)
    }

    fn take_word(&mut self) -> Result<Option<(Port, u32)>, Refusal> {
        let mut switch = self.switch.borrow_mut();
        let peer = Port::new(1 - self.port as u8).expect("0 or 1");
        Ok(switch.ends[self.port].word.take().map(|word| (peer, word)))
    }

    fn open_gate(&mut self) -> Result<(), Refusal> {
        let mut switch = self.switch.borrow_mut();
        switch.ends[self.port].gate = true;
        for end in &mut switch.ends {
            end.events = end.events.union(EventSet::LINK);
        }
        Ok(())
    }

    fn close_gate(&mut self) -> Result<(), Refusal> {
        let mut switch = self.switch.borrow_mut();
        switch.ends[self.port].gate = false;
        for end in &mut switch.ends {
            end.events = end.events.union(EventSet::LINK);
        }
        Ok(())
    }
}
