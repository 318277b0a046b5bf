// SPDX-License-Identifier: GPL-2.0
//! Describes a cluster before it is started. Plain values; nothing runs before [`Builder::start`].

use std::path::PathBuf;
use std::time::Duration;

use crate::{Cluster, Error, Iommu, Kernel, Layout, LutMode, Occurs, WindowMode};

/// The description of a cluster; made by [`Cluster::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) nodes: usize,
    pub(crate) adapters: usize,
    pub(crate) windows: WindowMode,
    pub(crate) lut: LutMode,
    pub(crate) layout: Layout,
    pub(crate) aperture: String,
    pub(crate) device_aperture: String,
    pub(crate) switch_args: Vec<String>,
    pub(crate) files: Vec<(PathBuf, String)>,
    pub(crate) common: NodeBuilder,
    pub(crate) special: Vec<(usize, NodeBuilder)>,
}

/// The part of the description that one node may have for itself; see [`Builder::node`].
#[derive(Debug, Clone, Default)]
pub struct NodeBuilder {
    pub(crate) kernel: Option<Kernel>,
    pub(crate) memory_mib: Option<u32>,
    pub(crate) cpus: Option<u32>,
    pub(crate) iommu: Option<Iommu>,
    pub(crate) adapters: Option<usize>,
    pub(crate) boot_limit: Option<Duration>,
    pub(crate) qemu_args: Vec<String>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) cmdline: Vec<String>,
    pub(crate) expect: Vec<(String, Occurs)>,
}

/// A block node of QEMU on a file of the run directory, which outlives kills of its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

