// SPDX-License-Identifier: GPL-2.0
//! Makes the n-th allocation of a call fail (Documentation/fault-injection/fault-injection.rst in the kernel source).

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

/// What fails, and when; without the first ones nothing that may sleep ever fails, nor does a single page.
const KNOBS: &[(&str, &str)] = &[
    ("failslab/ignore-gfp-wait", "N"),
    ("failslab/verbose", "0"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_page_alloc/min-order", "0"),
    ("fail_page_alloc/verbose", "0"),
];

/// What the functions of the kernel's interpreter of ACPI's tables are called, and how many they are at least.
const INTERPRETER: &[&str] = &["acpi_ds_", "acpi_ex_", "acpi_ns_", "acpi_ps_", "acpi_ut_"];
/// See [`INTERPRETER`].
const FUNCTIONS: usize = 200;
/// They lie side by side, in no more bytes than that.
const BYTES: u64 = 1 << 20;

/// Whether a call met its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injection {
    /// An allocation failed in the call.
    Hit,
    /// The call has fewer allocations.
    Missed,
}

/// The calling task's /proc/self/fail-nth.
#[derive(Debug)]
pub struct Injector {
    file: File,
}

/// First and last address of the interpreter, whose allocations do not fail: it uses objects that it has freed when they do.
fn interpreter() -> Result<(u64, u64)> {
    let symbols = fs::read_to_string("/proc/kallsyms")?;
    let mut found = Vec::new();
    for line in symbols.lines() {
        let mut words = line.split(' ');
        if let (Some(address), Some("t" | "T"), Some(name)) =
            (words.next(), words.next(), words.next())
        {
            if INTERPRETER.iter().any(|prefix| name.starts_with(prefix)) {
                found.push(u64::from_str_radix(address, 16)?);
            }
        }
    }
    let (first, last) = (found.iter().min(), found.iter().max());
    let (Some(first), Some(last)) = (first, last) else {
        anyhow::bail!("the kernel has no ACPI");
    };
    ensure!(
        found.len() >= FUNCTIONS && *first > 0 && last - first < BYTES,
        "{} functions at {first:#x} to {last:#x}",
        found.len()
    );
    Ok((*first, *last))
}

impl Injector {
    /// Sets the knobs and opens the file.
    pub fn new() -> Result<Self> {
        let (first, last) = interpreter().context("the interpreter of ACPI")?;
        for fault in ["failslab", "fail_page_alloc"] {
            for (knob, value) in [("reject-start", first), ("reject-end", last)] {
                let path = format!("/sys/kernel/debug/{fault}/{knob}");
                fs::write(&path, value.to_string())
                    .with_context(|| format!("cannot write {path}"))?;
            }
        }
        for (knob, value) in KNOBS {
            let path = format!("/sys/kernel/debug/{knob}");
            fs::write(&path, value).with_context(|| format!("cannot write {path}"))?;
        }
        // /proc/self is the process; a thread has a count of its own.
        let path = "/proc/thread-self/fail-nth";
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| format!("cannot open {path}"))?;
        Ok(Self { file })
    }

    /// Calls `body` with its `nth` allocation failing, counted from 1.
    pub fn call<T>(&self, nth: u32, body: impl FnOnce() -> T) -> Result<(T, Injection)> {
        let number = nth.to_string();
        self.file.write_all_at(number.as_bytes(), 0)?;
        let result = body();
        // 0 is left when the failure was injected in the call. Otherwise the count goes on, and may hit this very read.
        let mut left = [0; 16];
        let hit = self
            .file
            .read_at(&mut left, 0)
            .is_ok_and(|len| left[..len].trim_ascii() == b"0");
        // It may hit the writing of the 0, too; that is then over.
        if self.file.write_all_at(b"0", 0).is_err() {
            self.file.write_all_at(b"0", 0)?;
        }
        let injection = if hit {
            Injection::Hit
        } else {
            Injection::Missed
        };
        Ok((result, injection))
    }
}
