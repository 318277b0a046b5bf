// SPDX-License-Identifier: GPL-2.0
//! A fabric of nodes that use the switch's registers in the order in which ntb_hw_idt does.
//!
//! Written after drivers/ntb/hw/idt/ntb_hw_idt.c of Linux 7.2; each method names the function it follows.

// Each test program uses its part of this client.
#![allow(dead_code)]

use ntb_switch::model::Effect;
use ntb_switch::model::Layout;
use ntb_switch::model::Message;
use ntb_switch::model::Port;
use ntb_switch::model::PortConfig;
use ntb_switch::model::Protection;
use ntb_switch::model::Switch;
use ntb_switch::model::Windows;

pub const MIB: u64 = 1 << 20;

pub const CMDSTS: u32 = 0x004;
pub const MSI: u32 = 0x0d0;
pub const NTCTL: u32 = 0x400;
pub const NTINTSTS: u32 = 0x404;
pub const NTINTMSK: u32 = 0x408;
pub const NTSDATA: u32 = 0x40c;
pub const NTGSIGNAL: u32 = 0x410;
pub const OUTDBELLSET: u32 = 0x420;
pub const INDBELLSTS: u32 = 0x428;
pub const INDBELLMSK: u32 = 0x42c;
pub const OUTMSG: u32 = 0x430;
pub const INMSG: u32 = 0x440;
pub const INMSGSRC: u32 = 0x450;
pub const MSGSTS: u32 = 0x460;
pub const MSGSTSMSK: u32 = 0x464;
pub const BARSETUP: u32 = 0x470;
pub const NTMTBLADDR: u32 = 0x4d0;
pub const NTMTBLDATA: u32 = 0x4d8;
pub const REQIDCAP: u32 = 0x4dc;
pub const LUTOFFSET: u32 = 0x4e0;
pub const LUTLDATA: u32 = 0x4e4;
pub const LUTMDATA: u32 = 0x4e8;
pub const LUTUDATA: u32 = 0x4ec;
pub const GASAADDR: u32 = 0xff8;
pub const GASADATA: u32 = 0xffc;

pub const SW_SWPARTSTS: u32 = 0x3e104;
pub const SW_SWPORTSTS: u32 = 0x3e204;
pub const SW_SESTS: u32 = 0x3ec00;
pub const SW_SEMSK: u32 = 0x3ec04;
pub const SW_SEPMSK: u32 = 0x3ec08;
pub const SW_GIDBELLMSK0: u32 = 0x3ed80;
pub const SW_SELINKUPSTS: u32 = 0x3ec0c;
pub const SW_SELINKUPMSK: u32 = 0x3ec10;
pub const SW_SELINKDNSTS: u32 = 0x3ec14;
pub const SW_SELINKDNMSK: u32 = 0x3ec18;
pub const SW_SEGSIGSTS: u32 = 0x3ec30;
pub const SW_SEGSIGMSK: u32 = 0x3ec34;
pub const SW_MSGCTL: u32 = 0x3ee00;
pub const SW_TMPCTL: u32 = 0x3f1d4;
pub const SW_TMPSTS: u32 = 0x3f1d8;

pub const INT_MSG: u32 = 1;
pub const INT_DBELL: u32 = 2;
pub const INT_SEVENT: u32 = 8;
pub const INT_ALL: u32 = INT_MSG | INT_DBELL | INT_SEVENT;

/// idt_89hpes32nt8ag2_cfg.
pub const CHIP_PORTS: [u32; 8] = [0, 2, 4, 6, 8, 12, 16, 20];

pub fn port(index: u8) -> Port {
    Port::new(index).expect("a partition")
}

/// Registers of a port's NT function in the global address space (IDT_SW_NTPx_*).
pub fn alias(chip_port: u32, register: u32) -> u32 {
    0x1000 + 0x2000 * chip_port + register
}

pub fn config(windows: Windows) -> PortConfig {
    PortConfig {
        layout: Layout::Chip,
        windows,
        memory_aperture: 16 * MIB,
        device_aperture: MIB,
    }
}

/// The switch with what its effects asked for.
pub struct Fabric {
    pub switch: Switch,
    pub interrupts: [u32; 8],
    pub late: Vec<Message>,
}

impl Fabric {
    pub fn new(ports: usize, windows: Windows) -> Self {
        Self::with(ports, windows, Protection::Open)
    }

    pub fn with(ports: usize, windows: Windows, protection: Protection) -> Self {
        let switch = Switch::with_protection(&vec![config(windows); ports], protection)
            .expect("a good set of ports");
        Self {
            switch,
            interrupts: [0; 8],
            late: Vec::new(),
        }
    }

