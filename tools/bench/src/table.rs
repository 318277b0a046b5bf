// SPDX-License-Identifier: GPL-2.0
//! Results as Markdown tables.

use crate::measure::Access;
use crate::measure::Boot;
use crate::measure::Copy;
use crate::share::Connect;
use crate::share::PingPong;
use crate::share::ShareCopy;
use crate::share::Whose;

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

/// Copies through maps of skiff.ko.
pub fn share_copies(rows: &[ShareCopy]) -> String {
    let mut text = String::from(
        "\n## Copies through a map of skiff.ko\n\nRatios: speed through the map over speed through the bare window, the \
         same memory through the same slot, right after each other; medians of the ratios. The goal is 0.95 and more.\n\n\
         | layout | size | stores, MB/s | stores, ratio | loads, MB/s | loads, ratio |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let speed = |ns: f64| row.size as f64 * 1000.0 / ns;
        text += &format!(
            "| {} | {} | {:.0} | {:.2} | {:.0} | {:.2} |\n",
            row.layout,
            size(row.size),
            speed(row.store.map),
            row.store.speed,
            speed(row.load.map),
            row.load.speed
        );
    }
    text
}

/// Eight bytes there and back.
pub fn ping_pongs(rows: &[PingPong]) -> String {
    let mut text = String::from(
        "\n## Ping-pong of 8 bytes\n\nEach node stores to the other one's memory and polls its own. Ratio: time through two \
         maps over time through two bare windows; the goal is 1.05 and less.\n\n\
         | layout | maps, µs | bare, µs | ratio |\n|---|---:|---:|---:|\n",
    );
    for row in rows {
        text += &format!(
            "| {} | {} | {} | {:.3} |\n",
            row.layout,
            micros(row.turn.map),
            micros(row.turn.bare),
            1.0 / row.turn.speed
        );
    }
    text
}

/// Connecting among few and many segments.
pub fn connects(rows: &[Connect]) -> String {
    let mut text = String::from(
        "\n## Connect and map\n\nOne page. A peer's segment in microseconds, which hold the peer's time; the own node's in \
         thousands of instructions of its CPU, the library's included, counted by QEMU (`-icount`). Ratio: connect and map \
         with as many other segments over the same with the fewest; the goal is 1.2 and less, in instructions.\n\n\
         | segment | other segments | connect | map and first load | unmap | disconnect | ratio |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let cost = |row: &Connect| row.parts[0] + row.parts[1];
        let base = rows
            .iter()
            .find(|first| first.whose == row.whose)
            .map_or(f64::NAN, cost);
        let name = match row.whose {
            Whose::Peer => "a peer's, µs",
            Whose::Own => "own node's, k instructions",
        };
        let cells = row
            .parts
            .map(|part| format!("{:.1}", part / 1000.0))
            .join(" | ");
        text += &format!(
            "| {name} | {} | {cells} | {:.2} |\n",
            row.crowd,
            cost(row) / base
        );
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
