// SPDX-License-Identifier: GPL-2.0

//! A kernel client: memory for peers, and a device of another node. Its twin, with which it talks, is samples/c/skiff_sample.c;
//! this one waits for the device's interrupts, and keeps the device.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};
use skiff_client::{
    wmb,
    BorrowEvent,
    BorrowHandler,
    Borrowed,
    Dma,
    Driver,
    IoMap,
    Local,
    MapMode,
    Place,
    Registration,
    Remote,
    Segment,
    SegmentEvent,
    SegmentHandler,
    Share,
    Work,
    Worker,
    DEFAULT_TIMEOUT,
    DEVICE_NAME,
    PEER_NAME, //
};

module! {
    type: Sample,
    name: "skiff_sample_rust",
    authors: ["The Skiff authors"],
    description: "Writes to peers and has a lent device copy",
    license: "GPL",
    alias: ["auxiliary:skiff.peer", "auxiliary:skiff.device"],
}

/// The module: its drivers go, and with them all that they have.
#[pin_data]
struct Sample {
    #[pin]
    peers: Registration<Peers>,
    #[pin]
    devices: Registration<Devices>,
}

impl kernel::InPlaceModule for Sample {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            peers <- Registration::new(c"peer"),
            devices <- Registration::new(c"edu"),
        })
    }
}

/// The segment for a peer, whose number is added, and what a node writes there, its own number added.
const SEGMENT: u32 = 0x534d_0000;
const NUMBER: u64 = 0x736b_6966_6600_0000;
/// Bytes of a segment, of the registers, and of memory for the device.
const BYTES: usize = 4096;

/// A node that answers, and a segment for it.
struct Peer {
    node: u32,
    local: Local,
    ear: Arc<Ear>,
}

/// Hears of a segment. It must not hold the segment, which holds it; so it wakes who does.
struct Ear(Arc<Worker<Peer>>);

impl SegmentHandler for Ear {
    fn event(&self, event: SegmentEvent, _node: u32) {
        if event == SegmentEvent::Disconnected {
            self.0.kick();
        }
    }
}

impl Work for Peer {
    /// The peer was here. It can have written anything, and can write at any time: read once, then check.
    fn run(this: ArcBorrow<'_, Self>) {
        let right = this.local.read64(0) == Ok(NUMBER | u64::from(this.node));
        let what = if right { "its number" } else { "rubbish" };

        pr_info!("node {} wrote {what}\n", this.node);
    }
}

impl Peer {
    fn new(node: u32) -> Result<Arc<Self>> {
        let worker = Worker::new(c"skiff_sample", kernel::static_lock_class!())?;
        let ear = Arc::new(Ear(worker), GFP_KERNEL)?;
        let segment = Segment {
            id: SEGMENT | node,
            bytes: BYTES,
            nodes: 1_u64.checked_shl(node).ok_or(EINVAL)?,
            mode: 0o666,
        };
        let local = Local::new(&segment, ear.clone())?;

        Ok(Arc::new(Self { node, local, ear }, GFP_KERNEL)?)
    }

    /// Writes to the segment that the peer has for this node.
    fn write(&self) -> Result {
        let own = skiff_client::node()?;
        let ear = self.ear.clone();
        let remote = Remote::connect(self.node, SEGMENT | own, ear, DEFAULT_TIMEOUT)?;
        let map = remote.map(0, BYTES, MapMode::Combining)?;

        map.write64(0, NUMBER | u64::from(own))?;
        // It is there before the peer is told of the end.
        wmb();
        Ok(())
    }
}

/// The driver of peers.
struct Peers;

impl Driver for Peers {
    const NAME: &'static CStr = PEER_NAME;

    type Data = Arc<Peer>;

    /// The one that comes later finds the other one's segment, and writes to it.
    fn probe(id: u32, _device: &Device<Bound>) -> Result<Arc<Peer>> {
        let peer = Peer::new(id)?;

        peer.ear.0.start(peer.clone());
        peer.local.offer().inspect_err(|_| peer.ear.0.stop())?;
        if peer.write().is_ok() {
            pr_info!("wrote to node {id}\n");
        }
        Ok(peer)
    }

