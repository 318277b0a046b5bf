// SPDX-License-Identifier: GPL-2.0
//! What is shown: tables of nodes and counters, outputs of several nodes. Pure but for asking the cluster.

use std::collections::BTreeMap;
use std::fmt::Write;

use ntb_switch::control::Counters;
use skiff_cluster::{Cluster, Node, Output};

use crate::Failure;

/// The nodes and how to reach them.
pub fn nodes(cluster: &Cluster) -> String {
    let mut text = format!(
        "{:<5} {:<10} {:<8} {:>7} {:>8} {:>7}  {}\n",
        "node", "kernel", "ports", "memory", "pid", "boot", "from another terminal"
    );
    for node in cluster.nodes() {
        let ports: Vec<String> = node.ports().iter().map(u8::to_string).collect();
        let pid = node.pid().map_or("-".to_owned(), |pid| pid.to_string());
        let _ = writeln!(
            text,
            "{:<5} {:<10} {:<8} {:>5} M {:>8} {:>5.1} s  {}",
            node.index(),
            node.kernel(),
            if ports.is_empty() {
                "-".to_owned()
            } else {
                ports.join(",")
            },
            node.memory_mib(),
            pid,
            node.boot_time().as_secs_f32(),
            attach(node),
        );
    }
    let _ = writeln!(
        text,
        "run directory with logs: {}",
        cluster.run_dir().display()
    );
    text
}

fn attach(node: &Node) -> String {
    let program = match std::env::var_os("SKIFF_IN_ROOT") {
        Some(_) => "scripts/in-root scripts/tool cluster",
        None => "cluster",
    };
    format!("{program} shell {}", node.index())
}

/// What a command wrote, each line after its node's number if there are several nodes.
pub fn output(output: &Output, nodes: usize) -> String {
    let text = output.stdout_text().into_owned() + &output.stderr_text();
    let mut shown = String::new();
    for line in text.lines() {
        let _ = match nodes {
            0 | 1 => writeln!(shown, "{line}"),
            _ => writeln!(shown, "{}: {line}", output.node),
        };
    }
    if !output.status.success() {
        let _ = writeln!(shown, "node {}: {}", output.node, output.status);
    }
    shown
}

/// The counters that are not 0, a column for each port.
///
/// # Errors
/// When they are not what a table can show.
pub fn counters(counters: &BTreeMap<u8, Counters>) -> Result<String, Failure> {
    let mut rows: BTreeMap<String, BTreeMap<u8, u64>> = BTreeMap::new();
    for (port, counters) in counters {
        let serde_json::Value::Object(values) = serde_json::to_value(counters)? else {
            return Err("counters are no table".into());
        };
        for (name, value) in values {
            rows.entry(name)
                .or_default()
                .insert(*port, value.as_u64().unwrap_or_default());
        }
    }
    rows.retain(|_, values| values.values().any(|value| *value > 0));
    let mut text = format!("{:<26}", "counter");
    for port in counters.keys() {
        let _ = write!(text, " {:>12}", format!("port {port}"));
    }
    text.push('\n');
    for (name, values) in rows {
        let _ = write!(text, "{name:<26}");
        for value in values.values() {
            let _ = write!(text, " {value:>12}");
        }
        text.push('\n');
    }
    Ok(text)
}
