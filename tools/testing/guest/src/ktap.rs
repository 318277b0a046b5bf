// SPDX-License-Identifier: GPL-2.0
//! Prints the results of in-node tests as KTAP, version 1 (Documentation/dev-tools/ktap.rst in the kernel source).

use anyhow::Result;

/// One flat KTAP report on standard output.
#[derive(Debug)]
pub struct Report {
    done: usize,
    failed: usize,
}

impl Report {
    /// Prints the version line. The plan follows at the end, which KTAP allows.
    pub fn start() -> Self {
        println!("KTAP version 1");
        Self { done: 0, failed: 0 }
    }

    /// Runs one test and prints its line; the cause of a failure goes before it as a diagnostic.
    pub fn test(&mut self, name: &str, body: impl FnOnce() -> Result<()>) {
        self.done += 1;
        match body() {
            Ok(()) => println!("ok {} {name}", self.done),
            Err(cause) => {
                self.failed += 1;
                println!("# {cause:#}");
                println!("not ok {} {name}", self.done);
            }
        }
    }

    /// Prints the plan; fails if any test did.
    pub fn finish(self) -> Result<()> {
        println!("1..{}", self.done);
        anyhow::ensure!(
            self.failed == 0,
            "{} of {} tests failed",
            self.failed,
            self.done
        );
        Ok(())
    }
}
