// SPDX-License-Identifier: GPL-2.0
//! skiff.ko in the nodes of a cluster, and processes there that share memory by it.
//!
//! An [`Actor`] is a process in a node that holds segments, connections and maps under names and does one step at a time
//! (`skiff-guest actor`). Every step is a line of words; `skiff-guest act --help` lists them. Steps go through its
//! standard input; those that are begun and waited for later are processes of their own, so that others can be done meanwhile.

mod answers;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::Deserialize;
use skiff_cluster::Cluster;
use skiff_cluster::Job;
use skiff_cluster::Node;

use crate::guest;

pub use answers::AdapterStatus;
pub use answers::Digested;
pub use answers::Event;
pub use answers::Found;
pub use answers::LocalInfo;
pub use answers::NodeStatus;
pub use answers::RemoteInfo;
pub use answers::Revoked;
pub use answers::Scribbled;
pub use answers::Status;
pub use answers::Touched;
pub use answers::Traffic;
pub use answers::Verified;

/// How long a node may take to see what another one did.
pub const SOON: Duration = Duration::from_secs(10);

/// An actor lives at most as long as the longest soak test.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// How long a step may take.
const STEP: Duration = Duration::from_secs(600);

/// What an actor says first.
const READY: &str = "ready";

/// How long the end of a process may take.
const DEATH: Duration = Duration::from_secs(5);

/// Bytes of a page.
pub const PAGE: u64 = 4096;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Done {
        ok: T,
    },
    Refused {
        errno: Option<String>,
        error: String,
    },
}

/// A process in a node. It ends with its owner.
#[derive(Debug)]
pub struct Actor<'a> {
    node: &'a Node,
    name: String,
    job: Job,
    /// Where its next answer starts in what it writes.
    next: Mutex<usize>,
}

impl<'a> Actor<'a> {
    /// Starts a process of the superuser.
    pub fn start(node: &'a Node, name: &str) -> Result<Self> {
        Self::spawn(node, name, "")
    }

    /// Starts a process of another user, with /dev/skiff open.
    pub fn start_as(node: &'a Node, name: &str, uid: u32, gid: u32) -> Result<Self> {
        Self::spawn(node, name, &format!("--uid {uid} --gid {gid}"))
    }

    fn spawn(node: &'a Node, name: &str, options: &str) -> Result<Self> {
        let line = format!("exec {} actor {name} {options}", guest::PATH);
        let job = node.shell(&line).timeout(LIFE).keep_stdin().spawn()?;
        let ready = job.wait_for_line(0, STEP)?;
        ensure!(ready.as_deref() == Some(READY), "{name} says {ready:?}");
        Ok(Self {
            node,
            name: name.to_owned(),
            job,
            next: Mutex::new(READY.len() + 1),
        })
    }