    /// Does what the server would do.
    pub fn apply(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        for effect in &effects {
            match *effect {
                Effect::Interrupt(port) => self.interrupts[port.index()] += 1,
                Effect::Deliver { message, .. } => self.late.push(message),
                Effect::Window { .. } => {}
            }
        }
        effects
    }

    /// idt_nt_read().
    pub fn nt_read(&mut self, index: u8, register: u32) -> u32 {
        let mut data = [0; 4];
        self.switch.bar0_read(port(index), register, &mut data);
        u32::from_le_bytes(data)
    }

    /// idt_nt_write().
    pub fn nt_write(&mut self, index: u8, register: u32, value: u32) -> Vec<Effect> {
        let effects = self
            .switch
            .bar0_write(port(index), register, &value.to_le_bytes());
        self.apply(effects)
    }

    /// idt_sw_read().
    pub fn sw_read(&mut self, index: u8, register: u32) -> u32 {
        self.nt_write(index, GASAADDR, register);
        self.nt_read(index, GASADATA)
    }

    /// idt_sw_write().
    pub fn sw_write(&mut self, index: u8, register: u32, value: u32) -> Vec<Effect> {
        self.nt_write(index, GASAADDR, register);
        self.nt_write(index, GASADATA, value)
    }

    /// Takes the count of a port's interrupts.
    pub fn taken(&mut self, index: u8) -> u32 {
        std::mem::take(&mut self.interrupts[usize::from(index)])
    }

    pub fn attach(&mut self, index: u8) {
        let effects = self.switch.attach(port(index));
        self.apply(effects);
    }

    pub fn detach(&mut self, index: u8) {
        let effects = self.switch.detach(port(index));
        self.apply(effects);
    }

    /// Attaches all ports, and probes and enables the links of their drivers.
    pub fn up(ports: u8, windows: Windows) -> (Self, Vec<Idt>) {
        let mut fabric = Self::new(ports.into(), windows);
        for index in 0..ports {
            fabric.attach(index);
        }
        let drivers: Vec<Idt> = (0..ports)
            .map(|index| Idt::probe(&mut fabric, index))
            .collect();
        for driver in &drivers {
            driver.link_enable(&mut fabric);
        }
        for index in 0..ports {
            fabric.handle(index);
            fabric.taken(index);
        }
        (fabric, drivers)
    }

    /// Clears GIDBELLMSK0 to 31, after which every partition sees every doorbell, as on a chip without an EEPROM.
    pub fn let_all_see_all_doorbells(&mut self) {
        for doorbell in 0..32 {
            self.sw_write(0, SW_GIDBELLMSK0 + 4 * doorbell, 0);
        }
    }

    /// idt_thread_isr(), with idt_se_isr(); gives NTINTSTS.
    pub fn handle(&mut self, index: u8) -> u32 {
        let status = self.nt_read(index, NTINTSTS);
        if status & INT_SEVENT != 0 {
            self.sw_read(index, SW_SESTS);
            self.sw_write(index, SW_SELINKUPSTS, !0);
            self.sw_write(index, SW_SELINKDNSTS, !0);
            self.sw_write(index, SW_SEGSIGSTS, !0);
            self.nt_write(index, NTINTSTS, INT_SEVENT);
        }
        status
    }
}

/// A peer as idt_scan_ports() finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub chip_port: u32,
    pub partition: u32,
}

/// A memory window as idt_scan_mws() finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mw {
    pub direct: bool,
    pub bar: u32,
    pub index: u32,
    pub size: u64,
}

/// struct idt_ntb_dev.
#[derive(Clone, Debug)]
pub struct Idt {
    pub me: u8,
    pub chip_port: u32,
    pub partition: u32,
    pub peers: Vec<Peer>,
    pub windows: Vec<Mw>,
}

