// SPDX-License-Identifier: GPL-2.0
//! skiff-test: runs host tests and cluster tests, and the demo. `make test` and `make demo` call it.

use std::process::ExitCode;

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
    /// Two nodes, Linux's own driver, one real file across the bridge.
    Demo,
}

#[derive(Debug, Args)]
struct Run {
    /// Large numbers: hours instead of minutes.
    #[arg(long)]
    soak: bool,
    /// Only tests whose name matches this regular expression.
    #[arg(long, value_name = "REGEX", default_value = "")]
    filter: Regex,
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
        let mut report = Report::start();
        host::run(&wanted, &mut report)?;
        for suite in suites::ALL {
            for setting in suite.on {
                suite.run(*setting, scale, &wanted, &mut report);
            }
        }
        Ok(report.finish())
    }
}
