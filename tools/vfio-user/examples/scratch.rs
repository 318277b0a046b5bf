// SPDX-License-Identifier: GPL-2.0
//! A PCI function with one page of registers, served to one QEMU after the other.
//!
//! ```text
//! cargo run -p skiff-vfio-user --example scratch -- --socket /tmp/scratch.sock
//! qemu-system-x86_64 … -object memory-backend-memfd,id=ram,size=256M,share=on -machine q35,memory-backend=ram \
//!     -device '{"driver":"vfio-user-pci","rombar":0,"socket":{"type":"unix","path":"/tmp/scratch.sock"}}'
//! ```
//!
//! BAR 0, 32 bits a register: 0x00 reads "SKIF"; 0x08 and 0x0c are the low and high half of a bus address; a write of n to 0x10 reads n bytes
//! (at most 4) there and leaves them in 0x14, with the outcome in 0x18 (0 or an error number); a write to 0x1c sends the value to
//! the bus address, posted; a write to 0x20 fires the MSI. Everything else is plain memory. With `--window`, BAR 2 is memory that the client maps.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::Parser;
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use skiff_vfio_user::device::{IRQ_ERR, IRQ_MSI, REGION_BAR0, REGION_CONFIG};
use skiff_vfio_user::{
    serve, Client, Device, DeviceInfo, DmaError, DmaMap, DmaUnmap, Errno, IrqData, IrqFlags,
    IrqInfo, RegionInfo, RegionMapping, SetIrqs,
};
use tracing::info;

/// PCI BAR 2 as a region.
const REGION_BAR2: u32 = REGION_BAR0 + 2;
const CONFIG_SIZE: usize = 4096;
const BAR_SIZE: usize = 4096;
const ADDRESS: usize = 0x08;
const READ: usize = 0x10;
const READ_DATA: usize = 0x14;
const READ_STATUS: usize = 0x18;
const WRITE: usize = 0x1c;
const FIRE: usize = 0x20;

#[derive(Debug, Parser)]
#[command(about = "Serves a PCI function with one page of registers over vfio-user")]
struct Options {
    /// Socket to listen on; replaced if it exists
    #[arg(long)]
    socket: PathBuf,

    /// Size of BAR 2 in bytes, a power of two from 4096 on; 0 for none
    #[arg(long, default_value_t = 0)]
    window: u64,

    /// Name of the memory file behind BAR 2
    #[arg(long, default_value = "scratch")]
    name: String,
}

struct State {
    config: Vec<u8>,
    registers: Vec<u8>,
    msi: Option<OwnedFd>,
    client: Option<Client>,
}

impl State {
    fn new() -> Self {
        let mut config = vec![0; CONFIG_SIZE];
        // Vendor and device of QEMU's own examples, class "unclassified", capabilities: MSI with 64-bit addresses at 0x40.
        config[..4].copy_from_slice(&0x11e8_1234_u32.to_le_bytes());
        config[6] = 0x10;
        config[0x0b] = 0xff;
        // BAR 2: 64 bits, prefetchable.
        config[0x18] = 0x0c;
        config[0x34] = 0x40;
        config[0x40] = 0x05;
        config[0x42] = 0x80;
        let mut registers = vec![0; BAR_SIZE];
        registers[..4].copy_from_slice(b"SKIF");
        Self {
            config,
            registers,
            msi: None,
            client: None,
        }
    }

    fn register(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.registers[at..at + 4]);
        u32::from_le_bytes(bytes)
    }

    fn set_register(&mut self, at: usize, value: u32) {
        self.registers[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn address(&self) -> u64 {
        u64::from(self.register(ADDRESS)) | (u64::from(self.register(ADDRESS + 4)) << 32)
    }
}

struct Scratch(Mutex<State>);

impl Scratch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the bus from a thread of its own: the client answers only when its register write has been answered.
    fn read_bus(self: &Arc<Self>, addr: u64, count: u32, client: Client) {
        let device = Arc::clone(self);
        std::thread::spawn(move || {
            let mut data = [0xff; 4];
            let count = usize::try_from(count).unwrap_or(4).min(4);
            let result = client.dma_read(addr, &mut data[..count], Duration::from_secs(1));
            info!(addr, ?data, ?result, "bus read");
            let mut state = device.lock();
            state.set_register(READ_DATA, u32::from_le_bytes(data));
            state.set_register(
                READ_STATUS,
                match result {
                    Ok(()) => 0,
                    Err(DmaError::Fault(errno)) => errno.raw_os_error().unsigned_abs(),
                    Err(_) => Errno::TIMEDOUT.raw_os_error().unsigned_abs(),
                },
            );
        });
    }
}

/// The device that one connection sees: `Device` has no way from `&self` to the `Arc` that [`Scratch::read_bus`] needs.
struct Function {
    scratch: Arc<Scratch>,
    window: Option<Window>,
}