impl Idt {
    /// idt_pci_probe().
    pub fn probe(fabric: &mut Fabric, me: u8) -> Self {
        // idt_check_setup(), through configuration space.
        let mut setup = [0; 4];
        fabric
            .switch
            .config_read(port(me), BARSETUP as u16, &mut setup);
        let setup = u32::from_le_bytes(setup);
        assert_eq!(
            setup & ((1 << 31) | 0x400 | 0x3f0),
            (1 << 31) | 0x400 | 0xc0
        );
        // The PCI core: place the BARs, memory decoding, and pci_set_master().
        for (register, value) in [
            (0x18u16, 0x1000_0000u32),
            (0x1c, 0x80),
            (0x20, 0x4000_0000),
            (0x24, 0x80),
        ] {
            let effects = fabric
                .switch
                .config_write(port(me), register, &value.to_le_bytes());
            fabric.apply(effects);
        }
        let effects = fabric
            .switch
            .config_write(port(me), CMDSTS as u16, &[0x06, 0x04]);
        fabric.apply(effects);

        let mut idt = Self::scan_ports(fabric, me);
        idt.init_link(fabric);
        idt.windows = scan_mws(fabric, me, idt.chip_port);
        // idt_init_temp(), then idt_init_isr().
        fabric.sw_write(me, SW_TMPCTL, 0);
        let effects = fabric
            .switch
            .config_write(port(me), MSI as u16 + 2, &[1, 0]);
        fabric.apply(effects);
        let mask = fabric.nt_read(me, NTINTMSK) & !INT_ALL;
        fabric.nt_write(me, NTINTMSK, mask);
        idt
    }

    fn scan_ports(fabric: &mut Fabric, me: u8) -> Self {
        let chip_port = fabric.nt_read(me, 0x4c) >> 24;
        let status =
            |fabric: &mut Fabric, chip_port| fabric.sw_read(me, SW_SWPORTSTS + 0x20 * chip_port);
        let partition = (status(fabric, chip_port) >> 10) & 7;
        let mut peers = Vec::new();
        for other in CHIP_PORTS.into_iter().filter(|other| *other != chip_port) {
            let sts = status(fabric, other);
            let part = (sts >> 10) & 7;
            let active = fabric.sw_read(me, SW_SWPARTSTS + 0x20 * part) & 0x60 == 0x20;
            if active && matches!(sts & 0x3c0, 0xc0 | 0x100 | 0x1c0 | 0x200) {
                peers.push(Peer {
                    chip_port: other,
                    partition: part,
                });
            }
        }
        Self {
            me,
            chip_port,
            partition,
            peers,
            windows: Vec::new(),
        }
    }

    fn init_link(&self, fabric: &mut Fabric) {
        let mut port_mask = !(1 << self.chip_port);
        let mut part_mask = !(1 << self.partition);
        for peer in &self.peers {
            port_mask &= !(1 << peer.chip_port);
            part_mask &= !(1 << peer.partition);
        }
        for (register, value) in [
            (SW_SELINKUPSTS, !0),
            (SW_SELINKDNSTS, !0),
            (SW_SEGSIGSTS, !0),
            (SW_SEPMSK, part_mask),
            (SW_SELINKUPMSK, port_mask),
            (SW_SELINKDNMSK, port_mask),
            (SW_SEGSIGMSK, part_mask),
            (SW_SEMSK, !0x23),
        ] {
            fabric.sw_write(self.me, register, value);
        }
    }

    /// idt_ntb_local_link_enable().
    pub fn link_enable(&self, fabric: &mut Fabric) {
        fabric.nt_write(self.me, NTCTL, 0x2);
        let reqid = fabric.nt_read(self.me, REQIDCAP);
        fabric.nt_write(self.me, NTMTBLADDR, self.partition);
        fabric.nt_write(
            self.me,
            NTMTBLDATA,
            (reqid << 1) | (self.partition << 17) | 1,
        );
        self.signal(fabric);
    }

    /// idt_ntb_local_link_disable().
    pub fn link_disable(&self, fabric: &mut Fabric) {
        fabric.nt_write(self.me, NTCTL, 0);
        fabric.nt_write(self.me, NTMTBLADDR, self.partition);
        fabric.nt_write(self.me, NTMTBLDATA, 0);
        self.signal(fabric);
    }

    fn signal(&self, fabric: &mut Fabric) {
        fabric.nt_write(self.me, NTGSIGNAL, 1);
        fabric.sw_write(self.me, SW_SEGSIGSTS, 1 << self.partition);
    }

    /// idt_ntb_link_is_up(): bit per peer.
    pub fn link_is_up(&self, fabric: &mut Fabric) -> u64 {
        let admitted = |fabric: &mut Fabric, partition| {
            fabric.nt_write(self.me, NTMTBLADDR, partition);
            fabric.nt_read(self.me, NTMTBLDATA) & 1 != 0
        };
        if fabric.nt_read(self.me, CMDSTS) & 4 == 0
            || fabric.nt_read(self.me, NTCTL) & 2 == 0
            || !admitted(fabric, self.partition)
        {
            return 0;
        }
        let mut up = 0;
        for (index, peer) in self.peers.iter().enumerate() {
            let linked = fabric.sw_read(self.me, SW_SWPORTSTS + 0x20 * peer.chip_port) & 0x10 != 0;
            let master = fabric.sw_read(self.me, alias(peer.chip_port, CMDSTS)) & 4 != 0;
            let completes = fabric.sw_read(self.me, alias(peer.chip_port, NTCTL)) & 2 != 0;
            if linked && master && completes && admitted(fabric, peer.partition) {
                up |= 1 << index;
            }
        }
        up
    }

