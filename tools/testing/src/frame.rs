// SPDX-License-Identifier: GPL-2.0
//! The frame of the cluster tests: suites are tables of cases, and say on which settings they run.
//!
//! A suite starts one cluster a setting and runs its cases on it in order. A case that fails leaves a suspect cluster
//! behind, so the next case gets a new one.

use std::fmt;
use std::panic::catch_unwind;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use anyhow::anyhow;
use anyhow::Context as _;
use anyhow::Result;
use skiff_cluster::Builder;
use skiff_cluster::Cluster;
use skiff_cluster::Iommu;
use skiff_cluster::Kernel;
use skiff_cluster::Layout;
use skiff_cluster::LutMode;
use skiff_cluster::Output;
use skiff_cluster::WindowMode;

use crate::ktap;
use crate::report::Report;

/// What a suite runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Kernel of all nodes.
    pub kernel: Kernel,
    /// Number of nodes.
    pub nodes: usize,
    /// Adapters of each node.
    pub adapters: usize,
    /// IOMMU of all nodes.
    pub iommu: Iommu,
    /// How memory windows are served.
    pub windows: WindowMode,
    /// Where the memory window is.
    pub layout: Layout,
    /// What windows translate with.
    pub lut: LutMode,
    /// Whether the debug kernel keeps account of memory for kmemleak, which slows all else down.
    pub leaks: bool,
}

/// For nodes that nobody asks for leaks: kmemleak reports nothing unless it is asked (`DEBUG_KMEMLEAK_AUTO_SCAN` is off), and slabs
/// are watched for its sake alone.
const NO_LEAKS: &str = "kmemleak=off slab_debug=-";

impl Setting {
    /// What every test runs on unless it says otherwise: two stock nodes, no IOMMU, the chip's own layout, mapped.
    pub const STOCK: Self = Self {
        kernel: Kernel::Stock,
        nodes: 2,
        adapters: 1,
        iommu: Iommu::Off,
        windows: WindowMode::Mapped,
        layout: Layout::Chip,
        lut: LutMode::Lut12,
        leaks: false,
    };

    /// The same on another kernel.
    pub const fn kernel(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// The same with another number of nodes.
    pub const fn nodes(self, nodes: usize) -> Self {
        Self { nodes, ..self }
    }

    /// The same with another number of adapters a node.
    pub const fn adapters(self, adapters: usize) -> Self {
        Self { adapters, ..self }
    }

    /// The same with an IOMMU.
    pub const fn iommu(self, iommu: Iommu) -> Self {
        Self { iommu, ..self }
    }

    /// The same with every window access trapped.
    pub const fn trapped(self) -> Self {
        Self {
            windows: WindowMode::Trapped,
            ..self
        }
    }

    /// The same with the memory window in the companion function.
    pub const fn companion(self) -> Self {
        Self {
            layout: Layout::Companion,
            ..self
        }
    }

    /// The same with other translations.
    pub const fn lut(self, lut: LutMode) -> Self {
        Self { lut, ..self }
    }

    /// The same with kmemleak, for cases that ask it.
    pub const fn leaks(self) -> Self {
        Self {
            leaks: true,
            ..self
        }
    }

    fn builder(self) -> Builder {
        let builder = Cluster::builder()
            .nodes(self.nodes)
            .adapters(self.adapters)
            .kernel(self.kernel)
            .iommu(self.iommu)
            .windows(self.windows)
            .layout(self.layout)
            .lut(self.lut);
        match self.kernel {
            Kernel::Debug if !self.leaks => builder.cmdline(NO_LEAKS),
            _ => builder,
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} node{}",
            self.kernel,
            self.nodes,
            if self.nodes == 1 { "" } else { "s" }
        )?;
        if self.adapters > 1 {
            write!(f, ", {} adapters", self.adapters)?;
        }
        if self.iommu != Iommu::Off {
            write!(f, ", iommu {}", self.iommu)?;
        }
        if self.windows == WindowMode::Trapped {
            write!(f, ", {}", self.windows)?;
        }
        if self.layout == Layout::Companion {
            write!(f, ", {}", self.layout)?;
        }
        if self.lut != LutMode::Lut12 {
            write!(f, ", {}", self.lut)?;
        }
        Ok(())
    }
}

/// How large the numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// For every day.
    Test,
    /// For a night.
    Soak,
}

impl Scale {
    /// Picks a number.
    pub fn pick(self, test: u32, soak: u32) -> u32 {
        match self {
            Self::Test => test,
            Self::Soak => soak,
        }
    }
}

