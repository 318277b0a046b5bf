// SPDX-License-Identifier: GPL-2.0
//! Everything behind the switch's one lock: the model, the nodes' bus address spaces, and what their windows show.
//!
//! Whoever changes a route or a space under the lock brings the views up to date before letting go of it
//! ([`State::refresh`]), so that between two holders of the lock every window shows exactly what the model says, or its
//! port's link is down.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::eventfd::EventFd;
use skiff_vfio_user::Client;

use super::helper::{carry_out, Helper, Outcome};
use super::memory::Files;
use super::stale::Stale;
use super::waits::Node;
use crate::control::WindowState;
use crate::counters::PortCounters;
use crate::model::{Bar, Effect, Link, Port, Route, Switch};
use crate::space::Space;
use crate::view::View;

/// A node at a port.
#[derive(Debug)]
pub(super) struct Connection {
    /// Tells connections of one switch apart.
    pub(super) id: u64,
    /// The way towards the node.
    pub(super) client: Client,
    /// The process at the other end, if known.
    pub(super) process: Option<i32>,
    /// Which machine it is.
    pub(super) node: Node,
}

/// How a port's memory window is made.
#[derive(Debug)]
pub(super) enum Window {
    /// Every access is a message.
    Trapped,
    /// The node maps this file, and helpers show in its place what is to be seen.
    Mapped {
        /// The file; nothing is ever read from or written to it on purpose.
        file: WindowFile,
        /// One for each mapping of (a part of) the window.
        helpers: Vec<Helper>,
    },
}

/// The file that a mapped window is made of.
#[derive(Debug, Clone)]
pub(super) enum WindowFile {
    /// Offered as the NT function's BAR2.
    Offered(Arc<OwnedFd>),
    /// In the run folder, for the companion function.
    Named,
}

/// One port.
#[derive(Debug)]
pub(super) struct PortState {
    pub(super) port: Port,
    pub(super) connection: Option<Connection>,
    /// How often a node has come.
    pub(super) attachments: u64,
    /// Whether nodes may come.
    pub(super) plugged: bool,
    /// The link as the control socket wants it.
    pub(super) wanted_link: Link,
    /// The link as the model was last told.
    told_link: Link,
    /// What the node made known of its memory.
    pub(super) space: Space,
    pub(super) window: Window,
    /// The node's MSI.
    pub(super) interrupt: Option<EventFd>,
}

impl PortState {
    pub(super) fn new(port: Port, window: Window) -> Self {
        Self {
            port,
            connection: None,
            attachments: 0,
            plugged: true,
            wanted_link: Link::Up,
            told_link: Link::Up,
            space: Space::new(),
            window,
            interrupt: None,
        }
    }
}

/// Everything behind the lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) switch: Switch,
    pub(super) files: Files,
    /// By partition index.
    pub(super) ports: Vec<PortState>,
    pub(super) counters: Arc<[PortCounters]>,
    pub(super) helper_timeout: Duration,
    /// Most mappings that the windows of one process may consist of.
    pub(super) most_pieces: usize,
}

impl State {
    /// The port's state; ports come from the model, which has as many.
    pub(super) fn port(&mut self, port: Port) -> &mut PortState {
        &mut self.ports[port.index()]
    }

    /// How the port's memory window is made at the moment.
    pub(super) fn window_state(&self, port: Port) -> WindowState {
        match &self.ports[port.index()].window {
            Window::Trapped => WindowState::Trapped,
            Window::Mapped { helpers, .. } => {
                if covers(helpers, self.switch.window_size(port, Bar::Memory)) {
                    WindowState::Mapped
                } else {
                    WindowState::WaitsForHelper
                }
            }
        }
    }

    /// Tells the model the link of a port when it has to change: it is up while nobody wants it down and its window is
    /// under control.
    pub(super) fn update_link(&mut self, port: Port) -> Vec<Effect> {
        let shown = self.window_state(port) != WindowState::WaitsForHelper;
        let state = self.port(port);
        let link = if shown && state.plugged {
            state.wanted_link
        } else {
            Link::Down
        };
        if link == state.told_link {
            return Vec::new();
        }
        state.told_link = link;
        self.switch.set_link(port, link)
    }

    /// The parts of mapped windows that show a node's bus addresses from `addr` to `last`.
    pub(super) fn showing(&self, target: Port, addr: u64, last: u64) -> Stale {
        let mut stale = Stale::default();
        for from in &self.ports {
            if matches!(&from.window, Window::Mapped { helpers, .. } if !helpers.is_empty()) {
                self.add_routes(&mut stale, from.port, target, addr, last);
            }
        }
        stale
    }

    /// Adds the parts of the memory window of `from` that lead to addresses of `target` from `addr` to `last`.
    fn add_routes(&self, stale: &mut Stale, from: Port, target: Port, addr: u64, last: u64) {
        let size = self.switch.window_size(from, Bar::Memory);
        let mut at = 0;
        while at < size {
            let step = match self.switch.route(from, Bar::Memory, at) {
                Route::Memory {
                    port,
                    addr: start,
                    len,
                } => {
                    let first = addr.max(start);
                    let last = last.min(start.saturating_add(len - 1));
                    if port == target && first <= last {
                        stale.add(from, at + (first - start)..at + (last - start) + 1);
                    }
                    len
                }
                Route::Unsupported { len, .. } => len,
            };
            at = at.saturating_add(step.max(1));
        }
    }

    /// What a window shows by its routes and the spaces.
    pub(super) fn view(&self, port: Port, bar: Bar) -> View {
        View::build(&self.switch, port, bar, |target| {
            &self.ports[target.index()].space
        })
    }

