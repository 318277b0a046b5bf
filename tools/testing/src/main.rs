// SPDX-License-Identifier: GPL-2.0
//! skiff-test: runs host tests and cluster tests, and the demo. `make test` and `make demo` call it.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use anyhow::Result;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use regex::Regex;
use skiff_testing::demo;
use skiff_testing::frame::Scale;
use skiff_testing::host;
use skiff_testing::report::Report;
use skiff_testing::suites;

#[derive(Debug, Parser)]
#[command(version, about = "Tests of Skiff: on the host and in emulated nodes")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run tests; ends with `N passed, N failed`.
    Run(Run),
    /// Two nodes, skiff.ko, one real file shared across the bridge.
    Demo,
}

/// At least one.
fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least one suite must run".to_owned()),
        Ok(jobs) => Ok(jobs),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Debug, Args)]
struct Run {
    /// Large numbers: hours instead of minutes.
    #[arg(long)]
    soak: bool,
    /// Only tests whose name matches this regular expression.
    #[arg(long, value_name = "REGEX", default_value = "")]
    filter: Regex,
    /// How many suites run at once.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = jobs)]
    jobs: usize,
    /// Only name the cluster tests.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    if let Err(cause) = skiff_cluster::exit_on_signals() {
        eprintln!("skiff-test: no clean end on a signal: {cause}");
        return ExitCode::FAILURE;
    }
    let result = match Arguments::parse().command {
        Command::Demo => demo::run().map(|()| true),
        Command::Run(run) => run.run(),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(cause) => {
            eprintln!("skiff-test: {cause:#}");
            ExitCode::FAILURE
        }
    }
}

impl Run {
    fn run(&self) -> Result<bool> {
        let wanted = |name: &str| self.filter.is_match(name);
        if self.list {
            for suite in suites::ALL {
                for setting in suite.on {
                    for case in suite.cases {
                        println!("{} [{setting}]: {}", suite.name, case.name);
                    }
                }
            }
            return Ok(true);
        }
        let scale = if self.soak { Scale::Soak } else { Scale::Test };
        let report = Report::start();
        let host = || host::run(&wanted, &report);
        // The host tests compile: they come first, beside the first suites.
        let suites = suites::ALL
            .iter()
            .flat_map(|suite| suite.on.iter().map(move |setting| (suite, setting)));
        let queue = Mutex::new(suites);
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        thread::scope(|scope| {
            let host = scope.spawn(host);
            let workers = self.jobs.saturating_sub(1);
            let work = || {
                while let Some((suite, setting)) = next() {
                    suite.run(*setting, scale, &wanted, &report);
                }
            };
            for _ in 0..workers {
                scope.spawn(work);
            }
            let host = host.join();
            work();
            host.unwrap_or_else(|_| Err(anyhow::anyhow!("the host tests panicked")))
        })?;
        Ok(report.finish())
    }
}
