// SPDX-License-Identifier: GPL-2.0
//! What is told while tests run: one TAP line a result, and the closing line `N passed, N failed`.

use std::io;
use std::io::Write;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use anyhow::Result;

/// Counts results and prints them as they come. Several suites may report at once: the lines of one result stay together.
#[derive(Debug)]
pub struct Report {
    started: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    passed: usize,
    failed: Vec<String>,
}

impl Counts {
    fn number(&self) -> usize {
        self.passed + self.failed.len()
    }
}

impl Report {
    /// Begins with the TAP version line.
    pub fn start() -> Self {
        println!("TAP version 14");
        Self {
            started: Instant::now(),
            counts: Mutex::default(),
        }
    }

    /// The lock also keeps the output in order: whoever prints holds it.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A remark between results, with the time since the start.
    pub fn remark(&self, text: &str) {
        let _counts = self.lock();
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
    pub fn result(&self, name: &str, result: &Result<()>) {
        let mut counts = self.lock();
        match result {
            Ok(()) => {
                counts.passed += 1;
                println!("ok {} - {name}", counts.number());
            }
            Err(cause) => {
                counts.failed.push(name.to_owned());
                println!("not ok {} - {name}", counts.number());
                for line in format!("{cause:#}").lines() {
                    println!("#   {line}");
                }
            }
        }
        let _ = io::stdout().flush();
    }

    /// Prints the plan, the failures once more, and the closing line. Whether all passed.
    pub fn finish(self) -> bool {
        self.remark("done");
        let counts = self.lock();
        println!("1..{}", counts.number());
        for name in &counts.failed {
            println!("# failed: {name}");
        }
        println!("{} passed, {} failed", counts.passed, counts.failed.len());
        counts.failed.is_empty() && counts.passed > 0
    }
}
