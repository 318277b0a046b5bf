// SPDX-License-Identifier: GPL-2.0
//! Machines and helpers without QEMU: what the server's tests attach to it.
//!
//! A [`Fabric`] owns a switch in this process and its run folder; [`Node`]s and [`Helper`]s own their connections.

mod helper;
mod node;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ntb_switch::control::ControlClient;
use ntb_switch::model::{Layout, PortConfig, Protection, Windows};
use ntb_switch::server::{PortSettings, Server, ServerConfig, WindowMode};
use tempfile::TempDir;

pub use helper::Helper;
pub use node::{Node, DEVICE, RAM};

/// Bytes of the memory window of the tests' ports: 12 slots of 1 MiB.
pub const APERTURE: u64 = 16 << 20;
/// Bytes of one slot of it.
pub const SLOT: u64 = APERTURE / 16;
/// Bytes of one slot of the device window.
pub const DEVICE_SLOT: u64 = DEVICE_APERTURE / 16;
/// Most pieces of a window.
pub const MOST_PIECES: usize = 440;
const DEVICE_APERTURE: u64 = 1 << 20;

/// A switch in this process.
pub struct Fabric {
    server: Option<Server>,
    pub dir: TempDir,
    pub control: ControlClient,
}

impl Fabric {
    /// A switch with `ports` ports of one kind.
    pub fn new(ports: usize, mode: WindowMode, layout: Layout) -> Self {
        Self::with_timeout(ports, mode, layout, ServerConfig::READ_TIMEOUT)
    }

    /// The same with another time-out for reads.
    pub fn with_timeout(
        ports: usize,
        mode: WindowMode,
        layout: Layout,
        read_timeout: Duration,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = PortSettings {
            config: PortConfig {
                layout,
                windows: Windows::Lut12,
                memory_aperture: APERTURE,
                device_aperture: DEVICE_APERTURE,
            },
            mode,
        };
        let config = ServerConfig {
            run_dir: dir.path().into(),
            ports: vec![settings; ports],
            protection: Protection::Open,
            read_timeout,
            helper_timeout: ServerConfig::READ_TIMEOUT,
            most_pieces: MOST_PIECES,
        };
        let server = Server::start(&config).unwrap();
        let control = ControlClient::connect(dir.path().join("control.sock")).unwrap();
        Self {
            server: Some(server),
            dir,
            control,
        }
    }

    pub fn trapped(ports: usize) -> Self {
        Self::new(ports, WindowMode::Trapped, Layout::Chip)
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A node at the port that is ready to send and to be reached.
    pub fn node(&self, port: u8) -> Node {
        let node = Node::attach(&self.socket(&format!("port{port}.sock")));
        node.open_gates();
        node
    }

    /// Ends the switch.
    pub fn stop(&mut self) {
        self.server = None;
    }
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
