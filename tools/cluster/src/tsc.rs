// SPDX-License-Identifier: GPL-2.0
//! The frequency of the host's time stamp counter, which is also that of emulated CPUs.
//!
//! A guest would calibrate it against an emulated timer, and on a loaded host be wrong by half: all its clocks and time
//! limits with it. Measured once, then kept.

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

/// Long against the uncertainty of a sample, some tenths of a microsecond.
const SPAN: Duration = Duration::from_millis(20);

/// Readings of which the least disturbed one counts.
const TRIES: usize = 50;

static KHZ: LazyLock<u64> = LazyLock::new(measure);

/// The frequency in kHz.
pub(crate) fn khz() -> u64 {
    *KHZ
}

/// The clock and the counter at the same time, as nearly as can be had.
fn sample() -> (Instant, u64) {
    let reading = || {
        let before = Instant::now();
        // SAFETY: every x86-64 CPU has the instruction; it reads a counter and changes nothing.
        let counter = unsafe { std::arch::x86_64::_rdtsc() };
        (before.elapsed(), before, counter)
    };
    let first = reading();
    let best = (1..TRIES).map(|_| reading()).fold(
        first,
        |best, next| if next.0 < best.0 { next } else { best },
    );
    (best.1, best.2)
}

fn measure() -> u64 {
    let (begin, from) = sample();
    thread::sleep(SPAN);
    let (end, to) = sample();
    let nanos = end.duration_since(begin).as_nanos().max(1);
    u64::try_from(u128::from(to.saturating_sub(from)) * 1_000_000 / nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_agree() {
        let (one, other) = (measure(), measure());
        assert!(one > 100_000, "{one} kHz");
        assert!(one.abs_diff(other) < one / 500, "{one} and {other} kHz");
    }
}
