// SPDX-License-Identifier: GPL-2.0
//! Finds lines in kernel logs that must not be there.
//!
//! Pure: text in, findings out.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;

/// Whether a declared line has to occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occurs {
    /// It may.
    Allowed,
    /// It must, at least once.
    Required,
}

/// Something wrong with a node's kernel log, or with a process that should have lived on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose it is, e.g. `node 1` or `switch`.
    pub who: String,
    /// What kind of line it is, e.g. `KASAN`, or `missing` for a required line that never came.
    pub kind: &'static str,
    /// The line (or the pattern that is missing).
    pub line: String,
    /// The lines after it, which explain it.
    pub context: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.who, self.kind, self.line)?;
        for line in &self.context {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// A declared line.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) pattern: Regex,
    pub(crate) occurs: Occurs,
}

/// So many lines after a bad one are shown with it.
const CONTEXT: usize = 24;

/// Kinds of bad lines, the more special ones first: a line counts as the first that matches.
const BAD: &[(&str, &str)] = &[
    ("KASAN", r"BUG: KASAN|KASAN: (maybe|null-ptr|probably)"),
    ("KFENCE", r"BUG: KFENCE"),
    ("UBSAN", r"UBSAN:"),
    (
        "lockdep",
        r"possible (circular|recursive|irq|unsafe|deadlock)|inconsistent lock state|suspicious RCU usage|bad unlock balance|lock held when returning|held lock freed|DEBUG_LOCKS_WARN_ON|MAX_LOCKDEP_\w+ too low|Invalid wait context",
    ),
    (
        "atomic sleep",
        r"sleeping function called from invalid context|scheduling while atomic",
    ),
    ("refcount", r"refcount_t:"),
    ("list corruption", r"list_(add|del) corruption"),
    (
        "kmemleak",
        r"kmemleak: \d+ new suspected|unreferenced object 0x",
    ),
    (
        "object debugging",
        r"ODEBUG:|BUG (kmalloc|[a-z_0-9-]+) \(.*\): |DMA-API: .*(device driver|error|leak|free)",
    ),
    (
        "IOMMU fault",
        r"DMAR: .*(fault|Request device)|AMD-Vi: Event|virtio_iommu.*fault",
    ),
    (
        "RCU stall",
        r"rcu: INFO|rcu_\w+ (self-)?detected stall|rcu_tasks detected stalls",
    ),
    (
        "hung task",
        r"blocked for more than|hung task|soft lockup|hard LOCKUP|workqueue lockup",
    ),
    (
        "out of memory",
        r"Out of memory:|invoked oom-killer|page allocation failure",
    ),
    ("panic", r"(^|\] )Kernel panic"),
    (
        "oops",
        r"Oops[: ]|general protection|[Uu]nable to handle|stack-protector:|stack segment:|invalid opcode|kernel BUG at|divide error:|double fault:",
    ),
    ("BUG", r"\bBUG:"),
    ("WARNING", r"\bWARNING:|------------\[ cut here \]"),
    ("user fault", r"\bsegfault at\b|traps: .* trap "),
    (
        "lost records",
        r"^\(\d+ records of the kernel log were lost\)",
    ),
];

static PATTERNS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    let compile = |(kind, pattern): &(&'static str, &str)| Some((*kind, Regex::new(pattern).ok()?));
    BAD.iter().filter_map(compile).collect()
});

/// What kind of bad line this is, if it is one.
fn kind_of(line: &str) -> Option<&'static str> {
    PATTERNS
        .iter()
        .find(|(_, pattern)| pattern.is_match(line))
        .map(|(kind, _)| *kind)
}

