// SPDX-License-Identifier: GPL-2.0
//! The results as Markdown.

use super::Figure;
use super::Row;
use super::Way;

/// Operations and time, or bytes a second.
fn cell(row: &Row, figure: &Figure) -> String {
    if row.load.size > 4 << 10 {
        format!("{:.0} MB/s", figure.rate * row.load.size as f64 / 1e6)
    } else {
        format!("{:.0} ({:.0} µs)", figure.rate, figure.micros)
    }
}

fn name(row: &Row) -> String {
    format!(
        "{} of {} KiB, depth {}",
        row.load.name,
        row.load.size >> 10,
        row.load.depth
    )
}

fn of(row: &Row, way: Way) -> Option<&Figure> {
    let at = Way::ALL.iter().position(|other| *other == way)?;
    row.figures.get(at)
}

/// Which ways are compared: the one, and what it is put over.
const RATIOS: &[(Way, Way)] = &[
    (Way::Borrowed, Way::Home),
    (Way::BorrowedPolled, Way::HomePolled),
    (Way::Borrowed, Way::Tcp),
];

fn line(cells: impl IntoIterator<Item = String>) -> String {
    let cells: Vec<String> = cells.into_iter().collect();
    format!("| {} |\n", cells.join(" | "))
}

fn speeds(rows: &[Row]) -> String {
    let ratio = |(one, other): &(Way, Way)| format!("{} / {}", one.name(), other.name());
    let mut text = line(
        ["load".to_owned()]
            .into_iter()
            .chain(Way::ALL.iter().map(|way| way.name().to_owned()))
            .chain(RATIOS.iter().map(ratio)),
    );
    text += &line(
        ["---".to_owned()]
            .into_iter()
            .chain((0..Way::ALL.len() + RATIOS.len()).map(|_| "---:".to_owned())),
    );
    for row in rows {
        let ratios = RATIOS.iter().map(|(one, other)| {
            let rate = |way| of(row, way).map_or(f64::NAN, |figure| figure.rate);
            format!("{:.2}", rate(*one) / rate(*other))
        });
        text += &line(
            [name(row)]
                .into_iter()
                .chain(row.figures.iter().map(|figure| cell(row, figure)))
                .chain(ratios),
        );
    }
    text
}

fn times(rows: &[Row]) -> String {
    let mut text = String::from(
        "| load | way | guest busy | its CPU | its QEMU | CPU at home | QEMU at home | switch |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        for (way, figure) in Way::ALL.iter().zip(&row.figures) {
            let parts = figure.used.map(|micros| format!("{micros:.1}"));
            text += &line(
                [
                    name(row),
                    way.name().to_owned(),
                    format!("{:.0} %", figure.busy * 100.0),
                ]
                .into_iter()
                .chain(parts),
            );
        }
    }
    text
}

/// Both tables.
pub fn page(rows: &[Row]) -> String {
    format!(
        "\n## An NVMe drive, at home and from another node\n\nOperations a second and the median time of one. Companion layout, \
         one processor a node, an image file of {} MiB behind each drive; what the drives hold is in the host's page cache. The goals: borrowed at least 0.9 of at home at depth 32, 0.75 at depth 1, 3 times NVMe/TCP.\n\n{}\n\
         Where the time goes: the busy part of the working node's processor, and microseconds of the host's processors that \
         one operation takes. A node that polls is always busy.\n\n{}",
        super::BYTES >> 20,
        speeds(rows),
        times(rows)
    )
}
