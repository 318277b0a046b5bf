// SPDX-License-Identifier: GPL-2.0
//! Results as SVG.

use std::path::Path;

use anyhow::anyhow;
use anyhow::Result;
use plotters::prelude::*;

use crate::measure::Boot;
use crate::measure::Copy;
use crate::share::ShareCopy;
use skiff_cluster::Layout;

const SIZE: (u32, u32) = (800, 420);

/// Speed ratios of one layout, by size.
struct Ratios<'a> {
    title: &'a str,
    rows: Vec<(Layout, u64, [f64; 2])>,
}

/// Speed through the window over RAM's, by size.
pub fn copies(rows: &[Copy], path: &Path) -> Result<()> {
    let ratios = Ratios {
        title: "memcpy through a mapped window over RAM to RAM",
        rows: rows
            .iter()
            .map(|row| {
                let ratio = [row.local / row.store, row.local / row.load];
                (row.layout, row.size, ratio)
            })
            .collect(),
    };
    draw_ratios(&ratios, path).map_err(|cause| anyhow!("cannot draw {}: {cause}", path.display()))
}

/// Speed through a map of skiff.ko over the bare window's, by size.
pub fn share_copies(rows: &[ShareCopy], path: &Path) -> Result<()> {
    let ratios = Ratios {
        title: "memcpy through a map of skiff.ko over the bare window",
        rows: rows
            .iter()
            .map(|row| {
                let ratio = [row.store.speed, row.load.speed];
                (row.layout, row.size, ratio)
            })
            .collect(),
    };
    draw_ratios(&ratios, path).map_err(|cause| anyhow!("cannot draw {}: {cause}", path.display()))
}

fn draw_ratios(ratios: &Ratios<'_>, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let all = ratios.rows.iter().flat_map(|(_, _, ratio)| *ratio);
    let top = all.fold(1.2, f64::max) * 1.1;
    let sizes = ratios.rows.iter().map(|(_, size, _)| *size);
    let last = sizes.max().unwrap_or(1) as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption(ratios.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d((32.0..last * 2.0).log_scale(), 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc("bytes a copy")
        .y_desc("speed ratio")
        .draw()?;
    let series = [
        (Layout::Chip, 0, RED),
        (Layout::Chip, 1, BLUE),
        (Layout::Companion, 0, MAGENTA),
        (Layout::Companion, 1, GREEN),
    ];
    for (layout, which, color) in series {
        let points: Vec<(f64, f64)> = ratios
            .rows
            .iter()
            .filter(|row| row.0 == layout)
            .map(|(_, size, ratio)| (*size as f64, ratio[which]))
            .collect();
        let name = format!("{layout}, {}", ["stores", "loads"][which]);
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

/// Boot time by number of nodes.
pub fn boots(rows: &[Boot], path: &Path) -> Result<()> {
    draw_boots(rows, path).map_err(|cause| anyhow!("cannot draw {}: {cause}", path.display()))
}

fn draw_boots(rows: &[Boot], path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let top = rows.iter().map(|row| row.seconds).fold(1.0, f64::max) * 1.1;
    let last = rows.iter().map(|row| row.nodes).max().unwrap_or(1) as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption("Boot of a cluster", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..last + 1.0, 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc("nodes")
        .y_desc("seconds")
        .draw()?;
    let points: Vec<(f64, f64)> = rows
        .iter()
        .map(|row| (row.nodes as f64, row.seconds))
        .collect();
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)).point_size(4))?;
    area.present()?;
    Ok(())
}
