// SPDX-License-Identifier: GPL-2.0
//! Bulk accesses to shared memory: naturally aligned there, 16 bytes wide where that is possible.
//!
//! Whole 64-byte lines are moved with four 16-byte accesses: stores fill a write-combining
//! buffer and leave as one burst; streaming loads fetch a line of write-combining memory at
//! once. What is before and behind whole lines is moved in words.

use std::arch::asm;
use std::arch::is_x86_feature_detected;

/// What a write-combining buffer holds, in bytes.
const LINE: usize = 64;

/// Widest naturally aligned word at the address `at` with `left` bytes left: 1, 2, 4 or 8.
#[inline]
fn width(at: usize, left: usize) -> usize {
    // PANIC: a shift by at most 3.
    let by_place = 1 << at.trailing_zeros().min(3);
    let by_rest = 1 << left.ilog2().min(3);
    by_place.min(by_rest)
}

/// Bytes before the first whole line, and bytes of whole lines.
#[inline]
fn split(at: usize, len: usize) -> (usize, usize) {
    let head = at.wrapping_neg() % LINE;
    if len < head + LINE {
        return (len, 0);
    }
    (head, (len - head) / LINE * LINE)
}

/// Copies shared memory to private memory.
///
/// # Safety
///
/// `to.len()` bytes at `from` may be read.
pub(super) unsafe fn out(from: *const u8, to: &mut [u8]) {
    let (head, body) = split(from.addr(), to.len());
    let (first, rest) = to.split_at_mut(head);
    let (lines, last) = rest.split_at_mut(body);
    // SAFETY: the first part of the caller's range.
    unsafe { words_out(from, first) };
    // SAFETY: the second part, whole lines that begin where a line begins.
    unsafe { lines_out(from.wrapping_add(head), lines) };
    // SAFETY: the last part.
    unsafe { words_out(from.wrapping_add(head + body), last) };
}

/// Copies private memory to shared memory.
///
/// # Safety
///
/// `from.len()` bytes at `to` may be written.
pub(super) unsafe fn into(from: &[u8], to: *mut u8) {
    let (head, body) = split(to.addr(), from.len());
    let (first, rest) = from.split_at(head);
    let (lines, last) = rest.split_at(body);
    // SAFETY: the first part of the caller's range.
    unsafe { words_into(first, to) };
    // SAFETY: the second part, whole lines that begin where a line begins.
    unsafe { lines_into(lines, to.wrapping_add(head)) };
    // SAFETY: the last part.
    unsafe { words_into(last, to.wrapping_add(head + body)) };
}

/// Sets shared memory to one byte.
///
/// # Safety
///
/// `len` bytes at `to` may be written.
pub(super) unsafe fn fill(to: *mut u8, len: usize, value: u8) {
    let pattern = u64::from_ne_bytes([value; 8]);
    let mut done = 0;
    while done < len {
        let at = to.wrapping_add(done);
        let step = width(at.addr(), len - done);
        // SAFETY: `step` bytes are left, and `at` is aligned to that.
        unsafe { store(at, pattern, step) };
        done += step;
    }
}

/// Orders stores, also those of write-combining memory.
#[inline]
pub(super) fn fence() {
    // SAFETY: it has no condition; SSE2 belongs to the architecture.
    unsafe { std::arch::x86_64::_mm_sfence() };
}

/// Loads a word of `width` bytes, the others being zero.
///
/// # Safety
///
/// `width` bytes at `at`, which is aligned to them, may be read.
#[inline]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one of them is executed"
)]
unsafe fn load(at: *const u8, width: usize) -> u64 {
    // SAFETY: the caller promises range and alignment.
    unsafe {
        match width {
            8 => at.cast::<u64>().read_volatile(),
            4 => at.cast::<u32>().read_volatile().into(),
            2 => at.cast::<u16>().read_volatile().into(),
            _ => at.read_volatile().into(),
        }
    }
}

