// SPDX-License-Identifier: GPL-2.0
//! Where the host's processors are busy: what each thread of QEMU and the switch have used, from /proc.

use std::fs;
use std::ops::AddAssign;
use std::ops::Sub;

use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Cluster;
use skiff_cluster::Node;

/// Ticks of /proc a second: USER_HZ, the same on every x86 Linux.
const TICKS: f64 = 100.0;

/// Seconds of processor time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Emulated processors of the node that works.
    pub user_guest: f64,
    /// The rest of its QEMU.
    pub user_qemu: f64,
    /// Emulated processors of the node with the drive.
    pub home_guest: f64,
    /// The rest of its QEMU: the drive.
    pub home_qemu: f64,
    /// The switch.
    pub switch: f64,
}

impl Used {
    /// As it is now. The working node may be the one with the drive.
    pub fn now(cluster: &Cluster, user: &Node, home: &Node) -> Result<Self> {
        let (home_guest, home_qemu) = machine(home)?;
        let (user_guest, user_qemu) = match user.index() == home.index() {
            true => (0.0, 0.0),
            false => machine(user)?,
        };
        let switch = cluster.switch_pid().context("there is no switch")?;
        Ok(Self {
            user_guest,
            user_qemu,
            home_guest,
            home_qemu,
            switch: threads(switch)?.into_iter().map(|(_, used)| used).sum(),
        })
    }

    /// All of them, in the order of the fields.
    pub fn parts(self) -> [f64; 5] {
        [
            self.user_guest,
            self.user_qemu,
            self.home_guest,
            self.home_qemu,
            self.switch,
        ]
    }
}

impl Sub for Used {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            user_guest: self.user_guest - before.user_guest,
            user_qemu: self.user_qemu - before.user_qemu,
            home_guest: self.home_guest - before.home_guest,
            home_qemu: self.home_qemu - before.home_qemu,
            switch: self.switch - before.switch,
        }
    }
}

impl AddAssign for Used {
    fn add_assign(&mut self, more: Self) {
        self.user_guest += more.user_guest;
        self.user_qemu += more.user_qemu;
        self.home_guest += more.home_guest;
        self.home_qemu += more.home_qemu;
        self.switch += more.switch;
    }
}

/// Seconds of a node's emulated processors, and of all other threads of its QEMU.
fn machine(node: &Node) -> Result<(f64, f64)> {
    let pid = node.pid().context("the node does not run")?;
    let (guests, others): (Vec<_>, Vec<_>) = threads(pid)?
        .into_iter()
        .partition(|(name, _)| name.starts_with("CPU "));
    let sum = |threads: Vec<(String, f64)>| threads.into_iter().map(|(_, used)| used).sum();
    Ok((sum(guests), sum(others)))
}

/// Names and seconds of the threads of a process.
fn threads(pid: i32) -> Result<Vec<(String, f64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path().join("stat");
        // Threads come and go.
        let Ok(stat) = fs::read_to_string(&path) else {
            continue;
        };
        let (head, tail) = stat
            .rsplit_once(") ")
            .with_context(|| format!("{} says {stat:?}", path.display()))?;
        let name = head.split_once('(').map_or("", |(_, name)| name);
        // From the third field on; utime and stime are the 14th and 15th (proc_pid_stat(5)).
        let ticks: f64 = tail
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        found.push((name.to_owned(), ticks / TICKS));
    }
    Ok(found)
}
