// SPDX-License-Identifier: GPL-2.0
//! make demo: two nodes boot Debian's stock kernel and load skiff.ko. They share memory that holds a real file, then node 1
//! works with a drive of node 0 as if it were its own.

mod drive;
mod memory;

use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use skiff_cluster::Cluster;
use skiff_cluster::Kernel;
use skiff_cluster::Layout;

use crate::guest;
use crate::share;
use crate::share::Actor;

/// A row of a table: a name and its cells.
type Row = (String, Vec<String>);

fn step(started: Instant, text: &str) {
    println!("[{:5.1} s] {text}", started.elapsed().as_secs_f64());
}

/// The folder of a kernel, which every machine that can run the demo has.
fn kernel() -> Result<PathBuf> {
    let cache =
        std::env::var_os("SKIFF_CACHE").context("SKIFF_CACHE is not set; run this as make demo")?;
    Ok(PathBuf::from(cache)
        .join("kernels")
        .join(Kernel::Stock.name()))
}

/// Bytes, the time that they took, and bytes a second.
fn copied(bytes: u64, time: Duration) -> String {
    let (bytes, seconds) = (bytes as f64 / 1e6, time.as_secs_f64());
    let rate = bytes / seconds;
    format!("{bytes:5.1} MB  {:6.1} ms  {rate:6.0} MB/s", seconds * 1e3)
}

fn print(rows: &[Row]) {
    println!();
    let width = |row: &Row| row.0.chars().count();
    let first = rows.iter().map(width).max().unwrap_or(0);
    // Cells of one column need no alignment.
    let several = rows.iter().any(|row| row.1.len() > 1);
    for (name, cells) in rows {
        let wide = if several { 14 } else { 0 };
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>wide$}")).collect();
        println!("  {name:first$}  {}", cells.join("  "));
    }
    println!();
}

/// Runs the demo.
pub fn run() -> Result<()> {
    let started = Instant::now();
    step(started, "starting the switch and two nodes");
    let builder = guest::install(Cluster::builder()).layout(Layout::Companion);
    let cluster = drive::describe(builder)?.memory_mib(512).start()?;
    let booted = started.elapsed();
    let release = cluster.node(0).run("uname -r")?.check()?;
    let release = release.stdout_text().trim().to_owned();
    step(started, &format!("both run Linux {release}"));
    let before = drive::at_home(cluster.node(drive::HOME))?;
    step(
        started,
        "node 0 has an NVMe drive; measured with Linux's own driver",
    );

    for node in cluster.nodes() {
        share::load(node, "")?;
    }
    for node in cluster.nodes() {
        share::wait_up(&cluster, node)?;
    }
    let (owner, user) = (
        Actor::start(cluster.node(0), "owner")?,
        Actor::start(cluster.node(1), "user")?,
    );
    step(
        started,
        &format!(
            "insmod skiff.ko; nodes {} and {} have found each other",
            owner.status()?.node,
            user.status()?.node
        ),
    );

    let mut rows = vec![(
        "boot of switch and both nodes".to_owned(),
        vec![format!("{:.1} s", booted.as_secs_f64())],
    )];
    let digest = memory::share(started, &cluster, &owner, &user, &mut rows)?;
    print(&rows);
    drop((owner, user));
    let mut rows = Vec::new();
    let files = drive::borrow(started, &cluster, &before, &mut rows)?;
    print(&rows);
    for node in cluster.nodes() {
        share::unload(node)?;
    }
    cluster.stop()?;
    println!("Shared, changed and found whole: SHA-256 {digest}");
    println!("{files}");
    println!("All in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}