    /// Its node.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    fn line(&self, step: &str) -> String {
        format!("exec {} act {} {step}", guest::PATH, self.name)
    }

    fn answer<T: DeserializeOwned>(step: &str, text: &str) -> Result<Answer<T>> {
        serde_json::from_str(text).with_context(|| format!("{step} was answered by {text:?}"))
    }

    fn request<T: DeserializeOwned>(&self, step: &str) -> Result<Answer<T>> {
        let words: Vec<&str> = step.split_whitespace().collect();
        let request = format!("{}\n", serde_json::to_string(&words)?);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        self.job.write(request.as_bytes())?;
        let line = self.job.wait_for_line(*next, STEP)?;
        let line = line.with_context(|| format!("{step}: {} ended", self.name))?;
        *next += line.len() + 1;
        Self::answer(step, &line)
    }

    /// Has a step done that must succeed; gives what it tells.
    pub fn ask<T: DeserializeOwned>(&self, step: &str) -> Result<T> {
        self.request(step)?.good(step)
    }

    /// The same for steps that tell nothing of interest.
    pub fn tell(&self, step: &str) -> Result<()> {
        self.ask::<serde_json::Value>(step).map(drop)
    }

    /// Has a step done that must fail with this errno.
    pub fn refused(&self, step: &str, errno: &str) -> Result<()> {
        match self.request::<serde_json::Value>(step)? {
            Answer::Done { ok } => bail!("{step} succeeded ({ok}), {errno} was due"),
            Answer::Refused {
                errno: found,
                error,
            } => {
                ensure!(
                    found.as_deref() == Some(errno),
                    "{step} failed with {found:?} ({error}), {errno} was due"
                );
                Ok(())
            }
        }
    }

    /// Begins a step that waits.
    pub fn begin(&self, step: &str) -> Result<Pending> {
        let job = self
            .node
            .shell(&self.line(step))
            .timeout(Duration::from_secs(120))
            .spawn()?;
        Ok(Pending {
            job,
            step: step.to_owned(),
        })
    }

    /// Waits until a step gives what is wanted.
    pub fn until<T: DeserializeOwned + std::fmt::Debug>(
        &self,
        step: &str,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let started = Instant::now();
        loop {
            let asked = Instant::now();
            let last: T = self.ask(step)?;
            if wanted(&last) {
                return Ok(last);
            }
            // A node must get on meanwhile.
            let pause = asked.elapsed().max(Duration::from_millis(5));
            ensure!(
                started.elapsed() < SOON,
                "{step} still gives {last:?} after {SOON:?}"
            );
            sleep(pause);
        }
    }

    /// The next event of an object must be this one.
    pub fn event(&self, object: &str, kind: &str) -> Result<Event> {
        let event: Event = self.ask(&format!("event {object}"))?;
        ensure!(event.kind == kind, "{kind} was due, {event:?} came");
        Ok(event)
    }

    /// The next event of a node must be this one.
    pub fn node_event(&self, kind: &str) -> Result<Event> {
        let event: Event = self.ask("event")?;
        ensure!(event.kind == kind, "{kind} was due, {event:?} came");
        Ok(event)
    }

    /// What its node tells of itself.
    pub fn status(&self) -> Result<Status> {
        self.ask("status")
    }

    /// A part of a map must hold the bytes of a sequence.
    pub fn verify(&self, map: &str, offset: u64, length: u64, seed: u64) -> Result<()> {
        let step = format!("verify {map} {offset} {length} {seed}");
        let found: Verified = self.ask(&step)?;
        ensure!(found.wrong == 0, "{step}: {found:?}");
        Ok(())
    }

    /// Fills a part of a map with the bytes of a sequence.
    pub fn fill(&self, map: &str, offset: u64, length: u64, seed: u64) -> Result<()> {
        self.tell(&format!("fill {map} {offset} {length} {seed}"))
    }

    /// Every page of a map must raise SIGBUS, on loads and on stores.
    pub fn all_refused(&self, map: &str, pages: u64) -> Result<()> {
        let loads: Touched = self.ask(&format!("touch {map}"))?;
        ensure!(
            loads.refused == pages,
            "of {pages} pages of {map}: {loads:?}"
        );
        let stores: Scribbled = self.ask(&format!("scribble {map} 0xbad"))?;
        ensure!(
            stores.refused == pages,
            "of {pages} pages of {map}: {stores:?}"
        );
        Ok(())
    }

    /// Every page of a map must take stores that lead nowhere and read all ones: at once, or where the window is emulated,
    /// a moment after the stores (Documentation/switch-model.rst, deviations).
    pub fn all_ones(&self, map: &str, pages: u64) -> Result<()> {
        let stores: Scribbled = self.ask(&format!("scribble {map} 0xbad"))?;
        ensure!(
            stores.taken == pages,
            "of {pages} pages of {map}: {stores:?}"
        );
        let step = format!("touch {map}");
        self.until(&step, |loads: &Touched| loads.ones == pages)?;
        Ok(())
    }

    /// Kills it as kill -9 does; it is gone when this returns, and all that it held.
    pub fn kill(self) -> Result<()> {
        self.end();
        ensure!(self.job.is_finished(), "{} does not die", self.name);
        Ok(())
    }

    fn end(&self) {
        self.job.kill(9);
        let started = Instant::now();
        while !self.job.is_finished() && started.elapsed() < DEATH {
            sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Actor<'_> {
    /// Waits, so that what comes next finds the ids free. A node that stands still is not waited for to its end.
    fn drop(&mut self) {
        self.end();
    }
}

impl<T> Answer<T> {
    fn good(self, step: &str) -> Result<T> {
        match self {
            Self::Done { ok } => Ok(ok),
            Self::Refused { errno, error } => bail!("{step}: {error} ({errno:?})"),
        }
    }
}

/// A step that waits.
#[derive(Debug)]
pub struct Pending {
    job: Job,
    step: String,
}

impl Pending {
    /// Whether it still waits.
    pub fn waits(&self) -> bool {
        !self.job.is_finished()
    }

    fn answer<T: DeserializeOwned>(self) -> Result<(String, Answer<T>)> {
        let output = self.job.wait()?.check()?;
        let answer = Actor::answer(&self.step, output.stdout_text().trim())?;
        Ok((self.step, answer))
    }

    /// Waits for its end; gives what it tells.
    pub fn ask<T: DeserializeOwned>(self) -> Result<T> {
        let (step, answer) = self.answer()?;
        answer.good(&step)
    }

    /// Waits for its end, which must be this errno.
    pub fn refused(self, errno: &str) -> Result<()> {
        match self.answer::<serde_json::Value>()? {
            (step, Answer::Done { ok }) => bail!("{step} succeeded ({ok}), {errno} was due"),
            (
                step,
                Answer::Refused {
                    errno: found,
                    error,
                },
            ) => {
                ensure!(
                    found.as_deref() == Some(errno),
                    "{step} failed with {found:?} ({error}), {errno} was due"
                );
                Ok(())
            }
        }
    }
}

/// Loads skiff.ko in a node.
pub fn load(node: &Node, parameters: &str) -> Result<()> {
    Ok(node.modprobe(format!("skiff {parameters}").trim_end())?)
}

/// Unloads it.
pub fn unload(node: &Node) -> Result<()> {
    node.run("rmmod skiff")?.check()?;
    Ok(())
}

/// Loads it everywhere and waits until every node knows every other one.
pub fn load_everywhere(cluster: &Cluster, parameters: &str) -> Result<()> {
    for node in cluster.nodes() {
        load(node, parameters)?;
    }
    for node in cluster.nodes() {
        wait_up(cluster, node)?;
    }
    Ok(())
}

/// Waits until a node knows all nodes that run.
pub fn wait_up(cluster: &Cluster, node: &Node) -> Result<()> {
    let actor = Actor::start(node, "waits")?;
    let all = cluster
        .nodes()
        .iter()
        .filter(|other| other.is_running())
        .fold(0, |all, other| all | (1 << other.port(0)));
    actor.until("status", |status: &Status| status.nodes == all)?;
    Ok(())
}

/// Where memory of a node is on its bus, as the switch knows it: the bus address of a physical address.
///
/// A node's RAM is one file from physical address 0 on, as long as it has no more than 2 GiB.
fn bus_address(cluster: &Cluster, node: &Node, physical: u64) -> Result<u64> {
    let pieces = cluster.switch().space(node.port(0))?;
    // The file of the RAM is the one that most of what devices reach is in.
    let ram = pieces.iter().max_by_key(|piece| piece.len);
    let ram = ram.context("devices reach nothing")?.file;
    let piece = pieces
        .iter()
        .filter(|piece| piece.file == ram)
        .find(|piece| {
            physical
                .checked_sub(piece.file_offset)
                .is_some_and(|within| within < piece.len)
        })
        .with_context(|| format!("no device reaches {physical:#x}: {pieces:x?}"))?;
    Ok(piece.addr + (physical - piece.file_offset))
}

/// What pages of a node hold, read from the host side, one digest a page.
pub fn digests(cluster: &Cluster, node: &Node, pages: &[u64]) -> Result<Vec<String>> {
    let port = node.port(0);
    pages
        .iter()
        .map(|page| {
            let address = bus_address(cluster, node, *page)?;
            Ok(cluster.switch().memory_digest(port, address, PAGE)?)
        })
        .collect()
}

/// What must be back where it began after a test: per adapter, without what comes and goes with links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    slots_pinned: Vec<u32>,
    exported: Vec<u64>,
    quarantined: Vec<u64>,
}

impl Balance {
    /// As it is now.
    pub fn of(actor: &Actor<'_>) -> Result<Self> {
        let status = actor.status()?;
        let each = |pick: fn(&AdapterStatus) -> u64| status.adapters.iter().map(pick).collect();
        Ok(Self {
            slots_pinned: status.adapters.iter().map(|a| a.slots_pinned).collect(),
            exported: each(|a| a.exported_bytes),
            quarantined: each(|a| a.quarantined_bytes),
        })
    }

    /// Waits until everything is back.
    pub fn wait_back(&self, actor: &Actor<'_>) -> Result<()> {
        let started = Instant::now();
        loop {
            let now = Self::of(actor)?;
            if now == *self {
                return Ok(());
            }
            ensure!(started.elapsed() < SOON, "it was {self:?}, it is {now:?}");
            sleep(Duration::from_millis(100));
        }
    }
}

/// KiB of a node's memory that are free or can be had at once.
pub fn free_kib(node: &Node) -> Result<u64> {
    let line =
        "sync; echo 3 > /proc/sys/vm/drop_caches; awk '/^MemAvailable/ { print $2 }' /proc/meminfo";
    let output = node.run(line)?.check()?;
    guest::number(output.stdout_text().trim())
}