    fn peer(&self, partition: u32) -> Peer {
        *self
            .peers
            .iter()
            .find(|peer| peer.partition == partition)
            .expect("a peer")
    }

    /// idt_ntb_peer_msg_write() to a partition.
    pub fn msg_write(&self, fabric: &mut Fabric, partition: u32, midx: u32, value: u32) {
        let control = midx | (self.peer(partition).partition << 4);
        fabric.sw_write(
            self.me,
            SW_MSGCTL + 0x20 * midx + 4 * self.partition,
            control,
        );
        fabric.nt_write(self.me, OUTMSG + 4 * midx, value);
    }

    /// idt_ntb_msg_read(): source partition and value.
    pub fn msg_read(&self, fabric: &mut Fabric, midx: u32) -> (u32, u32) {
        let source = fabric.nt_read(self.me, INMSGSRC + 4 * midx);
        (source, fabric.nt_read(self.me, INMSG + 4 * midx))
    }

    /// idt_ntb_peer_mw_set_trans().
    pub fn set_trans(
        &self,
        fabric: &mut Fabric,
        partition: u32,
        widx: usize,
        addr: u64,
        size: u64,
    ) {
        let mw = self.windows[widx];
        assert!(size <= mw.size);
        if mw.direct {
            let base = BARSETUP + 16 * mw.bar;
            let setup = fabric.nt_read(self.me, base);
            fabric.nt_write(self.me, base, setup & !0xe000 | (partition << 13));
            fabric.nt_write(self.me, base + 8, addr as u32);
            fabric.nt_write(self.me, base + 12, (addr >> 32) as u32);
            let limit = self.bar_address(fabric, mw.bar) + size;
            fabric.nt_write(self.me, base + 4, limit as u32);
            fabric.nt_write(self.me, base + 20, (limit >> 32) as u32);
        } else {
            fabric.nt_write(self.me, LUTOFFSET, mw.index | (mw.bar << 8));
            fabric.nt_write(self.me, LUTLDATA, addr as u32);
            fabric.nt_write(self.me, LUTMDATA, (addr >> 32) as u32);
            fabric.nt_write(self.me, LUTUDATA, partition | (1 << 31));
        }
    }

    /// idt_ntb_peer_mw_clear_trans().
    pub fn clear_trans(&self, fabric: &mut Fabric, widx: usize) {
        let mw = self.windows[widx];
        if mw.direct {
            fabric.nt_write(self.me, BARSETUP + 16 * mw.bar + 4, 0);
            fabric.nt_write(self.me, BARSETUP + 16 * mw.bar + 20, 0);
        } else {
            fabric.nt_write(self.me, LUTOFFSET, mw.index | (mw.bar << 8));
            for register in [LUTLDATA, LUTMDATA, LUTUDATA] {
                fabric.nt_write(self.me, register, 0);
            }
        }
    }

    fn bar_address(&self, fabric: &mut Fabric, bar: u32) -> u64 {
        let low = fabric.nt_read(self.me, 0x10 + 4 * bar) & !0xf;
        (u64::from(fabric.nt_read(self.me, 0x14 + 4 * bar)) << 32) | u64::from(low)
    }
}

/// idt_scan_mws() of any port.
pub fn scan_mws(fabric: &mut Fabric, me: u8, chip_port: u32) -> Vec<Mw> {
    let mut all = Vec::new();
    let mut bar = 0;
    while bar < 6 {
        let setup = fabric.sw_read(me, alias(chip_port, BARSETUP + 16 * bar));
        let this = bar;
        bar += 1;
        if setup & (1 << 31) == 0 {
            continue;
        }
        if setup & 6 == 4 {
            bar += 1;
        }
        if setup & 0x400 != 0 {
            continue;
        }
        let aperture = 1u64 << ((setup >> 4) & 0x3f);
        let (count, size) = match (setup >> 11) & 3 {
            0 => (1, aperture),
            1 => (12, aperture / 16),
            2 => (24, aperture / 32),
            other => panic!("address translation {other}"),
        };
        let direct = (setup >> 11) & 3 == 0;
        all.extend((0..count).map(|index| Mw {
            direct,
            bar: this,
            index,
            size,
        }));
    }
    assert!(all.len() <= 29);
    all
}
