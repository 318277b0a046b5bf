// SPDX-License-Identifier: GPL-2.0
//! What happens to the switch: nodes come and go, make memory known, write registers; helpers come and go.
//!
//! Every change is made under the one lock, together with all that follows from it: windows that show something else
//! are changed and confirmed, links go up and down, interrupts are signalled last. Nobody waits for a node under the
//! lock, and for a helper at most its time-out per update.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::sys::eventfd::{EfdFlags, EventFd};
use ntb_remap::wire::Hello;
use skiff_vfio_user::{Client, DmaAccess, DmaMap, DmaUnmap, Errno};

use super::helper::Helper;
use super::memory::{is_window_file, Files};
use super::stale::Stale;
use super::state::{Connection, PortState, State, Window};
use super::timer::{Held, Timer};
use super::waits::{Node, Waits};
use crate::counters::PortCounters;
use crate::model::{Bar, Effect, Link, Message, Port, Switch};
use crate::space::{Access, Backing};

/// One connection of one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attachment {
    pub(super) port: Port,
    pub(super) id: u64,
    /// The process at the other end, if known.
    pub(super) process: Option<i32>,
}

/// How long the switch waits for others, and how much it asks of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For a node to answer a read.
    pub(super) read: Duration,
    /// For a helper to confirm an update.
    pub(super) helper: Duration,
    /// Most mappings that the windows of one process may consist of.
    pub(super) most_pieces: usize,
}

/// Whether the connection is still the port's own.
fn is_current(state: &mut State, who: Attachment) -> bool {
    matches!(&state.port(who.port).connection, Some(connection) if connection.id == who.id)
}

/// The switch at work.
#[derive(Debug)]
pub(super) struct Fabric {
    state: Mutex<State>,
    /// By partition index.
    pub(super) counters: Arc<[PortCounters]>,
    pub(super) waits: Waits,
    pub(super) limits: Limits,
    timer: Timer,
    next_id: AtomicU64,
    /// Readable when the switch is to end.
    stop: EventFd,
}

impl Fabric {
    /// A switch without nodes, and what its timer thread needs.
    pub(super) fn new(
        switch: Switch,
        windows: Vec<Window>,
        limits: Limits,
    ) -> Result<(Arc<Self>, Held), nix::Error> {
        let ports = switch.ports();
        let counters: Arc<[PortCounters]> = ports.iter().map(|_| PortCounters::default()).collect();
        let mut state = State {
            switch,
            files: Files::default(),
            ports: ports
                .iter()
                .zip(windows)
                .map(|(port, window)| PortState::new(*port, window))
                .collect(),
            counters: Arc::clone(&counters),
            helper_timeout: limits.helper,
            most_pieces: limits.most_pieces,
        };
        for port in ports {
            // Nothing is attached yet, so nothing follows from this.
            state.update_link(port);
        }
        let (timer, held) = Timer::new();
        let stop =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let fabric = Self {
            state: Mutex::new(state),
            counters,
            waits: Waits::default(),
            limits,
            timer,
            next_id: AtomicU64::new(1),
            stop,
        };
        Ok((Arc::new(fabric), held))
    }

