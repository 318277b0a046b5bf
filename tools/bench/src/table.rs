// SPDX-License-Identifier: GPL-2.0
//! Results as Markdown tables.

use crate::measure::Access;
use crate::measure::Boot;
use crate::measure::Copy;

fn micros(ns: f64) -> String {
    format!("{:.2}", ns / 1000.0)
}

fn size(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 20 => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 => format!("{} KiB", b >> 10),
        b => format!("{b} B"),
    }
}

/// Copies; the ratio is the window's speed over RAM's.
pub fn copies(rows: &[Copy]) -> String {
    let mut text = String::from(
        "\n## memcpy through a mapped window\n\nRatios: speed through the window over RAM to RAM in the same node.\n\n\
         | layout | size | RAM, MB/s | stores, ratio | loads, ratio |\n|---|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let speed = row.size as f64 * 1000.0 / row.local;
        text += &format!(
            "| {} | {} | {speed:.0} | {:.2} | {:.2} |\n",
            row.layout,
            size(row.size),
            row.local / row.store,
            row.local / row.load
        );
    }
    text
}

/// Single operations.
pub fn accesses(rows: &[Access]) -> String {
    let mut text = String::from(
        "\n## Single operations\n\nMicroseconds. A slot is four register writes and the new view of the window; a doorbell \
         round trip is two doorbells and the polling of both. The device window is always trapped.\n\n\
         | layout | memory window | load | store | device window load | store | slot | doorbell round trip |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let times = [
            row.load,
            row.store,
            row.device_load,
            row.device_store,
            row.slot,
            row.doorbell,
        ];
        let cells = times.map(micros).join(" | ");
        text += &format!("| {} | {} | {cells} |\n", row.layout, row.windows);
    }
    text
}

/// Boot times.
pub fn boots(rows: &[Boot]) -> String {
    let base = rows.first().map_or(f64::NAN, |row| row.seconds);
    let mut text = String::from("\n## Boot\n\n| nodes | seconds | ratio |\n|---:|---:|---:|\n");
    for row in rows {
        text += &format!(
            "| {} | {:.1} | {:.2} |\n",
            row.nodes,
            row.seconds,
            row.seconds / base
        );
    }
    text
}