    fn remove(peer: Arc<Peer>) {
        peer.ear.0.stop();
    }
}

/// QEMU's device for teaching (docs/specs/edu.rst there): vendor and device, and registers.
const ID: (u16, u16) = (0x1234, 0x11e8);
const STATUS: usize = 0x24;
const ACKNOWLEDGE: usize = 0x64;
const SOURCE: usize = 0x80;
const TARGET: usize = 0x88;
const COUNT: usize = 0x90;
const COMMAND: usize = 0x98;
/// Commands: start, from its memory to ours, and an interrupt at the end.
const TO_DEVICE: u64 = 1 | 4;
const FROM_DEVICE: u64 = 1 | 2 | 4;
/// Its own memory.
const OWN: u64 = 0x4_0000;

/// What it has told.
struct Told {
    interrupts: Atomic<u32>,
}

impl BorrowHandler for Told {
    fn interrupt(&self, _vectors: u64) {
        self.interrupts.fetch_add(1, Relaxed);
    }

    fn event(&self, event: BorrowEvent) {
        if event == BorrowEvent::Ended {
            pr_info!("the device is gone\n");
        }
    }
}

/// The device, which is returned when the last of its parts is dropped.
struct Edu {
    told: Arc<Told>,
    registers: IoMap,
    memory: Dma,
}

impl Edu {
    fn new(fdid: u32) -> Result<KBox<Self>> {
        let interrupts = Atomic::new(0);
        let told = Arc::new(Told { interrupts }, GFP_KERNEL)?;
        let device = Borrowed::new(fdid, Share::Exclusive, told.clone(), DEFAULT_TIMEOUT)?;
        let registers = device.bar(0, 0, BYTES)?;
        let memory = device.dma(BYTES, Place::Cpu, DEFAULT_TIMEOUT)?;

        // The vectors first: the device must not raise one that leads nowhere.
        device.vectors(1)?;
        device.listen(1)?;
        device.master(true)?;

        let this = Self {
            told,
            registers,
            memory,
        };

        let copied = this.copy();

        // Whatever came of it: the device is to leave the memory alone when that is freed.
        device.master(false)?;
        copied?;
        Ok(KBox::new(this, GFP_KERNEL)?)
    }

    /// Has it copy eight bytes there and back.
    fn copy(&self) -> Result {
        let start = self.memory.address();

        self.memory.write64(0, NUMBER)?;
        self.transfer(start, OWN, TO_DEVICE)?;
        self.transfer(OWN, start + 8, FROM_DEVICE)?;
        if self.memory.read64(8)? != NUMBER {
            return Err(EIO);
        }
        Ok(())
    }

    fn transfer(&self, from: u64, to: u64, command: u64) -> Result {
        let before = self.told.interrupts.load(Relaxed);

        self.registers.write64(SOURCE, from)?;
        self.registers.write64(TARGET, to)?;
        self.registers.write64(COUNT, 8)?;
        self.registers.write64(COMMAND, command)?;
        for _ in 0..500 {
            if self.told.interrupts.load(Relaxed) != before {
                let status = self.registers.read32(STATUS)?;

                return self.registers.write32(ACKNOWLEDGE, status);
            }
            fsleep(Delta::from_millis(10));
        }
        Err(ETIMEDOUT)
    }
}

/// The driver of devices.
struct Devices;

impl Driver for Devices {
    const NAME: &'static CStr = DEVICE_NAME;

    type Data = KBox<Edu>;

    fn probe(id: u32, _device: &Device<Bound>) -> Result<KBox<Edu>> {
        let found = skiff_client::device(id)?;

        // What is at home need not be borrowed.
        if (found.vendor, found.device) != ID || found.node == skiff_client::node()? {
            return Err(ENODEV);
        }

        let edu = Edu::new(id)?;

        pr_info!("device {id:#x} copied\n");
        Ok(edu)
    }
}
