// SPDX-License-Identifier: GPL-2.0
//! skiff-bench: measures the emulated fabric, and skiff.ko on it. `make bench` calls it.
//!
//! Machines are shared and noisy: what counts are ratios within one run, of medians of interleaved samples. Nothing here
//! is asserted.

mod chart;
mod measure;
mod nvme;
mod share;
mod table;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use clap::Parser;
use clap::ValueEnum;

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Page {
    /// Copies through a mapped window against RAM.
    Window,
    /// Single accesses, slots and doorbells.
    Access,
    /// Copies through maps of skiff.ko against the bare window.
    Share,
    /// A ping-pong through maps of skiff.ko against bare windows.
    PingPong,
    /// Connecting among few and many segments.
    Connect,
    /// An NVMe drive at home and from another node.
    Nvme,
    /// Boot times.
    Boot,
}

#[derive(Debug, Parser)]
#[command(
    version,
    about = "Measures the emulated fabric and skiff.ko on it; writes Markdown and SVG"
)]
struct Arguments {
    /// Folder for the results.
    #[arg(long, default_value = "out/bench")]
    out: PathBuf,
    /// Samples of each figure.
    #[arg(long, default_value_t = 9)]
    rounds: u32,
    /// Only these pages, separated by commas; without it all.
    #[arg(long, value_enum, value_delimiter = ',')]
    pages: Vec<Page>,
}

impl Arguments {
    fn wants(&self, page: Page) -> bool {
        self.pages.is_empty() || self.pages.contains(&page)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    skiff_cluster::exit_on_signals().context("no clean end on a signal")?;
    fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let mut text = String::from("# The emulated fabric, measured\n\nMedians within one run; ratios count, times are those of one machine at one moment.\n");

    if arguments.wants(Page::Window) {
        eprintln!("copies through a mapped window");
        let copies = measure::copies(arguments.rounds)?;
        text += &table::copies(&copies);
        chart::copies(&copies, &arguments.out.join("copy.svg"))?;
    }
    if arguments.wants(Page::Access) {
        eprintln!("single accesses, slots and doorbells");
        let accesses = measure::accesses(arguments.rounds)?;
        text += &table::accesses(&accesses);
    }
    if arguments.wants(Page::Share) {
        eprintln!("maps of skiff.ko against the bare window");
        let copies = share::copies(arguments.rounds)?;
        text += &table::share_copies(&copies);
        chart::share_copies(&copies, &arguments.out.join("share.svg"))?;
    }
    if arguments.wants(Page::PingPong) {
        eprintln!("a ping-pong through maps of skiff.ko");
        let ping_pongs = share::ping_pongs(arguments.rounds)?;
        text += &table::ping_pongs(&ping_pongs);
    }
    if arguments.wants(Page::Connect) {
        eprintln!("connecting among few and many segments");
        let connects = share::connects(arguments.rounds)?;
        text += &table::connects(&connects);
    }
    if arguments.wants(Page::Nvme) {
        eprintln!("an NVMe drive at home and from another node");
        text += &nvme::page(&nvme::rows(arguments.rounds)?);
    }
    if arguments.wants(Page::Boot) {
        eprintln!("boots");
        let boots = measure::boots()?;
        text += &table::boots(&boots);
        chart::boots(&boots, &arguments.out.join("boot.svg"))?;
    }

    let report = arguments.out.join("report.md");
    fs::write(&report, &text)?;
    print!("{text}");
    eprintln!("written to {}", report.display());
    Ok(())
}