/// What is behind BAR 2.
#[derive(Clone)]
struct Window {
    file: Arc<OwnedFd>,
    size: u64,
}

impl Window {
    fn new(name: &str, size: u64) -> Result<Self, Errno> {
        let file = memfd_create(name, MemfdFlags::CLOEXEC)?;
        ftruncate(&file, size)?;
        Ok(Self {
            file: Arc::new(file),
            size,
        })
    }
}

impl Device for Function {
    fn connected(&self, client: &Client) {
        self.scratch.lock().client = Some(client.clone());
        info!("a client has come");
    }

    fn disconnected(&self) {
        *self.scratch.lock() = State::new();
        info!("the client has gone");
    }

    fn device_info(&self) -> DeviceInfo {
        DeviceInfo::PCI
    }

    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        Ok(match index {
            REGION_BAR0 => RegionInfo::trapped(BAR_SIZE as u64),
            REGION_CONFIG => RegionInfo::trapped(CONFIG_SIZE as u64),
            REGION_BAR2 => match &self.window {
                Some(window) => RegionInfo {
                    mapping: Some(RegionMapping {
                        fd: Arc::clone(&window.file),
                        offset: 0,
                        areas: Vec::new(),
                    }),
                    ..RegionInfo::trapped(window.size)
                },
                None => RegionInfo::ABSENT,
            },
            _ => RegionInfo::ABSENT,
        })
    }

    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        Ok(match index {
            IRQ_MSI => IrqInfo {
                count: 1,
                flags: IrqFlags::EVENTFD | IrqFlags::NORESIZE,
            },
            // Not merely absent: QEMU would complain.
            IRQ_ERR => return Err(Errno::INVAL),
            _ => IrqInfo::ABSENT,
        })
    }

    fn region_read(&self, index: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        let offset = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
        let state = self.scratch.lock();
        let from = match index {
            REGION_CONFIG => &state.config,
            REGION_BAR0 => &state.registers,
            _ => return Err(Errno::OPNOTSUPP),
        };
        data.copy_from_slice(&from[offset..offset + data.len()]);
        Ok(())
    }

    fn region_write(&self, index: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let offset = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
        let mut state = self.scratch.lock();
        if index == REGION_CONFIG {
            // QEMU keeps the BARs' addresses to itself and asks only for their types.
            if offset >= 4 && !(0x10..0x28).contains(&offset) {
                state.config[offset..offset + data.len()].copy_from_slice(data);
            }
            return Ok(());
        }
        if index != REGION_BAR0 {
            // A client that maps the window never gets here.
            return Err(Errno::OPNOTSUPP);
        }
        state.registers[offset..offset + data.len()].copy_from_slice(data);
        match offset {
            READ => {
                let (addr, count) = (state.address(), state.register(READ));
                if let Some(client) = state.client.clone() {
                    self.scratch.read_bus(addr, count, client);
                }
            }
            WRITE => {
                let (addr, value) = (state.address(), state.register(WRITE));
                if let Some(client) = state.client.clone() {
                    let result = client.dma_write_posted(addr, &value.to_le_bytes());
                    info!(addr, value, ?result, "bus write");
                }
            }
            FIRE => {
                if let Some(msi) = &state.msi {
                    rustix::io::write(msi, &1_u64.to_ne_bytes())?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn set_irqs(&self, set: SetIrqs) -> Result<(), Errno> {
        let mut state = self.scratch.lock();
        match set.data {
            IrqData::Eventfds(fds) => state.msi = fds.into_iter().next(),
            IrqData::None if set.count == 0 => state.msi = None,
            IrqData::None | IrqData::Bool(_) => return Err(Errno::OPNOTSUPP),
        }
        info!(connected = state.msi.is_some(), "MSI");
        Ok(())
    }

    fn dma_map(&self, map: DmaMap, fd: Option<OwnedFd>) -> Result<(), Errno> {
        info!(?map, with_file = fd.is_some(), "memory");
        Ok(())
    }

    fn dma_unmap(&self, unmap: DmaUnmap) -> Result<(), Errno> {
        info!(?unmap, "memory gone");
        Ok(())
    }

    fn reset(&self) -> Result<(), Errno> {
        info!("reset");
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let options = Options::parse();
    if options.socket.exists() {
        std::fs::remove_file(&options.socket)?;
    }
    let window = match options.window {
        0 => None,
        size => Some(Window::new(&options.name, size)?),
    };
    let listener = UnixListener::bind(&options.socket)?;
    let scratch = Arc::new(Scratch(Mutex::new(State::new())));
    for stream in listener.incoming() {
        let device = Arc::new(Function {
            scratch: Arc::clone(&scratch),
            window: window.clone(),
        });
        let ended = serve(stream?, device)?.join();
        info!(?ended, "connection");
    }
    Ok(())
}
