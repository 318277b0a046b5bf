// SPDX-License-Identifier: GPL-2.0
//! Byte lanes of a register write, and accesses of any alignment cut into registers; plain values.

/// Bytes of a register.
pub(super) const REGISTER: u32 = 4;

/// A write to one 32-bit register of which only some bytes may be enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lanes {
    value: u32,
    mask: u32,
}

impl Lanes {
    /// A write of all four bytes.
    pub(super) const fn full(value: u32) -> Self {
        Self {
            value,
            mask: u32::MAX,
        }
    }

    /// The bits that are written as ones: for registers where a one clears or sets.
    pub(super) const fn ones(self) -> u32 {
        self.value & self.mask
    }

    /// The new value of a register of which `writable` bits can be written.
    pub(super) const fn merge(self, old: u32, writable: u32) -> u32 {
        let mask = self.mask & writable;
        (old & !mask) | (self.value & mask)
    }
}

/// Reads bytes from registers; `register` gets multiples of four.
pub(super) fn read(offset: u32, data: &mut [u8], mut register: impl FnMut(u32) -> u32) {
    let mut current = None;
    for (byte, at) in data.iter_mut().zip(u64::from(offset)..) {
        let aligned = at - at % u64::from(REGISTER);
        let value = match (current, u32::try_from(aligned)) {
            (Some((have, value)), _) if have == aligned => value,
            (_, Ok(aligned)) => register(aligned),
            (_, Err(_)) => u32::MAX,
        };
        current = Some((aligned, value));
        *byte = value.to_le_bytes()[(at - aligned) as usize];
    }
}

/// Writes bytes to registers, ascending, with their lanes; `register` gets multiples of four.
pub(super) fn write(offset: u32, data: &[u8], mut register: impl FnMut(u32, Lanes)) {
    let mut rest = data;
    let mut at = u64::from(offset);
    while !rest.is_empty() {
        let lane = (at % u64::from(REGISTER)) as usize;
        let aligned = at - lane as u64;
        let (now, later) = rest.split_at(rest.len().min(REGISTER as usize - lane));
        let mut value = [0; REGISTER as usize];
        let mut mask = [0; REGISTER as usize];
        value[lane..lane + now.len()].copy_from_slice(now);
        mask[lane..lane + now.len()].fill(u8::MAX);
        if let Ok(aligned) = u32::try_from(aligned) {
            let lanes = Lanes {
                value: u32::from_le_bytes(value),
                mask: u32::from_le_bytes(mask),
            };
            register(aligned, lanes);
        }
        at += now.len() as u64;
        rest = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_of_every_alignment() {
        for offset in 0..8u32 {
            for len in 0..10usize {
                let data: Vec<u8> = (1..=len as u8).collect();
                let mut memory = [0u8; 32];
                write(offset, &data, |at, lanes| {
                    let at = at as usize;
                    let old = u32::from_le_bytes(memory[at..at + 4].try_into().unwrap());
                    let new = lanes.merge(old, u32::MAX);
                    memory[at..at + 4].copy_from_slice(&new.to_le_bytes());
                });
                let from = offset as usize;
                assert_eq!(&memory[from..from + len], &data[..]);
                assert!(memory[..from]
                    .iter()
                    .chain(&memory[from + len..])
                    .all(|byte| *byte == 0));

                let mut back = vec![0; len];
                read(offset, &mut back, |at| {
                    u32::from_le_bytes(memory[at as usize..at as usize + 4].try_into().unwrap())
                });
                assert_eq!(back, data);
            }
        }
    }

    #[test]
    fn a_disabled_lane_neither_clears_nor_changes() {
        let mut seen = Vec::new();
        write(2, &[0xff], |at, lanes| seen.push((at, lanes)));
        let (at, lanes) = seen[0];
        assert_eq!((at, seen.len()), (0, 1));
        assert_eq!(lanes.ones(), 0x00ff_0000);
        assert_eq!(lanes.merge(0x1234_5678, 0xffff_0fff), 0x12ff_5678);
    }
}
