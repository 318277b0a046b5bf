// SPDX-License-Identifier: GPL-2.0
//! What a node's kernel said, boot by boot: from its log as the agent sends it, and from its serial console.
//!
//! One lock around everything; readers get copies. The console repeats much of the log, and has the last words of a
//! kernel that died.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
struct Boot {
    session: u64,
    next_sequence: Option<u64>,
    lines: Vec<String>,
}

#[derive(Debug, Default)]
struct Inner {
    boots: Vec<Boot>,
    console: Vec<String>,
    /// A console line that has not ended yet.
    partial: Vec<u8>,
}

/// All that a node's kernels said.
#[derive(Debug, Default)]
pub(crate) struct KernelLog {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl KernelLog {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent of this session is there: its kernel's log follows.
    pub(crate) fn begin(&self, session: u64) {
        let mut inner = self.inner();
        if inner
            .boots
            .last()
            .is_none_or(|boot| boot.session != session)
        {
            inner.boots.push(Boot {
                session,
                ..Boot::default()
            });
        }
    }

    /// Adds records of /dev/kmsg, each ended by a zero byte; those of an older session are dropped.
    pub(crate) fn add_records(&self, session: u64, records: &[u8]) {
        let mut inner = self.inner();
        let Some(boot) = inner
            .boots
            .last_mut()
            .filter(|boot| boot.session == session)
        else {
            return;
        };
        for record in records
            .split(|byte| *byte == 0)
            .filter(|record| !record.is_empty())
        {
            let Some(record) = Record::parse(&String::from_utf8_lossy(record)) else {
                continue;
            };
            if let Some(expected) = boot
                .next_sequence
                .filter(|expected| *expected < record.sequence)
            {
                boot.lines.push(format!(
                    "({} records of the kernel log were lost)",
                    record.sequence - expected
                ));
            }
            boot.next_sequence = record.sequence.checked_add(1);
            boot.lines.extend(record.lines);
        }
        self.changed.notify_all();
    }

    /// Adds bytes of the serial console; returns the lines that they completed.
    pub(crate) fn add_console(&self, bytes: &[u8]) -> Vec<String> {
        let mut inner = self.inner();
        inner.partial.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = inner.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = inner.partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            lines.push(line.trim_end_matches(['\r', '\n']).to_owned());
        }
        inner.console.extend(lines.iter().cloned());
        self.changed.notify_all();
        lines
    }

    /// The log of every boot.
    pub(crate) fn boots(&self) -> Vec<Vec<String>> {
        self.inner()
            .boots
            .iter()
            .map(|boot| boot.lines.clone())
            .collect()
    }

    /// The log of the latest boot.
    pub(crate) fn current(&self) -> Vec<String> {
        self.inner()
            .boots
            .last()
            .map(|boot| boot.lines.clone())
            .unwrap_or_default()
    }

    /// Everything once: the logs of all boots, then the console lines that are in none of them.
    pub(crate) fn everything(&self) -> Vec<String> {
        let inner = self.inner();
        let logged = inner.boots.iter().flat_map(|boot| &boot.lines);
        let known: HashSet<&String> = logged.clone().collect();
        let console = inner.console.iter().filter(|line| !known.contains(line));
        logged.chain(console).cloned().collect()
    }

    /// The last lines of the console.
    pub(crate) fn console_tail(&self, lines: usize) -> Vec<String> {
        let inner = self.inner();
        let mut tail = inner.console[inner.console.len().saturating_sub(lines)..].to_vec();
        if !inner.partial.is_empty() {
            tail.push(String::from_utf8_lossy(&inner.partial).into_owned());
        }
        tail
    }

    /// Waits for a line of the latest boot for which `matches` holds.
    pub(crate) fn wait(&self, limit: Duration, matches: impl Fn(&str) -> bool) -> Option<String> {
        let start = Instant::now();
        let mut inner = self.inner();
        // A new boot starts a new list; lines are looked at once.
        let mut seen = (0, 0);
        loop {
            let boots = inner.boots.len();
            if let Some(boot) = inner.boots.last() {
                let from = if seen.0 == boots { seen.1 } else { 0 };
                if let Some(line) = boot.lines[from..].iter().find(|line| matches(line)) {
                    return Some(line.clone());
                }
                seen = (boots, boot.lines.len());
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return None;
            }
            inner = self
                .changed
                .wait_timeout(inner, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// One record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg).
struct Record {
    sequence: u64,
    lines: Vec<String>,
}

impl Record {
    fn parse(record: &str) -> Option<Record> {
        let (head, body) = record.split_once(';')?;
        let mut fields = head.split(',').skip(1);
        let sequence = fields.next()?.parse().ok()?;
        let micros: u64 = fields.next()?.parse().ok()?;
        // What follows the first line is the record's dictionary.
        let text = unescape(body.lines().next().unwrap_or(""));
        let stamp = format!("[{:5}.{:06}]", micros / 1_000_000, micros % 1_000_000);
        let lines = text
            .lines()
            .map(|line| format!("{stamp} {line}").trim_end().to_owned());
        Some(Record {
            sequence,
            lines: lines.collect(),
        })
    }
}

/// Undoes the `\xNN` that the kernel writes for what cannot be printed.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code = after.strip_prefix(b"x").and_then(|digits| digits.get(..2));
        let code = code.filter(|code| *byte == b'\\' && code.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) => {
                bytes.push(code);
                rest = &after[3..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_look_like_console_lines() {
        let log = KernelLog::default();
        log.begin(1);
        log.add_records(
            1,
            b"6,0,0,-;Linux version 7.2\n\x004,1,12345678,-;one\\x0atwo\n SUBSYSTEM=pci\n\0",
        );
        assert_eq!(
            log.current(),
            [
                "[    0.000000] Linux version 7.2",
                "[   12.345678] one",
                "[   12.345678] two"
            ]
        );
    }

    #[test]
    fn lost_records_are_told() {
        let log = KernelLog::default();
        log.begin(1);
        log.add_records(1, b"6,7,0,-;a\n\x006,10,0,-;b\n\0");
        assert_eq!(log.current()[1], "(2 records of the kernel log were lost)");
    }

    #[test]
    fn another_session_is_another_boot() {
        let log = KernelLog::default();
        log.begin(1);
        log.add_records(1, b"6,0,0,-;first\n\0");
        log.begin(2);
        log.add_records(1, b"6,1,0,-;too late\n\0");
        log.add_records(2, b"6,0,0,-;second\n\0");
        assert_eq!(
            log.boots(),
            [["[    0.000000] first"], ["[    0.000000] second"]]
        );
    }

    #[test]
    fn the_console_adds_only_what_the_log_lacks() {
        let log = KernelLog::default();
        log.begin(1);
        log.add_records(1, b"6,0,1000000,-;a\n\0");
        assert_eq!(
            log.add_console(b"[    1.000000] a\r\n[    2.0000"),
            ["[    1.000000] a"]
        );
        assert_eq!(
            log.add_console(b"00] Kernel panic\r\n"),
            ["[    2.000000] Kernel panic"]
        );
        assert_eq!(
            log.everything(),
            ["[    1.000000] a", "[    2.000000] Kernel panic"]
        );
    }

    #[test]
    fn escapes_are_undone_and_others_kept() {
        assert_eq!(unescape(r"a\x41\\x4g\x4"), r"aA\\x4g\x4");
        assert_eq!(unescape(r"\xc3\xa9 \"), "é \\");
    }
}
