// SPDX-License-Identifier: GPL-2.0
//! What is told while tests run: one TAP line a result, and the closing line `N passed, N failed`.

use std::io;
use std::io::Write;
use std::time::Instant;

use anyhow::Result;

/// Counts results and prints them as they come.
#[derive(Debug)]
pub struct Report {
    started: Instant,
    passed: usize,
    failed: Vec<String>,
    skipped: usize,
}

impl Report {
    /// Begins with the TAP version line.
    pub fn start() -> Self {
        println!("TAP version 14");
        Self {
            started: Instant::now(),
            passed: 0,
            failed: Vec::new(),
            skipped: 0,
        }
    }

    fn number(&self) -> usize {
        self.passed + self.failed.len() + self.skipped
    }

    /// A remark between results, with the time since the start.
    pub fn remark(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        for (at, line) in text.lines().enumerate() {
            if at == 0 {
                println!("# [{seconds:6.1} s] {line}");
            } else {
                println!("#   {line}");
            }
        }
        // A result that is not seen when it comes is no progress.
        let _ = io::stdout().flush();
    }

    /// One result; the cause of a failure follows its line.
    pub fn result(&mut self, name: &str, result: &Result<()>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("ok {} - {name}", self.number());
            }
            Err(cause) => {
                self.failed.push(name.to_owned());
                println!("not ok {} - {name}", self.number());
                for line in format!("{cause:#}").lines() {
                    println!("#   {line}");
                }
            }
        }
        let _ = io::stdout().flush();
    }

    /// A test that was left out, and why.
    pub fn skip(&mut self, name: &str, why: &str) {
        self.skipped += 1;
        println!("ok {} - {name} # SKIP {why}", self.number());
    }

    /// Prints the plan, the failures once more, and the closing line. Whether all passed.
    pub fn finish(self) -> bool {
        println!("1..{}", self.number());
        self.remark("done");
        for name in &self.failed {
            println!("# failed: {name}");
        }
        let skipped = if self.skipped > 0 {
            format!(", {} skipped", self.skipped)
        } else {
            String::new()
        };
        println!(
            "{} passed, {} failed{skipped}",
            self.passed,
            self.failed.len()
        );
        self.failed.is_empty() && self.passed > 0
    }
}