    /// The locked state.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The locked state, for a connection that is still the port's current one.
    pub(super) fn lock_for(&self, who: Attachment) -> Result<MutexGuard<'_, State>, Errno> {
        let mut state = self.lock();
        match is_current(&mut state, who) {
            true => Ok(state),
            false => Err(Errno::NODEV),
        }
    }

    /// As [`Fabric::lock_for`], unless somebody else holds the lock.
    pub(super) fn try_lock_for(&self, who: Attachment) -> Option<MutexGuard<'_, State>> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        is_current(&mut state, who).then_some(state)
    }

    /// A number that no connection of this switch had before.
    pub(super) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks the switch to end.
    pub(super) fn ask_to_stop(&self) {
        if let Err(errno) = self.stop.write(1) {
            tracing::error!(%errno, "cannot end");
        }
    }

    /// Becomes readable when the switch is to end.
    pub(super) fn stop_event(&self) -> &EventFd {
        &self.stop
    }

    /// Carries out what follows from a change; `stale` ports have a window that may show the wrong thing already.
    pub(super) fn settle(&self, state: &mut State, effects: Vec<Effect>, mut stale: Stale) {
        let mut effects = effects;
        let mut interrupts = BTreeSet::new();
        loop {
            for effect in std::mem::take(&mut effects) {
                match effect {
                    Effect::Interrupt(port) => {
                        interrupts.insert(port);
                    }
                    Effect::Window {
                        port,
                        bar: Bar::Memory,
                    } => {
                        stale.add_window(port);
                    }
                    // The device window is always trapped.
                    Effect::Window { .. } => {}
                    Effect::Deliver { message, after } => {
                        self.timer.hold(Instant::now() + after, message)
                    }
                }
            }
            if stale.is_empty() {
                break;
            }
            // Losing a helper takes a link down, which concerns further windows; there are only so many helpers to lose.
            for port in state.refresh(&std::mem::take(&mut stale)) {
                effects.extend(state.update_link(port));
            }
        }
        for port in interrupts {
            state.interrupt(port);
        }
    }

    /// Makes a change on behalf of a connection, and carries out what follows before it returns.
    pub(super) fn change(
        &self,
        who: Attachment,
        change: impl FnOnce(&mut State) -> Vec<Effect>,
    ) -> Result<(), Errno> {
        let mut state = self.lock_for(who)?;
        let effects = change(&mut state);
        self.settle(&mut state, effects, Stale::default());
        Ok(())
    }

    /// A node has come; one that was there before is replaced.
    pub(super) fn attach(&self, who: Attachment, client: Client) {
        let port = who.port;
        let mut state = self.lock();
        if !state.port(port).plugged {
            client.close();
            return;
        }
        if let Some(old) = &state.port(port).connection {
            tracing::warn!(%port, connection = old.id, "another node takes the place of the one that is there");
            old.client.close();
            self.remove_node(&mut state, port);
        }
        // A window of a process that is gone, or half gone, is not to be driven any more.
        if let Some(process) = who.process {
            state.drop_helpers(port, |helper| helper.process != process);
        }
        let node = match who.process {
            // Several nodes of a test may live in the switch's own process; each is a machine of its own.
            Some(process) if u32::try_from(process) != Ok(std::process::id()) => {
                Node::Process(process)
            }
            _ => Node::Connection(who.id),
        };
        let slot = state.port(port);
        slot.attachments += 1;
        slot.connection = Some(Connection {
            id: who.id,
            client,
            process: who.process,
            node,
        });
        tracing::info!(%port, connection = who.id, process = who.process, "node attached");
        let mut effects = state.update_link(port);
        effects.extend(state.switch.attach(port));
        self.settle(&mut state, effects, Stale::window(port));
    }

    /// The connection is over; unless another one has taken its place, so is the node.
    pub(super) fn detach(&self, who: Attachment) {
        if let Ok(mut state) = self.lock_for(who) {
            tracing::info!(port = %who.port, connection = who.id, "node gone");
            self.remove_node(&mut state, who.port);
        }
    }

    fn remove_node(&self, state: &mut State, port: Port) {
        let stale = state.showing(port, 0, u64::MAX);
        let slot = state.port(port);
        slot.connection = None;
        slot.interrupt = None;
        slot.space.clear();
        let effects = state.switch.detach(port);
        self.settle(state, effects, stale);
        state.forget_unused_files();
    }

    /// Takes a port out: the node at it is cut off and none can come until it is put in again.
    pub(super) fn unplug(&self, port: Port) {
        let mut state = self.lock();
        state.port(port).plugged = false;
        let effects = state.update_link(port);
        self.settle(&mut state, effects, Stale::default());
        if let Some(connection) = &state.port(port).connection {
            connection.client.close();
            self.remove_node(&mut state, port);
        }
    }

    /// Undoes [`Fabric::unplug`].
    pub(super) fn plug(&self, port: Port) {
        let mut state = self.lock();
        state.port(port).plugged = true;
        let effects = state.update_link(port);
        self.settle(&mut state, effects, Stale::default());
    }

    /// Takes a port's link down, or lets it up.
    pub(super) fn set_link(&self, port: Port, link: Link) {
        let mut state = self.lock();
        state.port(port).wanted_link = link;
        let effects = state.update_link(port);
        self.settle(&mut state, effects, Stale::default());
    }

    /// A message that was held back arrives.
    pub(super) fn deliver(&self, message: Message) {
        let mut state = self.lock();
        let effects = state.switch.deliver(message);
        self.settle(&mut state, effects, Stale::default());
    }

    /// A node made a piece of its address space known.
    pub(super) fn dma_map(
        &self,
        who: Attachment,
        map: DmaMap,
        fd: Option<OwnedFd>,
    ) -> Result<(), Errno> {
        self.counters[who.port.index()].dma_maps.one();
        let mut state = self.lock_for(who)?;
        let stale = state.showing(who.port, map.addr, map.addr.saturating_add(map.size - 1));
        // What is not memory (a window, or a map without a file) hides what was there before.
        state
            .port(who.port)
            .space
            .remove(map.addr, map.size)
            .map_err(|_| Errno::INVAL)?;
        let access = match (
            map.access.contains(DmaAccess::READ),
            map.access.contains(DmaAccess::WRITE),
        ) {
            (true, true) => Some(Access::ReadWrite),
            (true, false) => Some(Access::Read),
            // Reached by messages only; the node decides.
            (false, _) => None,
        };
        let mut result = Ok(());
        if let (Some(fd), Some(access)) = (fd.filter(|fd| !is_window_file(fd.as_fd())), access) {
            result = state
                .files
                .add(fd, map.offset + map.size)
                .map_err(|errno| {
                    tracing::warn!(port = %who.port, ?map, %errno, "memory cannot be used");
                    Errno::INVAL
                })
                .and_then(|file| {
                    let backing = Backing {
                        file,
                        offset: map.offset,
                        access,
                    };
                    state
                        .port(who.port)
                        .space
                        .insert(map.addr, map.size, backing)
                        .map_err(|_| Errno::INVAL)
                });
        }
        self.settle(&mut state, Vec::new(), stale);
        result
    }

    /// A node takes a piece of its address space back; when this returns no window shows it any more.
    pub(super) fn dma_unmap(&self, who: Attachment, unmap: DmaUnmap) -> Result<(), Errno> {
        self.counters[who.port.index()].dma_unmaps.one();
        let mut state = self.lock_for(who)?;
        let (addr, last) = match unmap {
            DmaUnmap::Range { addr, size } => (addr, addr.saturating_add(size - 1)),
            DmaUnmap::All => (0, u64::MAX),
        };
        let stale = state.showing(who.port, addr, last);
        let space = &mut state.port(who.port).space;
        match unmap {
            DmaUnmap::Range { addr, size } => space.remove(addr, size).map_err(|_| Errno::INVAL)?,
            DmaUnmap::All => space.clear(),
        }
        self.settle(&mut state, Vec::new(), stale);
        Ok(())
    }

    /// Sets or takes away the eventfd of a port's MSI.
    pub(super) fn set_interrupt(
        &self,
        who: Attachment,
        eventfd: Option<OwnedFd>,
    ) -> Result<(), Errno> {
        if let Some(fd) = &eventfd {
            // Signalling must not wait, whatever kind of file this is.
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|_| Errno::INVAL)?;
        }
        let mut state = self.lock_for(who)?;
        let late = eventfd.is_some() && state.switch.interrupt_pending(who.port);
        // SAFETY: an EventFd only adds `read` and `write` of 8 bytes to a descriptor, which fail on what is none.
        state.port(who.port).interrupt = eventfd.map(|fd| unsafe { EventFd::from_owned_fd(fd) });
        if late {
            state.interrupt(who.port);
        }
        Ok(())
    }

    /// Signals a port's MSI for the node's own test.
    pub(super) fn fire_interrupt(&self, who: Attachment) -> Result<(), Errno> {
        self.lock_for(who)?.interrupt(who.port);
        Ok(())
    }

    /// A helper has mapped a window; gives its number, by which it is removed.
    pub(super) fn add_helper(
        &self,
        port: Port,
        hello: &Hello,
        process: i32,
        socket: OwnedFd,
    ) -> Option<u64> {
        let id = self.new_id();
        let mut state = self.lock();
        let size = state.switch.window_size(port, Bar::Memory);
        let (start, end) = (hello.offset, hello.offset.saturating_add(hello.len));
        // Another process that had the window before is gone, or half gone.
        state.drop_helpers(port, |helper| helper.process != process);
        let Window::Mapped { helpers, .. } = &mut state.port(port).window else {
            tracing::warn!(%port, "a helper for a window that is trapped");
            return None;
        };
        if start >= size || end > size {
            tracing::warn!(%port, start, end, size, "a helper for more than the window");
            return None;
        }
        helpers.push(Helper::new(id, process, socket, hello, size));
        tracing::info!(%port, helper = id, process, "helper attached");
        // First what is to be seen with the link down, which is nothing; then the link, and what it brings.
        self.settle(&mut state, Vec::new(), Stale::window(port));
        let effects = state.update_link(port);
        self.settle(&mut state, effects, Stale::window(port));
        Some(id)
    }

    /// A helper has gone: its window is gone, or out of control.
    pub(super) fn remove_helper(&self, port: Port, id: u64) {
        let mut state = self.lock();
        state.drop_helpers(port, |helper| helper.id == id);
        let effects = state.update_link(port);
        self.settle(&mut state, effects, Stale::default());
    }

    /// Asks the helpers for accesses to dead pages that they have seen.
    pub(super) fn ask_dead_accesses(&self) {
        let mut state = self.lock();
        let effects = state
            .ask_dead_accesses()
            .into_iter()
            .flat_map(|port| state.update_link(port))
            .collect();
        self.settle(&mut state, effects, Stale::default());
    }

    /// Closes all connections.
    pub(super) fn close_all(&self) {
        let mut state = self.lock();
        for slot in &mut state.ports {
            slot.plugged = false;
            if let Some(connection) = slot.connection.take() {
                connection.client.close();
            }
            if let Window::Mapped { helpers, .. } = &mut slot.window {
                helpers.clear();
            }
        }
    }
}