    /// Makes these parts of mapped memory windows show what they should; gives the ports that lost a helper over it.
    pub(super) fn refresh(&mut self, stale: &Stale) -> BTreeSet<Port> {
        let limits: Vec<usize> = stale
            .iter()
            .map(|(port, _)| self.most_pieces(*port))
            .collect();
        // Out of the state while their views are made from the rest of it.
        let mut taken: Vec<(Port, Vec<Helper>)> = stale
            .iter()
            .map(|(port, _)| (*port, self.take_helpers(*port)))
            .collect();
        let space = |target: Port| &self.ports[target.index()].space;
        let mut work = Vec::new();
        let mut owners = Vec::new();
        for (((port, helpers), (_, parts)), most) in taken.iter_mut().zip(stale.iter()).zip(limits)
        {
            for helper in helpers {
                let change = helper.change(|view| {
                    let before = view.clone();
                    let mut changes = Vec::new();
                    for part in parts {
                        let part = part.clone();
                        changes.extend(view.update(&self.switch, *port, Bar::Memory, space, part));
                    }
                    // A view that had to be limited has `most` pieces, or one less; what was left out may find room now.
                    if before.pieces().len() + 1 >= most || view.pieces().len() > most {
                        let whole = View::build(&self.switch, *port, Bar::Memory, space);
                        if whole.pieces().len() > most {
                            self.counters[port.index()].view_overflows.one();
                        }
                        *view = whole.limited(most);
                        changes = before.changes(view);
                    }
                    changes
                });
                if let Some(change) = change {
                    work.push(change);
                    owners.push(*port);
                }
            }
        }
        let outcomes = carry_out(work, &self.files, self.helper_timeout);
        for (port, helpers) in taken {
            self.give_helpers(port, helpers);
        }
        for (owner, outcome) in owners.iter().zip(&outcomes) {
            let counters = &self.counters[owner.index()];
            counters.view_updates.one();
            counters.view_pieces.add(outcome.pieces);
        }
        self.settle_helpers(&owners, outcomes)
    }

    /// Most pieces of which the window of a port may consist: each is a mapping of its process, which may have several
    /// windows.
    fn most_pieces(&self, port: Port) -> usize {
        let process = self.helpers(port).first().map(|helper| helper.process);
        let sharing = self
            .ports
            .iter()
            .flat_map(|other| self.helpers(other.port))
            .filter(|helper| Some(helper.process) == process)
            .count();
        self.most_pieces / sharing.max(1)
    }

    fn helpers(&self, port: Port) -> &[Helper] {
        match &self.ports[port.index()].window {
            Window::Mapped { helpers, .. } => helpers,
            Window::Trapped => &[],
        }
    }

    fn take_helpers(&mut self, port: Port) -> Vec<Helper> {
        match &mut self.port(port).window {
            Window::Mapped { helpers, .. } => std::mem::take(helpers),
            Window::Trapped => Vec::new(),
        }
    }

    fn give_helpers(&mut self, port: Port, back: Vec<Helper>) {
        if let Window::Mapped { helpers, .. } = &mut self.port(port).window {
            *helpers = back;
        }
    }

    /// Brings the counts of accesses to dead pages up to date; gives the ports that lost a helper over it.
    pub(super) fn ask_dead_accesses(&mut self) -> BTreeSet<Port> {
        let mut work = Vec::new();
        let mut owners = Vec::new();
        for state in &mut self.ports {
            if let Window::Mapped { helpers, .. } = &mut state.window {
                for ask in helpers.iter_mut().filter_map(Helper::ask_dead_accesses) {
                    work.push(ask);
                    owners.push(state.port);
                }
            }
        }
        let outcomes = carry_out(work, &self.files, self.helper_timeout);
        self.settle_helpers(&owners, outcomes)
    }

    /// Counts what helpers saw and lets go of those that failed.
    fn settle_helpers(&mut self, owners: &[Port], outcomes: Vec<Outcome>) -> BTreeSet<Port> {
        let mut lost = BTreeSet::new();
        for (&port, outcome) in owners.iter().zip(outcomes) {
            self.counters[port.index()]
                .unsupported_requests
                .add(outcome.dead_accesses);
            if let Err(error) = outcome.result {
                tracing::warn!(%port, helper = outcome.helper, %error, "the window is out of control, its link goes down");
                self.drop_helpers(port, |helper| helper.id == outcome.helper);
                lost.insert(port);
            }
        }
        lost
    }

    /// Lets go of some helpers of a port.
    pub(super) fn drop_helpers(&mut self, port: Port, which: impl Fn(&Helper) -> bool) {
        if let Window::Mapped { helpers, .. } = &mut self.port(port).window {
            helpers.retain(|helper| !which(helper));
        }
    }

    /// Signals the port's MSI.
    pub(super) fn interrupt(&self, port: Port) {
        if let Some(eventfd) = &self.ports[port.index()].interrupt {
            // A full counter (EAGAIN) is an interrupt that is pending anyway.
            if let Err(errno) = eventfd.write(1) {
                tracing::debug!(%port, %errno, "interrupt");
            }
        }
    }

    /// Forgets files that no space refers to any more.
    pub(super) fn forget_unused_files(&mut self) {
        let used: BTreeSet<_> = self
            .ports
            .iter()
            .flat_map(|port| port.space.mapped())
            .filter_map(|extent| extent.backing)
            .map(|backing| backing.file)
            .collect();
        self.files.retain(|file| used.contains(&file));
    }
}

/// Whether the helpers' mappings together are the whole window.
fn covers(helpers: &[Helper], size: u64) -> bool {
    let mut ranges: Vec<(u64, u64)> = helpers.iter().map(Helper::range).collect();
    ranges.sort_unstable();
    let reached = ranges.into_iter().fold(0, |reached, (start, end)| {
        if start <= reached {
            reached.max(end)
        } else {
            reached
        }
    });
    reached >= size
}
