// SPDX-License-Identifier: GPL-2.0
//! skiff-bench: measures the emulated fabric. `make bench` calls it.
//!
//! Machines are shared and noisy: what counts are ratios within one run, of medians of interleaved samples. Nothing here
//! is asserted.

mod chart;
mod measure;
mod table;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use clap::Parser;

#[derive(Debug, Parser)]
#[command(
    version,
    about = "Measures the emulated fabric; writes Markdown and SVG"
)]
struct Arguments {
    /// Folder for the results.
    #[arg(long, default_value = "out/bench")]
    out: PathBuf,
    /// Samples of each figure.
    #[arg(long, default_value_t = 9)]
    rounds: u32,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    skiff_cluster::exit_on_signals().context("no clean end on a signal")?;
    fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let mut text = String::from("# The emulated fabric, measured\n\nMedians within one run; ratios count, times are those of one machine at one moment.\n");

    eprintln!("copies through a mapped window");
    let copies = measure::copies(arguments.rounds)?;
    text += &table::copies(&copies);
    chart::copies(&copies, &arguments.out.join("copy.svg"))?;

    eprintln!("single accesses, slots and doorbells");
    let accesses = measure::accesses(arguments.rounds)?;
    text += &table::accesses(&accesses);

    eprintln!("boots");
    let boots = measure::boots()?;
    text += &table::boots(&boots);
    chart::boots(&boots, &arguments.out.join("boot.svg"))?;

    let report = arguments.out.join("report.md");
    fs::write(&report, &text)?;
    print!("{text}");
    eprintln!("written to {}", report.display());
    Ok(())
}