/// A case: a name, and what it does on a running cluster.
#[derive(Clone, Copy)]
pub struct Case {
    /// Name, in the words of a result line.
    pub name: &'static str,
    /// The test.
    pub run: fn(&mut Context<'_>) -> Result<()>,
}

/// A table of cases that share a cluster.
#[derive(Clone, Copy)]
pub struct Suite {
    /// Name, the first word of each result line.
    pub name: &'static str,
    /// The settings that it runs on.
    pub on: &'static [Setting],
    /// What it needs besides the setting: devices, window sizes, kernel arguments, expected log lines.
    pub describe: fn(Builder, Setting) -> Builder,
    /// Brings a new cluster to where the cases start.
    pub prepare: fn(&mut Context<'_>) -> Result<()>,
    /// The cases, in order.
    pub cases: &'static [Case],
}

/// What a case has at hand.
pub struct Context<'a> {
    /// The running cluster.
    pub cluster: &'a Cluster,
    /// What it runs on.
    pub setting: Setting,
    /// How large the numbers are.
    pub scale: Scale,
    report: &'a Report,
    prefix: String,
    checks: usize,
    failures: usize,
}

impl Context<'_> {
    /// One result line of its own. The case goes on after a failure.
    pub fn check(&mut self, name: &str, body: impl FnOnce(&Cluster) -> Result<()>) {
        let result = guarded(|| body(self.cluster));
        self.checks += 1;
        self.failures += usize::from(result.is_err());
        self.report
            .result(&format!("{}: {name}", self.prefix), &result);
    }

    /// Runs a test program in a node and takes over each line of its KTAP report.
    pub fn ktap(&mut self, node: usize, line: &str) -> Result<()> {
        let output = self.cluster.node(node).run(line)?;
        self.results("", line, &output)
    }

    /// Takes over each line of a KTAP report, its name behind `prefix`.
    pub fn results(&mut self, prefix: &str, line: &str, output: &Output) -> Result<()> {
        let results = ktap::parse(&output.stdout_text())
            .with_context(|| format!("{line}: {}\n{}", output.status, output.stderr_text()))?;
        for result in results {
            let cause = result.diagnostics.join("\n");
            self.check(&format!("{prefix}{}", result.name), |_| {
                if result.passed {
                    Ok(())
                } else {
                    Err(anyhow!(cause))
                }
            });
        }
        Ok(())
    }

    /// All ordered pairs of different nodes.
    pub fn pairs(&self) -> Vec<(usize, usize)> {
        let nodes = 0..self.cluster.nodes().len();
        nodes
            .clone()
            .flat_map(|a| nodes.clone().map(move |b| (a, b)))
            .filter(|(a, b)| a != b)
            .collect()
    }

    /// A remark between results.
    pub fn remark(&self, text: &str) {
        self.report.remark(text);
    }
}

/// A panic of a test is its failure, not the end of the run.
fn guarded(body: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!("panic: {}", text.unwrap_or("of an unknown kind")))
    })
}

impl Suite {
    /// Runs the suite on one setting. `wanted` picks cases by the whole name of their result line.
    pub fn run(
        &self,
        setting: Setting,
        scale: Scale,
        wanted: &dyn Fn(&str) -> bool,
        report: &Report,
    ) {
        let prefix = format!("{} [{setting}]", self.name);
        let cases: Vec<Case> = self
            .cases
            .iter()
            .copied()
            .filter(|case| wanted(&format!("{prefix}: {}", case.name)))
            .collect();
        let mut next = 0;
        while next < cases.len() {
            let started = Instant::now();
            let cluster = match (self.describe)(setting.builder(), setting).start() {
                Ok(cluster) => cluster,
                Err(cause) => {
                    report.result(&format!("{prefix}: the cluster starts"), &Err(cause.into()));
                    return;
                }
            };
            let boot = started.elapsed().as_secs_f64();
            let mut context = Context {
                cluster: &cluster,
                setting,
                scale,
                report,
                prefix: prefix.clone(),
                checks: 0,
                failures: 0,
            };
            let mut suspect = false;
            let mut times = Vec::new();
            let mut timed = Instant::now();
            let prepared = guarded(|| (self.prepare)(&mut context));
            times.push((timed.elapsed(), "to prepare"));
            if prepared.is_err() {
                context
                    .report
                    .result(&format!("{prefix}: the cluster is prepared"), &prepared);
                next = cases.len();
                suspect = true;
            }
            while next < cases.len() && !suspect {
                let case = cases[next];
                next += 1;
                (context.checks, context.failures) = (0, 0);
                timed = Instant::now();
                let result = guarded(|| (case.run)(&mut context));
                times.push((timed.elapsed(), case.name));
                suspect = result.is_err() || context.failures > 0;
                // A case with checks of its own has told all, unless it broke off between them.
                if context.checks == 0 || result.is_err() {
                    context
                        .report
                        .result(&format!("{prefix}: {}", case.name), &result);
                }
            }
            if suspect {
                for node in cluster.nodes() {
                    let log = node.kernel_log();
                    let tail = log[log.len().saturating_sub(25)..].join("\n");
                    report.remark(&format!(
                        "kernel log of node {}, its end:\n{tail}",
                        node.index()
                    ));
                }
            }
            timed = Instant::now();
            let stopped = cluster.stop().map_err(anyhow::Error::from);
            report.result(&format!("{prefix}: the kernel logs are clean"), &stopped);
            times.push((timed.elapsed(), "to stop"));
            let times: Vec<String> = times
                .iter()
                .map(|(time, what)| format!("\n{:6.1} s {what}", time.as_secs_f64()))
                .collect();
            report.remark(&format!(
                "{prefix}: {boot:.1} s to boot, {:.1} s in all{}",
                started.elapsed().as_secs_f64(),
                times.concat()
            ));
        }
    }
}
