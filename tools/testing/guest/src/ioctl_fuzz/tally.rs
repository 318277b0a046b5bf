// SPDX-License-Identifier: GPL-2.0
//! How often each call ended in which way.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::ensure;
use anyhow::Result;
use nix::errno::Errno;

use crate::abi::layout;
use crate::abi::layout::Command;

/// Counts by call and outcome.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<(&'static str, String), u64>>);

impl Tally {
    /// Counts one.
    pub fn count<T>(&self, call: &'static str, result: &Result<T, Errno>) {
        let outcome = match result {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((call, outcome)).or_default() += 1;
    }

    /// One line a call.
    pub fn lines(&self) -> Vec<String> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: BTreeMap<&str, String> = BTreeMap::new();
        for ((call, outcome), count) in counts.iter() {
            let line = lines.entry(call).or_insert_with(|| format!("{call}:"));
            *line += &format!(" {outcome} {count}");
        }
        lines.into_values().collect()
    }

    /// Commands of the header that have not succeeded yet.
    pub fn missing(&self) -> Vec<&'static Command> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        layout::every()
            .filter(|command| !counts.contains_key(&(command.name, "ok".to_owned())))
            .collect()
    }

    /// Whether every command of the header has succeeded, and maps, and accesses through them.
    pub fn all_succeeded(&self) -> Result<()> {
        let mut never: Vec<&str> = self.missing().iter().map(|command| command.name).collect();
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = ["mmap", "load", "store", "read"];
        never.extend(
            calls
                .iter()
                .filter(|call| !counts.contains_key(&(**call, "ok".to_owned()))),
        );
        ensure!(never.is_empty(), "never: {never:?}");
        Ok(())
    }
}
