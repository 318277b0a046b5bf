// SPDX-License-Identifier: GPL-2.0
//! What a client in Rust, skiff_client_test.ko, is told of its own segment and of another node's, which it has mapped: it writes that
//! into the kernel's log, and what the map gives then.

use std::time::Duration;

use anyhow::Result;
use ntb_switch::control::LinkState;
use skiff_cluster::Cluster;
use skiff_cluster::Node;

use crate::frame::Case;
use crate::frame::Context;
use crate::lend::BORROWER;
use crate::lend::LENDER;
use crate::log::Line;
use crate::share;
use crate::share::Actor;
use crate::share::Balance;
use crate::share::PAGE;

/// See its name.
pub const TOLD: Case = Case {
    name: "a client in Rust is told what happens to its segments",
    run: told,
};

/// Within which everything is told.
const LIMIT: Duration = Duration::from_secs(60);

/// The module's segment, and the one that it maps.
const OWN: u32 = 64;
const FAR: u32 = 65;

/// What the map gives: what is there, and ones when it leads nowhere.
const WORD: &str = "far reads 0x1234$";
const ONES: &str = "far reads 0xf{16}$";

/// What it says when the owner's node does not answer, and when it has a new life.
pub const AWAY: [&str; 2] = ["far NotOperational of node 1", ONES];
pub const DEAD: [&str; 3] = ["own PeerLost of node 1", "far Lost of node 1", ONES];

/// The module, and who has a segment for it on another node.
pub struct Watch<'a> {
    node: &'a Node,
    owner: Actor<'a>,
}

impl<'a> Watch<'a> {
    /// Loads the module in the borrower's node, which maps a segment of the lender's.
    pub fn begin(cluster: &'a Cluster) -> Result<Self> {
        let (node, other) = (cluster.node(BORROWER), cluster.node(LENDER));
        let owner = Actor::start(other, "owner")?;
        owner.tell(&format!(
            "create segment {PAGE} --id {FAR} --mode 666 --share"
        ))?;
        owner.tell("map own segment")?;
        owner.tell("poke own 0 0x1234")?;
        let this = Self { node, owner };
        let options = format!("own={OWN} node={} far={FAR}", other.port(0));
        this.says(&[WORD], || {
            Ok(node.modprobe(&format!("skiff_client_test {options}"))?)
        })?;
        Ok(this)
    }

    pub fn end(self) -> Result<()> {
        self.node.run("rmmod skiff_client_test")?.check()?;
        Ok(())
    }

    /// The module says each of these once more when something was done.
    pub fn says(&self, lines: &[&str], act: impl FnOnce() -> Result<()>) -> Result<()> {
        let lines = lines
            .iter()
            .map(|text| Line::new(self.node, &format!("skiff_client_test: {text}")))
            .collect::<Result<Vec<_>>>()?;
        act()?;
        lines.iter().try_for_each(|line| line.wait(LIMIT))
    }

    /// The other node connects to the module's segment.
    pub fn connect(&self, name: &str) -> Result<()> {
        let port = self.node.port(0);
        self.says(&["own Connected of node 1"], || {
            self.owner
                .tell(&format!("connect {name} --node {port} {OWN}"))
        })
    }
}

fn told(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (switch, port) = (cluster.switch(), cluster.node(LENDER).port(0));
    let watcher = Actor::start(cluster.node(BORROWER), "watcher")?;
    let before = Balance::of(&watcher)?;
    let watch = Watch::begin(cluster)?;
    watch.connect("once")?;
    watch.says(&["own Disconnected of node 1"], || {
        watch.owner.tell("drop once")
    })?;

    let down = watch.says(&AWAY, || Ok(switch.set_link(port, LinkState::Down)?));
    watch.says(&["far Operational of node 1", WORD], || {
        Ok(switch.set_link(port, LinkState::Up)?)
    })?;
    down?;
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }

    // It is there for those who have it, as long as they do.
    watch.says(&["far Unavailable of node 1", WORD], || {
        watch.owner.tell("unavailable segment")
    })?;
    watch.says(&["far Lost of node 1", ONES], || {
        watch.owner.tell("revoke segment")
    })?;
    watch.end()?;

    let watch = Watch::begin(cluster)?;
    watch.says(&["far Removed of node 1", WORD], || {
        watch.owner.tell("remove segment --force")
    })?;
    // Its owner learns that it is let go of.
    watch.end()?;
    before.wait_back(&watcher)
}
