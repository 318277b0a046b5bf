// SPDX-License-Identifier: GPL-2.0
//! The chip's temperature sensor: a constant 45 degrees, adjustable; one for the switch.
//!
//! Source: IDT_SW_TMPCTL and following of drivers/ntb/hw/idt/ntb_hw_idt.h. Values are half degrees Celsius.

use super::lanes::Lanes;

/// IDT_SW_TMPCTL: thresholds, and bit 31 powers the sensor down.
pub(super) const TMPCTL: u32 = 0x3f1d4;
const TMPCTL_PDOWN: u32 = 1 << 31;
/// IDT_SW_TMPSTS: current, lowest and highest temperature.
const TMPSTS: u32 = 0x3f1d8;
/// IDT_SW_TMPALARM: lowest and highest since the last reset of the history; bits 29:24 alarms.
const TMPALARM: u32 = 0x3f1dc;
const TMPALARM_WRITABLE: u32 = 0x00ff_ff00;
/// IDT_SW_TMPADJ: signed offset.
const TMPADJ: u32 = 0x3f1e0;
/// IDT_SW_TSSLOPE.
pub(super) const TSSLOPE: u32 = 0x3f1e4;
/// 45 degrees.
const TEMPERATURE: u8 = 90;

/// The sensor.
#[derive(Clone, Debug)]
pub(super) struct Sensor {
    control: u32,
    alarm: u32,
    adjustment: u32,
    slope: u32,
}

impl Sensor {
    /// Powered down, as after a reset of the switch.
    pub(super) fn new() -> Self {
        Self {
            control: TMPCTL_PDOWN,
            alarm: 0,
            adjustment: 0,
            slope: 0,
        }
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        match offset {
            TMPCTL => self.control,
            TMPSTS if self.control & TMPCTL_PDOWN != 0 => 0,
            TMPSTS => {
                let adjustment = self.adjustment as u8 as i8;
                let now = u32::from(TEMPERATURE.saturating_add_signed(adjustment));
                now | (now << 8) | (now << 16)
            }
            TMPALARM => self.alarm,
            TMPADJ => self.adjustment,
            TSSLOPE => self.slope,
            _ => 0,
        }
    }

    pub(super) fn write(&mut self, offset: u32, lanes: Lanes) {
        match offset {
            TMPCTL => self.control = lanes.merge(self.control, !0),
            TMPALARM => self.alarm = lanes.merge(self.alarm, TMPALARM_WRITABLE),
            TMPADJ => self.adjustment = lanes.merge(self.adjustment, 0xff),
            TSSLOPE => self.slope = lanes.merge(self.slope, !0),
            _ => {}
        }
    }
}
