// SPDX-License-Identifier: GPL-2.0
//! The description of a cluster with every default filled in and every limit checked. Plain values.

use std::time::Duration;

use regex::Regex;

use crate::builder::Disk;
use crate::scan::Expected;
use crate::{Builder, Error, Iommu, Kernel, Layout, NodeBuilder, WindowMode};

/// Partitions of the chip.
const MOST_PORTS: usize = 8;

/// Above this q35 splits a machine's memory around the PCI hole.
const MOST_MEMORY_MIB: u32 = 2048;

/// What one node is.
#[derive(Debug, Clone)]
pub(crate) struct NodeSpec {
    pub(crate) index: usize,
    pub(crate) kernel: Kernel,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    pub(crate) iommu: Iommu,
    pub(crate) layout: Layout,
    pub(crate) windows: WindowMode,
    /// Bytes of the memory window.
    pub(crate) aperture: u64,
    pub(crate) boot_limit: Duration,
    pub(crate) ports: Vec<u8>,
    pub(crate) qemu_args: Vec<String>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) cmdline: Vec<String>,
    pub(crate) expected: Vec<Expected>,
}

/// A regular expression, or what is wrong with it.
pub(crate) fn pattern(text: &str) -> Result<Regex, Error> {
    Regex::new(text).map_err(|error| Error::Config(format!("bad pattern: {error}")))
}

/// A size in bytes, or in powers of 1024 with K, M or G behind it.
fn bytes(text: &str) -> Result<u64, Error> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => 64,
    };
    let number = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1_u64.checked_shl(shift)?));
    number.ok_or_else(|| Error::Config(format!("{text:?} is no size such as 64M")))
}

/// Every node of the description, in order.
///
/// # Errors
/// [`Error::Config`] for what cannot be.
pub(crate) fn resolve(builder: &Builder) -> Result<Vec<NodeSpec>, Error> {
    let refuse = |why: String| Err(Error::Config(why));
    if builder.nodes == 0 {
        return refuse("a cluster has at least one node".to_owned());
    }
    if let Some((index, _)) = builder
        .special
        .iter()
        .find(|(index, _)| *index >= builder.nodes)
    {
        return refuse(format!(
            "node {index} is described, but there are only {} nodes",
            builder.nodes
        ));
    }
    if builder.layout == Layout::Companion && builder.windows == WindowMode::Trapped {
        return refuse(
            "the companion layout's window is memory of QEMU and cannot be trapped".to_owned(),
        );
    }
    let mut ports = 0..MOST_PORTS;
    let mut specs = Vec::new();
    for index in 0..builder.nodes {
        let special = builder
            .special
            .iter()
            .filter(|(of, _)| *of == index)
            .map(|(_, special)| special);
        let all: Vec<&NodeBuilder> = std::iter::once(&builder.common).chain(special).collect();
        let kernel = last(&all, |node| node.kernel).unwrap_or(Kernel::Stock);
        let (memory, limit) = match kernel {
            Kernel::Debug => (512, 120),
            _ => (256, 60),
        };
        let adapters = last(&all, |node| node.adapters).unwrap_or(builder.adapters);
        let own: Vec<u8> = ports
            .by_ref()
            .take(adapters)
            .filter_map(|port| u8::try_from(port).ok())
            .collect();
        if own.len() < adapters {
            return refuse(format!(
                "a switch has {MOST_PORTS} ports, fewer than these nodes have adapters"
            ));
        }
        let spec = NodeSpec {
            index,
            kernel,
            memory_mib: last(&all, |node| node.memory_mib).unwrap_or(memory),
            cpus: last(&all, |node| node.cpus).unwrap_or(1),
            iommu: last(&all, |node| node.iommu).unwrap_or(Iommu::Off),
            layout: builder.layout,
            windows: builder.windows,
            aperture: bytes(&builder.aperture)?,
            boot_limit: last(&all, |node| node.boot_limit).unwrap_or(Duration::from_secs(limit)),
            ports: own,
            disks: all.iter().flat_map(|node| node.disks.clone()).collect(),
            qemu_args: all.iter().flat_map(|node| node.qemu_args.clone()).collect(),
            cmdline: all.iter().flat_map(|node| node.cmdline.clone()).collect(),
            expected: expected(&all)?,
        };
        if spec.memory_mib > MOST_MEMORY_MIB {
            return refuse(format!(
                "a node has at most {MOST_MEMORY_MIB} MiB, not {}",
                spec.memory_mib
            ));
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// The value of the most special description that has one.
fn last<T>(all: &[&NodeBuilder], get: impl Fn(&NodeBuilder) -> Option<T>) -> Option<T> {
    all.iter().rev().find_map(|node| get(node))
}

fn expected(all: &[&NodeBuilder]) -> Result<Vec<Expected>, Error> {
    let declared = all.iter().flat_map(|node| &node.expect);
    declared
        .map(|(text, occurs)| {
            Ok(Expected {
                pattern: pattern(text)?,
                occurs: *occurs,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;

    #[test]
    fn ports_are_numbered_node_by_node() {
        let builder = Cluster::builder()
            .nodes(3)
            .adapters(2)
            .node(1, |node| node.adapters(3));
        let ports: Vec<_> = resolve(&builder)
            .unwrap()
            .into_iter()
            .map(|spec| spec.ports)
            .collect();
        assert_eq!(ports, [vec![0, 1], vec![2, 3, 4], vec![5, 6]]);
    }

    #[test]
    fn a_node_has_its_own_values_and_the_common_arguments() {
        let builder = Cluster::builder()
            .memory_mib(300)
            .cmdline("a")
            .iommu(Iommu::Virtio);
        let builder = builder.node(1, |node| {
            node.cmdline("b").memory_mib(700).kernel(Kernel::Debug)
        });
        let specs = resolve(&builder).unwrap();
        assert_eq!((specs[0].memory_mib, specs[0].kernel), (300, Kernel::Stock));
        assert_eq!(
            (specs[1].memory_mib, specs[1].kernel, specs[1].iommu),
            (700, Kernel::Debug, Iommu::Virtio)
        );
        assert_eq!(specs[0].cmdline, ["a"]);
        assert_eq!(specs[1].cmdline, ["a", "b"]);
        assert!(specs[1].boot_limit > specs[0].boot_limit);
    }

    #[test]
    fn sizes_have_units() {
        for (text, size) in [
            ("4096", 4096),
            ("16k", 16 << 10),
            ("64M", 64 << 20),
            ("1G", 1 << 30),
        ] {
            assert_eq!(bytes(text).unwrap(), size);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let builder = Cluster::builder;
        for (wrong, word) in [
            (builder().nodes(0), "at least one"),
            (builder().nodes(9), "8 ports"),
            (builder().nodes(5).adapters(2), "8 ports"),
            (builder().node(2, |node| node), "node 2"),
            (builder().memory_mib(4096), "2048"),
            (builder().aperture("1T"), "no size"),
            (builder().aperture("99999999999G"), "no size"),
            (builder().expect_log("(", crate::Occurs::Allowed), "pattern"),
            (
                builder()
                    .layout(Layout::Companion)
                    .windows(WindowMode::Trapped),
                "trapped",
            ),
        ] {
            let error = resolve(&wrong).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
