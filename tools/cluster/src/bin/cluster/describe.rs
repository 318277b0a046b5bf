// SPDX-License-Identifier: GPL-2.0
//! The options that describe a cluster. Plain values.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use skiff_cluster::{Builder, Cluster, Iommu, Kernel, Layout, LutMode, WindowMode};

use crate::Failure;

/// What cluster to start.
#[derive(Debug, Args)]
pub struct Description {
    /// Number of nodes
    #[arg(long, short, default_value_t = 2)]
    nodes: usize,
    /// NTB adapters of each node; 0 starts nodes without a switch
    #[arg(long, short, default_value_t = 1)]
    adapters: usize,
    /// Kernel: stock, stock-other, stock-7.2, stock-7.3 or debug
    #[arg(long, short, default_value_t = Kernel::Stock)]
    kernel: Kernel,
    /// Memory of each node in MiB [default: 256, 512 with the debug kernel]
    #[arg(long, short)]
    memory: Option<u32>,
    /// Virtual CPUs of each node
    #[arg(long, default_value_t = 1)]
    cpus: u32,
    /// IOMMU: off, intel, intel-remap (with interrupt remapping) or virtio
    #[arg(long, default_value_t = Iommu::Off)]
    iommu: Iommu,
    /// Where a port's memory window is: chip (in the NT function) or companion (in a function of its own)
    #[arg(long, default_value_t = Layout::Chip)]
    layout: Layout,
    /// What windows translate with: lut12 or lut24-direct
    #[arg(long, default_value_t = LutMode::Lut12)]
    lut: LutMode,
    /// Let the switch see every access to memory windows: slow, but counted
    #[arg(long)]
    trapped: bool,
    /// Protect the ports from each other, as a board's EEPROM can; ntb_hw_idt does not work then
    #[arg(long)]
    guarded: bool,
    /// Size of the memory windows
    #[arg(long, default_value = "1G")]
    aperture: String,
    /// Let programs in nodes map BARs that drivers own (iomem=relaxed)
    #[arg(long)]
    relaxed: bool,
    /// More words for the kernel's command line (may be repeated)
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    cmdline: Vec<String>,
    /// One more argument for every QEMU, or with N: before it for that of node N (may be repeated)
    #[arg(long, value_name = "[N:]ARG", allow_hyphen_values = true)]
    qemu_arg: Vec<String>,
    /// A file to put into every node (may be repeated)
    #[arg(long, value_name = "LOCAL:REMOTE")]
    file: Vec<String>,
    /// Seconds that a command may take
    #[arg(long, default_value_t = 600)]
    limit: u64,
}

impl Description {
    /// The builder for it.
    ///
    /// # Errors
    /// Options that contradict themselves; the cluster's own limits are checked when it starts.
    pub fn builder(&self) -> Result<Builder, Failure> {
        let windows = if self.trapped {
            WindowMode::Trapped
        } else {
            WindowMode::Mapped
        };
        let mut builder = Cluster::builder()
            .nodes(self.nodes)
            .adapters(self.adapters)
            .kernel(self.kernel);
        builder = builder
            .cpus(self.cpus)
            .iommu(self.iommu)
            .layout(self.layout)
            .lut(self.lut);
        builder = builder.windows(windows).aperture(&self.aperture);
        if self.guarded {
            builder = builder.switch_arg("--guarded");
        }
        if let Some(memory) = self.memory {
            builder = builder.memory_mib(memory);
        }
        if self.relaxed {
            builder = builder.cmdline("iomem=relaxed");
        }
        builder = self.cmdline.iter().fold(builder, Builder::cmdline);
        for arg in &self.qemu_arg {
            builder = match split_node(arg) {
                (Some(node), arg) => builder.node(node, |node| node.qemu_arg(arg)),
                (None, arg) => builder.qemu_arg(arg),
            };
        }
        for file in &self.file {
            let (local, remote) = file
                .split_once(':')
                .ok_or_else(|| format!("--file {file}: no colon in it"))?;
            if !remote.starts_with('/') {
                return Err(format!("--file {file}: {remote} is not an absolute path").into());
            }
            builder = builder.file(PathBuf::from(local), remote);
        }
        Ok(builder)
    }

    /// It in words.
    pub fn words(&self) -> String {
        let windows = if self.trapped { "trapped" } else { "mapped" };
        let board = if self.guarded { ", guarded" } else { "" };
        let fabric = match self.adapters {
            0 => "no adapters".to_owned(),
            n => format!(
                "{n} adapter(s) each, {} layout, {}, {windows} windows{board}",
                self.layout, self.lut
            ),
        };
        format!(
            "{} node(s), kernel {}, IOMMU {}, {fabric}",
            self.nodes, self.kernel, self.iommu
        )
    }

    /// How long a command may take.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }
}

/// Takes "N:" off an argument; what is before the colon of others is no number.
fn split_node(arg: &str) -> (Option<usize>, &str) {
    match arg.split_once(':') {
        Some((node, rest)) => node.parse().map_or((None, arg), |node| (Some(node), rest)),
        None => (None, arg),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_may_name_a_node() {
        assert_eq!(split_node("1:-device"), (Some(1), "-device"));
        assert_eq!(split_node("-device"), (None, "-device"));
        assert_eq!(split_node("nvme,file=a:b"), (None, "nvme,file=a:b"));
    }
}