macro_rules! common {
    ($($(#[$doc:meta])* $name:ident($type:ty)),+ $(,)?) => {
        impl NodeBuilder {
            $( $(#[$doc])* #[must_use] pub fn $name(mut self, $name: $type) -> Self { self.$name = Some($name); self } )+
        }
    };
}

common! {
    /// Kernel of this node.
    kernel(Kernel),
    /// RAM of this node in MiB, at most 2048.
    memory_mib(u32),
    /// Virtual CPUs of this node.
    cpus(u32),
    /// IOMMU of this node.
    iommu(Iommu),
    /// NTB adapters of this node; 0 is a node without fabric.
    adapters(usize),
    /// How long this node may take from start to a working agent.
    boot_limit(Duration),
}

impl NodeBuilder {
    /// One more argument for QEMU.
    #[must_use]
    pub fn qemu_arg(mut self, arg: impl Into<String>) -> Self {
        self.qemu_args.push(arg.into());
        self
    }

    /// A disk image of zeros, for devices that say `drive=NAME`; [`crate::Node::disk`] is its file.
    #[must_use]
    pub fn disk(mut self, name: impl Into<String>, bytes: u64) -> Self {
        self.disks.push(Disk {
            name: name.into(),
            bytes,
        });
        self
    }

    /// Further words on the kernel's command line, e.g. `iomem=relaxed`.
    #[must_use]
    pub fn cmdline(mut self, words: impl Into<String>) -> Self {
        self.cmdline.push(words.into());
        self
    }

    /// Declares a kernel log line (a regular expression) that would otherwise count against the node.
    #[must_use]
    pub fn expect_log(mut self, pattern: impl Into<String>, occurs: Occurs) -> Self {
        self.expect.push((pattern.into(), occurs));
        self
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Builder {
            nodes: 2,
            adapters: 1,
            windows: WindowMode::Mapped,
            lut: LutMode::Lut12,
            layout: Layout::Chip,
            aperture: "1G".to_owned(),
            device_aperture: "64M".to_owned(),
            switch_args: Vec::new(),
            files: Vec::new(),
            common: NodeBuilder::default(),
            special: Vec::new(),
        }
    }

    /// Number of nodes (default 2).
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// NTB adapters of every node (default 1); 0 starts nodes without a switch.
    ///
    /// Ports are numbered node by node, adapter by adapter: node 0 has ports 0..a, node 1 the next ones, and so on;
    /// [`crate::Node::port`] tells them. A switch has at most 8 ports.
    #[must_use]
    pub fn adapters(mut self, adapters: usize) -> Self {
        self.adapters = adapters;
        self
    }

    /// Kernel of every node (default [`Kernel::Stock`]).
    #[must_use]
    pub fn kernel(mut self, kernel: Kernel) -> Self {
        self.common = self.common.kernel(kernel);
        self
    }

    /// RAM of every node in MiB (default 256, 512 with the debug kernel; at most 2048).
    #[must_use]
    pub fn memory_mib(mut self, mib: u32) -> Self {
        self.common = self.common.memory_mib(mib);
        self
    }

    /// Virtual CPUs of every node (default 1).
    #[must_use]
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.common = self.common.cpus(cpus);
        self
    }

    /// IOMMU of every node (default [`Iommu::Off`]).
    #[must_use]
    pub fn iommu(mut self, iommu: Iommu) -> Self {
        self.common = self.common.iommu(iommu);
        self
    }

    /// How memory windows are served (default [`WindowMode::Mapped`]).
    #[must_use]
    pub fn windows(mut self, windows: WindowMode) -> Self {
        self.windows = windows;
        self
    }

    /// What the windows translate with (default [`LutMode::Lut12`]).
    #[must_use]
    pub fn lut(mut self, lut: LutMode) -> Self {
        self.lut = lut;
        self
    }

    /// Where the memory window lives (default [`Layout::Chip`]).
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Size of the memory window BAR as the switch's command line takes it, e.g. `16M` (default `1G`).
    #[must_use]
    pub fn aperture(mut self, size: impl Into<String>) -> Self {
        self.aperture = size.into();
        self
    }

    /// Size of the device window BAR as the switch's command line takes it (default `64M`).
    #[must_use]
    pub fn device_aperture(mut self, size: impl Into<String>) -> Self {
        self.device_aperture = size.into();
        self
    }

    /// One more argument for the switch.
    #[must_use]
    pub fn switch_arg(mut self, arg: impl Into<String>) -> Self {
        self.switch_args.push(arg.into());
        self
    }

    /// Puts a host file into every node's initial file system at the absolute path `remote` (mode kept).
    #[must_use]
    pub fn file(mut self, local: impl Into<PathBuf>, remote: impl Into<String>) -> Self {
        self.files.push((local.into(), remote.into()));
        self
    }

    /// Further words on every node's kernel command line.
    #[must_use]
    pub fn cmdline(mut self, words: impl Into<String>) -> Self {
        self.common = self.common.cmdline(words);
        self
    }

    /// One more QEMU argument for every node.
    #[must_use]
    pub fn qemu_arg(mut self, arg: impl Into<String>) -> Self {
        self.common = self.common.qemu_arg(arg);
        self
    }

    /// Declares a kernel log line (a regular expression) that may or must occur on every node.
    #[must_use]
    pub fn expect_log(mut self, pattern: impl Into<String>, occurs: Occurs) -> Self {
        self.common = self.common.expect_log(pattern, occurs);
        self
    }

    /// How long every node may take from start to a working agent (default 60 s, 120 s with the debug kernel).
    #[must_use]
    pub fn boot_limit(mut self, limit: Duration) -> Self {
        self.common = self.common.boot_limit(limit);
        self
    }

    /// Describes what node `index` has for itself: values replace the common ones, arguments are added to them.
    #[must_use]
    pub fn node(mut self, index: usize, describe: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        self.special.push((index, describe(NodeBuilder::default())));
        self
    }

    /// Starts the switch, then all nodes at once, and waits until every agent answers.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::Missing`] before anything runs; [`Error::Timeout`] or [`Error::Gone`] with the
    /// end of the console log when a node does not come up. Nothing is left running in any case.
    pub fn start(self) -> Result<Cluster, Error> {
        Cluster::start(self)
    }
}
