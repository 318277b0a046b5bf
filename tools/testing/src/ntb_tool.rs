// SPDX-License-Identifier: GPL-2.0
//! Linux's own ntb_hw_idt and ntb_tool in a node, through the files of ntb_tool in debugfs.
//!
//! Sources: drivers/ntb/test/ntb_tool.c, drivers/ntb/hw/idt/ntb_hw_idt.c. ntb_tool frees an inbound buffer's file twice
//! when it is unloaded with the buffer in place, so a test that unloads or unplugs frees its buffers first.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use skiff_cluster::Cluster;
use skiff_cluster::Job;
use skiff_cluster::Node;

use crate::guest;

/// Chip port number of each partition (drivers/ntb/hw/idt/ntb_hw_idt.h, 89HPES32NT8AG2).
const CHIP_PORTS: [u32; 8] = [0, 2, 4, 6, 8, 12, 16, 20];

/// How long a node may take to see what another one did.
pub const SOON: Duration = Duration::from_secs(10);

/// Loads the two drivers and takes every adapter of the node into use.
pub fn load(node: &Node) -> Result<()> {
    node.modprobe("ntb_hw_idt")?;
    node.modprobe("ntb_tool")?;
    for adapter in 0..node.ports().len() {
        Tool::open(node, adapter)?.take_into_use()?;
    }
    Ok(())
}

/// The same on every node; all links are up when it returns.
pub fn load_everywhere(cluster: &Cluster) -> Result<()> {
    cluster.nodes().iter().try_for_each(load)?;
    for node in cluster.nodes() {
        for peer in cluster
            .nodes()
            .iter()
            .filter(|peer| peer.index() != node.index())
        {
            Tool::open(node, 0)?.wait_link(peer.port(0), true)?;
        }
    }
    Ok(())
}

/// ntb_tool's face of one adapter.
#[derive(Clone, Debug)]
pub struct Tool<'a> {
    node: &'a Node,
    adapter: usize,
    folder: String,
}

/// An inbound buffer that ntb_tool allocated.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    /// Bus address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
}

impl<'a> Tool<'a> {
    /// The face of adapter `adapter` of a node where the drivers are bound.
    pub fn open(node: &'a Node, adapter: usize) -> Result<Self> {
        let folder = format!("/sys/kernel/debug/ntb_tool/{}", node.ntb_address(adapter)?);
        node.wait_for(&format!("test -d {folder}"), SOON)
            .context("ntb_tool did not bind")?;
        Ok(Self {
            node,
            adapter,
            folder,
        })
    }

    /// The port (partition) of this adapter.
    pub fn port(&self) -> u8 {
        self.node.port(self.adapter)
    }

    /// Number that the driver gives its own port, from the chip's registers.
    pub fn driver_port(&self) -> Result<u32> {
        Ok(self.read("port")?.parse()?)
    }

    /// Number that the chip gives to a port.
    pub fn chip_port(port: u8) -> u32 {
        CHIP_PORTS[usize::from(port)]
    }

    fn read(&self, file: &str) -> Result<String> {
        let output = self
            .node
            .run(&format!("cat {}/{file}", self.folder))?
            .check()?;
        Ok(output.stdout_text().trim().to_owned())
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        self.node
            .run(&format!("echo '{text}' > {}/{file}", self.folder))?
            .check()?;
        Ok(())
    }

    /// The driver's index of a peer port.
    pub fn peer(&self, port: u8) -> Result<usize> {
        let wanted = Self::chip_port(port);
        let line = format!(
            "cd {} && for p in peer*/port; do echo $p $(cat $p); done",
            self.folder
        );
        let output = self.node.run(&line)?.check()?;
        for entry in output.stdout_text().lines() {
            if let Some((name, number)) = entry.split_once(' ') {
                if number.trim().parse() == Ok(wanted) {
                    let index = name.trim_start_matches("peer").trim_end_matches("/port");
                    return Ok(index.parse()?);
                }
            }
        }
        anyhow::bail!(
            "no peer with chip port {wanted} among:\n{}",
            output.stdout_text()
        )
    }

    /// Whether the driver says that the link to a peer is up.
    pub fn link(&self, port: u8) -> Result<bool> {
        Ok(self.read(&format!("peer{}/link", self.peer(port)?))? == "Y")
    }

    /// Waits until the driver says so; asks again and again, so it does not depend on events.
    pub fn wait_link(&self, port: u8, up: bool) -> Result<()> {
        let (peer, word) = (self.peer(port)?, if up { "Y" } else { "N" });
        self.node.wait_for(
            &format!("test $(cat {}/peer{peer}/link) = {word}", self.folder),
            SOON,
        )?;
        Ok(())
    }

    /// Starts a wait for a link *event*: the driver sleeps until its interrupt handler wakes it.
    pub fn link_event(&self, port: u8, up: bool) -> Result<Job> {
        let line = format!(
            "echo {} > {}/peer{}/link_event",
            if up { "Y" } else { "N" },
            self.folder,
            self.peer(port)?
        );
        Ok(self.node.shell(&line).timeout(SOON).spawn()?)
    }

    /// Takes the own link down or up.
    pub fn set_link(&self, up: bool) -> Result<()> {
        self.write("link", if up { "Y" } else { "N" })
    }