/// Bad lines that nobody declared, and required ones that are missing.
pub(crate) fn scan(who: &str, lines: &[String], expected: &[Expected]) -> Vec<Finding> {
    let declared = |line: &str| expected.iter().any(|one| one.pattern.is_match(line));
    let bad = lines.iter().enumerate().filter_map(|(at, line)| {
        let kind = kind_of(line).filter(|_| !declared(line))?;
        // The cut mark is no news beside the line that follows it.
        let next = lines.get(at + 1).map(String::as_str).unwrap_or_default();
        if line.contains("[ cut here ]") && (kind_of(next).is_some() || declared(next)) {
            return None;
        }
        let context = lines.iter().skip(at + 1).take(CONTEXT).cloned().collect();
        Some(Finding {
            who: who.to_owned(),
            kind,
            line: line.clone(),
            context,
        })
    });
    let missing = expected
        .iter()
        .filter(|one| one.occurs == Occurs::Required)
        .filter_map(|one| {
            let came = lines.iter().any(|line| one.pattern.is_match(line));
            let line = format!("no line matches {:?}", one.pattern.as_str());
            (!came).then(|| Finding {
                who: who.to_owned(),
                kind: "missing",
                line,
                context: Vec::new(),
            })
        });
    bad.chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: &[(&str, &str)] = &[
        ("KASAN", "[    3.1] BUG: KASAN: slab-out-of-bounds in _RNvCs1_5bad3oob+0x1/0x2 [bad]"),
        ("KASAN", "[    3.1] KASAN: null-ptr-deref in range [0x0000000000000000-0x0000000000000007]"),
        ("UBSAN", "[    3.1] UBSAN: array-index-out-of-bounds in drivers/ntb/hw/idt/ntb_hw_idt.c:1:2"),
        ("lockdep", "[    3.1] WARNING: possible circular locking dependency detected"),
        ("lockdep", "[    3.1] WARNING: possible recursive locking detected"),
        ("lockdep", "[    3.1] WARNING: inconsistent lock state"),
        ("atomic sleep", "[    3.1] BUG: sleeping function called from invalid context at kernel/locking/mutex.c:1"),
        ("atomic sleep", "[    3.1] BUG: scheduling while atomic: swapper/0/0x2"),
        ("refcount", "[    3.1] refcount_t: underflow; use-after-free."),
        ("list corruption", "[    3.1] list_add corruption. prev->next should be next"),
        ("kmemleak", "[    3.1] kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)"),
        ("IOMMU fault", "[    3.1] DMAR: [DMA Read NO_PASID] Request device [00:04.0] fault addr 0xffe00000"),
        ("IOMMU fault", "[    3.1] DMAR: DRHD: handling fault status reg 2"),
        ("RCU stall", "[    3.1] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"),
        ("hung task", "[    3.1] INFO: task insmod:77 blocked for more than 120 seconds."),
        ("hung task", "[    3.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!"),
        ("panic", "[    3.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"),
        ("oops", "[    3.1] Oops: Oops: 0002 [#1] SMP NOPTI"),
        ("oops", "[    3.1] BUG: unable to handle page fault for address: ffffc90000000000"),
        ("oops", "[    3.1] Oops: general protection fault, probably for non-canonical address 0x6b6b: 0000 [#1]"),
        ("oops", "[    3.1] kernel BUG at rust/helpers/bug.c:7!"),
        ("BUG", "[    3.1] BUG: Bad page state in process sh  pfn:12345"),
        ("WARNING", "[    3.1] WARNING: CPU: 0 PID: 1 at drivers/ntb/core.c:1 ntb_register+0x1/0x2"),
        ("WARNING", "[    3.1] ------------[ cut here ]------------"),
        ("out of memory", "[    3.1] Out of memory: Killed process 100 (dd)"),
        ("user fault", "[    3.1] prog[77]: segfault at 0 ip 0000000000401126 sp 00007ffc error 4"),
        ("lost records", "(17 records of the kernel log were lost)"),
    ];

    const HARMLESS: &[&str] = &[
        "[    0.0] Linux version 7.2.12+deb13-amd64",
        "[    0.0] Spectre V2 : Mitigation: Retpolines",
        "[    0.1] DMAR: Host address width 39",
        "[    0.1] DMAR-IR: Enabled IRQ remapping in xapic mode",
        "[    0.1] rcu: Hierarchical RCU implementation.",
        "[    0.1] rcu: \tRCU event tracing is enabled.",
        "[    0.1] ntb_hw_idt 0000:01:00.0: IDT NTB device is ready",
        "[    0.1] kmemleak: Kernel memory leak detector initialized (mem pool available: 15738)",
        "[    0.1] mymod: loading out-of-tree module taints kernel.",
        "[    0.1] Lockdep: lock dependency validator: Copyright (c) 2006 Red Hat",
        "[    0.0] ... MAX_LOCKDEP_CHAINS:      65536",
        "[    3.1] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---",
        "[    0.1] L1TF CPU bug present and SMT on, data leak possible.",
        "[    0.1] debug: hung_task_timeout_secs is 120",
    ];

    fn text(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    fn expected(pattern: &str, occurs: Occurs) -> Expected {
        Expected {
            pattern: Regex::new(pattern).unwrap(),
            occurs,
        }
    }

    #[test]
    fn every_pattern_compiles_and_has_a_sample() {
        assert_eq!(PATTERNS.len(), BAD.len());
        for (kind, line) in SAMPLES {
            assert_eq!(kind_of(line), Some(*kind), "{line}");
        }
    }

    #[test]
    fn harmless_lines_are_not_found() {
        for line in HARMLESS {
            assert_eq!(kind_of(line), None, "{line}");
        }
    }

    #[test]
    fn declared_lines_are_no_findings() {
        let lines = text(&["fine", "[ 1.0] BUG: KASAN: use-after-free in x", "after"]);
        let found = scan("node 0", &lines, &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].context, ["after"]);
        assert_eq!(
            scan(
                "node 0",
                &lines,
                &[expected("use-after-free", Occurs::Allowed)]
            ),
            []
        );
    }

    #[test]
    fn a_required_line_must_come() {
        let lines = text(&["[ 1.0] BUG: KASAN: use-after-free in x"]);
        let both = [
            expected("KASAN", Occurs::Required),
            expected("UBSAN", Occurs::Required),
        ];
        let found = scan("node 3", &lines, &both);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].to_string(),
            "node 3: missing: no line matches \"UBSAN\""
        );
    }

    #[test]
    fn a_cut_mark_goes_with_its_warning() {
        let lines = text(&[
            "[ 1.0] ------------[ cut here ]------------",
            "[ 1.0] WARNING: CPU: 0 PID: 1 at x.c:1 f",
        ]);
        assert_eq!(scan("node 0", &lines, &[]).len(), 1);
        assert_eq!(
            scan("node 0", &lines, &[expected("at x.c:1", Occurs::Allowed)]),
            []
        );
    }
}