/// Stores the low `width` bytes of `value`.
///
/// # Safety
///
/// `width` bytes at `at`, which is aligned to them, may be written.
#[inline]
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one of them is executed"
)]
unsafe fn store(at: *mut u8, value: u64, width: usize) {
    // CAST: the low bytes are meant.
    // SAFETY: the caller promises range and alignment.
    unsafe {
        match width {
            8 => at.cast::<u64>().write_volatile(value),
            4 => at.cast::<u32>().write_volatile(value as u32),
            2 => at.cast::<u16>().write_volatile(value as u16),
            _ => at.write_volatile(value as u8),
        }
    }
}

/// Copies shared memory to private memory in words that are aligned in shared memory.
///
/// # Safety
///
/// As for [`out`].
unsafe fn words_out(from: *const u8, mut to: &mut [u8]) {
    let mut at = from;
    while !to.is_empty() {
        let step = width(at.addr(), to.len());
        // SAFETY: `step` bytes are left, and `at` is aligned to that.
        let word = unsafe { load(at, step) }.to_le_bytes();
        let (now, later) = to.split_at_mut(step);
        now.copy_from_slice(&word[..step]);
        to = later;
        at = at.wrapping_add(step);
    }
}

/// Copies private memory to shared memory in words that are aligned in shared memory.
///
/// # Safety
///
/// As for [`into`].
unsafe fn words_into(mut from: &[u8], to: *mut u8) {
    let mut at = to;
    while !from.is_empty() {
        let step = width(at.addr(), from.len());
        let (now, later) = from.split_at(step);
        let mut word = [0; 8];
        word[..step].copy_from_slice(now);
        // SAFETY: `step` bytes are left, and `at` is aligned to that.
        unsafe { store(at, u64::from_le_bytes(word), step) };
        from = later;
        at = at.wrapping_add(step);
    }
}

/// Copies whole lines of shared memory to private memory.
///
/// # Safety
///
/// - As for [`out`].
/// - `to.len()` is a multiple of [`LINE`], and `from` of 16.
unsafe fn lines_out(from: *const u8, to: &mut [u8]) {
    if to.is_empty() {
        return;
    }
    /// One loop over all lines, with the given load instruction.
    macro_rules! lines {
        ($load:literal) => {
            asm!(
                "2:",
                concat!($load, " {a}, [{from}]"),
                concat!($load, " {b}, [{from} + 16]"),
                concat!($load, " {c}, [{from} + 32]"),
                concat!($load, " {d}, [{from} + 48]"),
                "movdqu [{to}], {a}",
                "movdqu [{to} + 16], {b}",
                "movdqu [{to} + 32], {c}",
                "movdqu [{to} + 48], {d}",
                "add {from}, 64",
                "add {to}, 64",
                "sub {left}, 64",
                "jnz 2b",
                from = inout(reg) from => _,
                to = inout(reg) to.as_mut_ptr() => _,
                left = inout(reg) to.len() => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack),
            )
        };
    }
    if is_x86_feature_detected!("sse4.1") {
        // SAFETY: the loop moves `to.len()` bytes, which is not zero, between the two places.
        unsafe { lines!("movntdqa") };
    } else {
        // SAFETY: as above.
        unsafe { lines!("movdqa") };
    }
}

/// Copies whole lines of private memory to shared memory.
///
/// # Safety
///
/// - As for [`into`].
/// - `from.len()` is a multiple of [`LINE`], and `to` of 16.
unsafe fn lines_into(from: &[u8], to: *mut u8) {
    if from.is_empty() {
        return;
    }
    // SAFETY: the loop moves `from.len()` bytes, which is not zero, between the two places.
    unsafe {
        asm!(
            "2:",
            "movdqu {a}, [{from}]",
            "movdqu {b}, [{from} + 16]",
            "movdqu {c}, [{from} + 32]",
            "movdqu {d}, [{from} + 48]",
            "movdqa [{to}], {a}",
            "movdqa [{to} + 16], {b}",
            "movdqa [{to} + 32], {c}",
            "movdqa [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "sub {left}, 64",
            "jnz 2b",
            from = inout(reg) from.as_ptr() => _,
            to = inout(reg) to => _,
            left = inout(reg) from.len() => _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
}