    /// Interrupts that the driver's handler took so far.
    pub fn interrupts(&self) -> Result<u64> {
        let output = self
            .node
            .run("grep ntb_irq_idt /proc/interrupts || grep -i idt /proc/interrupts")?
            .check()?;
        let text = output.stdout_text();
        let line = text
            .lines()
            .nth(self.adapter)
            .context("no interrupt line of the driver")?;
        Ok(line
            .split_whitespace()
            .nth(1)
            .context("no count")?
            .parse()?)
    }

    /// Sends a message through message register `register`.
    pub fn send(&self, port: u8, register: usize, value: u32) -> Result<()> {
        self.write(
            &format!("peer{}/msg{register}", self.peer(port)?),
            &format!("{value:#x}"),
        )
    }

    /// What an inbound message register holds: the value and the sender's peer index.
    pub fn message(&self, register: usize) -> Result<(u32, usize)> {
        let text = self.read(&format!("msg{register}"))?;
        let (value, from) = text
            .split_once("<-")
            .with_context(|| format!("no message in {text:?}"))?;
        Ok((
            u32::from_str_radix(value.trim_start_matches("0x"), 16)?,
            from.parse()?,
        ))
    }

    /// Waits until the bits of the message status register that mean "inbound register full" are as wanted.
    pub fn wait_inbox(&self, register: usize, full: bool) -> Result<()> {
        let bit = 1 << (16 + register);
        let line = format!(
            "test $(($(cat {}/msg_sts) & {bit})) = {}",
            self.folder,
            if full { bit } else { 0 }
        );
        self.node.wait_for(&line, SOON)?;
        Ok(())
    }

    /// Empties the message status register.
    pub fn clear_messages(&self) -> Result<()> {
        self.write("msg_sts", "c 0xf000f")
    }

    /// Brings the own link up and lets messages and doorbells interrupt: ntb_tool leaves all that to its user.
    pub fn take_into_use(&self) -> Result<()> {
        self.write("msg_mask", "c 0xf000f")?;
        self.write("db_mask", "c 0xffffffff")?;
        self.set_link(true)
    }

    /// Rings doorbell bits of the switch.
    pub fn ring(&self, bits: u32) -> Result<()> {
        self.write("peer_db", &format!("s {bits:#x}"))
    }

    /// Pending doorbell bits of this port.
    pub fn doorbells(&self) -> Result<u32> {
        let text = self.read("db")?;
        Ok(u32::from_str_radix(text.trim_start_matches("0x"), 16)?)
    }

    /// Starts a wait until exactly these doorbell bits are pending: the driver sleeps until its handler wakes it.
    pub fn doorbell_event(&self, bits: u32) -> Result<Job> {
        Ok(self
            .node
            .shell(&format!("echo {bits:#x} > {}/db_event", self.folder))
            .timeout(SOON)
            .spawn()?)
    }

    /// Clears doorbell bits of this port.
    pub fn clear_doorbells(&self, bits: u32) -> Result<()> {
        self.write("db", &format!("c {bits:#x}"))
    }

    /// Allocates inbound buffer `index` for a peer; its size is rounded up to a whole slot.
    pub fn allocate(&self, from: u8, index: usize, size: u64) -> Result<Buffer> {
        let file = format!("peer{}/mw_trans{index}", self.peer(from)?);
        self.write(&file, &size.to_string())?;
        let text = self.read(&file)?;
        let field = |name: &str| -> Result<u64> {
            let line = text
                .lines()
                .find(|line| line.starts_with(name))
                .with_context(|| format!("no {name} in\n{text}"))?;
            guest::number(line.split_whitespace().last().unwrap_or_default())
        };
        let buffer = Buffer {
            address: field("DMA Address")?,
            size: field("Window Size")?,
        };
        ensure!(
            buffer.size >= size && buffer.address != 0,
            "no buffer: {buffer:?}"
        );
        Ok(buffer)
    }

    /// Frees an inbound buffer.
    pub fn free(&self, from: u8, index: usize) -> Result<()> {
        self.write(&format!("peer{}/mw_trans{index}", self.peer(from)?), "0")
    }

    /// Lets the driver aim outbound window `index` at a bus address of a peer.
    pub fn aim(&self, to: u8, index: usize, address: u64, size: u64) -> Result<()> {
        self.write(
            &format!("peer{}/peer_mw_trans{index}", self.peer(to)?),
            &format!("{address}:{size}"),
        )
    }

    /// Lets the driver take an outbound window's translation away.
    pub fn release(&self, to: u8, index: usize) -> Result<()> {
        self.write(
            &format!("peer{}/peer_mw_trans{index}", self.peer(to)?),
            "0:0",
        )
    }

    /// The file of an inbound buffer.
    pub fn buffer_file(&self, from: u8, index: usize) -> Result<String> {
        Ok(format!(
            "{}/peer{}/mw{index}",
            self.folder,
            self.peer(from)?
        ))
    }

    /// The file of an outbound window: reads and writes of it are loads and stores through the bridge.
    pub fn window_file(&self, to: u8, index: usize) -> Result<String> {
        Ok(format!(
            "{}/peer{}/peer_mw{index}",
            self.folder,
            self.peer(to)?
        ))
    }
}
