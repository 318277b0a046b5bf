// SPDX-License-Identifier: GPL-2.0
//! What skiff.ko shows of itself: tracepoints with their fields, debugfs, fdinfo.

use std::collections::BTreeMap;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use ntb_switch::control::LinkState;
use skiff_cluster::Builder;
use skiff_cluster::Node;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::guest::number;
use crate::share;
use crate::share::Actor;
use crate::share::RemoteInfo;
use crate::share::Revoked;
use crate::share::PAGE;

/// Tracepoints, debugfs, fdinfo.
pub const TRACING: Suite = Suite {
    name: "tracing",
    on: &[Setting::STOCK],
    describe,
    prepare: |_| Ok(()),
    cases: &[
        Case {
            name: "tracepoints",
            run: tracepoints,
        },
        Case {
            name: "debugfs and fdinfo",
            run: files,
        },
        Case {
            name: "a file of debugfs that is open keeps the module",
            run: open_files,
        },
    ],
};

fn describe(builder: Builder, _: Setting) -> Builder {
    guest::install(builder)
}

/// Where tracepoints are switched on and read.
const TRACEFS: &str = "/sys/kernel/tracing";

/// What skiff.ko shows in debugfs.
const DEBUGFS: &str = "/sys/kernel/debug/skiff";

/// Kinds of messages of the wire protocol.
const HELLO: u64 = 1;
/// See [`HELLO`].
const CONNECT_REQUEST: u64 = 16;
/// See [`HELLO`].
const CONNECT_REPLY: u64 = 17;
/// See [`HELLO`].
const REVOKE: u64 = 22;

/// One record of the trace, or one line of a file in debugfs, which has no event.
#[derive(Clone, Debug)]
struct Record {
    event: String,
    fields: BTreeMap<String, String>,
}

impl Record {
    /// A record out of a line like `task-1 [000] ..... 1.2: slot_clear: adapter=0 slot=1 port=1`.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once(": ")?;
        let (event, fields) = rest.split_once(": ")?;
        Some(Self {
            event: event.trim().to_owned(),
            ..Self::fields(fields)
        })
    }

    /// The same out of a line of a file in debugfs.
    fn fields(line: &str) -> Self {
        let fields = line
            .split_whitespace()
            .filter_map(|field| field.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            event: String::new(),
            fields,
        }
    }

    fn text(&self, field: &str) -> Result<&str> {
        let value = self.fields.get(field);
        Ok(value.with_context(|| format!("no {field} in {self:?}"))?)
    }

    fn number(&self, field: &str) -> Result<u64> {
        number(self.text(field)?)
    }

    /// Whether these fields have these values.
    fn has(&self, fields: &[(&str, u64)]) -> bool {
        fields
            .iter()
            .all(|(name, value)| self.number(name).is_ok_and(|found| found == *value))
    }
}

fn records(node: &Node) -> Result<Vec<Record>> {
    let trace = node.run(&format!("cat {TRACEFS}/trace"))?.check()?;
    let text = trace.stdout_text().into_owned();
    Ok(text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(Record::parse)
        .collect())
}

/// The first record of an event with these fields.
fn find(node: &Node, event: &str, fields: &[(&str, u64)]) -> Result<Record> {
    let all = records(node)?;
    let of_event: Vec<&Record> = all.iter().filter(|record| record.event == event).collect();
    let found = of_event.iter().find(|record| record.has(fields));
    Ok((*found.with_context(|| {
        format!(
            "node {}: no {event} with {fields:?} among {of_event:?}",
            node.index()
        )
    })?)
    .clone())
}

/// Switches all events of skiff.ko on, and forgets what was recorded.
fn record(node: &Node) -> Result<()> {
    node.run(&format!(
        "echo > {TRACEFS}/trace; echo 1 > {TRACEFS}/events/skiff/enable"
    ))?
    .check()?;
    Ok(())
}

fn tracepoints(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (near, far) = (cluster.node(0), cluster.node(1));
    let (near_port, far_port) = (u64::from(near.port(0)), u64::from(far.port(0)));
    share::load(near, "")?;
    record(near)?;
    share::load(far, "")?;
    record(far)?;
    share::wait_up(cluster, near)?;
    share::wait_up(cluster, far)?;
    let user = Actor::start(near, "user")?;
    let owner = Actor::start(far, "owner")?;
    let (near_node, far_node) = (
        u64::from(user.status()?.node),
        u64::from(owner.status()?.node),
    );
    let towards_far = [("adapter", 0), ("port", far_port)];

    context.check("peer_up fires when a node answers", |_| {
        let up = find(near, "peer_up", &towards_far)?;
        let generation = owner.status()?.generation;
        let wanted = [
            ("node", far_node),
            ("generation", generation),
            ("resumed", 0),
        ];
        ensure!(up.has(&wanted), "{up:?} is not {wanted:?}");
        Ok(())
    });
    context.check("msg_tx and msg_rx fire for each hello", |_| {
        for event in ["msg_tx", "msg_rx"] {
            let hello = find(near, event, &[("port", far_port), ("kind", HELLO)])?;
            let bytes = hello.number("bytes")?;
            ensure!((1..=240).contains(&bytes), "{hello:?}");
            ensure!(hello.has(&[("adapter", 0)]), "{hello:?}");
            hello.number("seq")?;
        }
        Ok(())
    });
    context.check("slot_set fires for the ring", |_| {
        let set = find(near, "slot_set", &towards_far)?;
        let slots = u64::from(user.status()?.adapters[0].slots);
        ensure!(set.number("slot")? < slots, "{set:?} of {slots} slots");
        let size = user.status()?.adapters[0].slot_bytes;
        ensure!(
            set.number("base")? % size == 0,
            "{set:?} with slots of {size:#x}"
        );
        ensure!(matches!(set.text("mode")?, "wc" | "uc"), "{set:?}");
        ensure!(set.text("window")? == "memory", "{set:?}");
        Ok(())
    });

    owner.tell(&format!(
        "create segment {} --id 42 --mode 666 --share",
        2 * PAGE
    ))?;
    record(near)?;
    record(far)?;
    user.tell(&format!("connect remote --node {far_node} 42"))?;
    user.refused(&format!("connect none --node {far_node} 43"), "ENOENT")?;
    let mut lease = 0;
    context.check("connect fires on both sides", |_| {
        let fields = [("segment", 42), ("bytes", 2 * PAGE), ("error", 0)];
        let out = find(near, "connect", &fields)?;
        ensure!(out.text("direction")? == "out", "{out:?}");
        ensure!(out.has(&[("node", far_node)]), "{out:?}");
        let into = find(far, "connect", &fields)?;
        ensure!(into.text("direction")? == "in", "{into:?}");
        ensure!(into.has(&[("node", near_node)]), "{into:?}");
        lease = out.number("lease")?;
        ensure!(into.number("lease")? == lease, "{into:?} and {out:?}");
        Ok(())
    });
    context.check("connect fires with the errno of a refusal", |_| {
        for node in [near, far] {
            let refused = find(node, "connect", &[("segment", 43)])?;
            ensure!(refused.text("error")? == "-2", "{refused:?}");
        }
        Ok(())
    });
    context.check("msg_tx and msg_rx are the two sides of a message", |_| {
        for (kind, from, to, from_port, to_port) in [
            (CONNECT_REQUEST, near, far, near_port, far_port),
            (CONNECT_REPLY, far, near, far_port, near_port),
        ] {
            let sent = find(from, "msg_tx", &[("port", to_port), ("kind", kind)])?;
            let fields = [
                ("port", from_port),
                ("kind", kind),
                ("seq", sent.number("seq")?),
                ("bytes", sent.number("bytes")?),
            ];
            find(to, "msg_rx", &fields)?;
        }
        Ok(())
    });

    user.tell("map map remote --uncached")?;
    context.check("slot_set fires for a map, with its mode", |_| {
        let set = find(near, "slot_set", &towards_far)?;
        ensure!(set.text("mode")? == "uc", "{set:?}");
        Ok(())
    });

    let revoked: Revoked = owner.ask(&format!("revoke segment --node {near_node}"))?;
    ensure!(revoked.revoked == 1, "{revoked:?}");
    user.until("info remote", |info: &RemoteInfo| info.state == "Lost")?;
    context.check("revoke fires on both sides", |_| {
        let fields = [("segment", 42), ("lease", lease)];
        let taken = find(far, "revoke", &fields)?;
        ensure!(taken.text("direction")? == "in", "{taken:?}");
        ensure!(taken.has(&[("node", near_node)]), "{taken:?}");
        let lost = find(near, "revoke", &fields)?;
        ensure!(lost.text("direction")? == "out", "{lost:?}");
        ensure!(lost.has(&[("node", far_node)]), "{lost:?}");
        find(near, "msg_rx", &[("port", far_port), ("kind", REVOKE)])?;
        Ok(())
    });

    record(near)?;
    cluster.switch().set_link(far.port(0), LinkState::Down)?;
    let alone = 1_u64 << near_node;
    user.until("status", |status: &share::Status| status.nodes == alone)?;
    context.check(
        "peer_down and slot_clear fire when the link is gone",
        |_| {
            let down = find(near, "peer_down", &towards_far)?;
            ensure!(down.has(&[("node", far_node)]), "{down:?}");
            find(near, "slot_clear", &towards_far)?;
            let all = records(near)?;
            let place = |event: &str| all.iter().rposition(|record| record.event == event);
            ensure!(
                place("slot_clear") < place("peer_down"),
                "a slot was emptied after its peer was reported down: {all:?}"
            );
            Ok(())
        },
    );
    cluster.switch().set_link(far.port(0), LinkState::Up)?;
    share::wait_up(cluster, near)?;
    context.check("peer_up says that it is the same generation", |_| {
        let up = find(near, "peer_up", &towards_far)?;
        let wanted = [
            ("node", far_node),
            ("generation", owner.status()?.generation),
            ("resumed", 1),
        ];
        ensure!(up.has(&wanted), "{up:?} is not {wanted:?}");
        Ok(())
    });
    Ok(())
}

/// The lines of a file in debugfs.
fn lines(node: &Node, file: &str) -> Result<Vec<Record>> {
    let text = node.run(&format!("cat {DEBUGFS}/{file}"))?.check()?;
    Ok(text.stdout_text().lines().map(Record::fields).collect())
}

/// The only line of a file with these fields.
fn line(node: &Node, file: &str, fields: &[(&str, u64)]) -> Result<Record> {
    let all = lines(node, file)?;
    let mut found = all.iter().filter(|line| line.has(fields));
    let one = found
        .next()
        .with_context(|| format!("{file}: no line with {fields:?} in {all:?}"))?;
    ensure!(
        found.next().is_none(),
        "{file}: two lines with {fields:?} in {all:?}"
    );
    Ok(one.clone())
}

fn files(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (near, far) = (cluster.node(0), cluster.node(1));
    share::load_everywhere(cluster, "")?;
    let (near_port, far_port) = (u64::from(near.port(0)), u64::from(far.port(0)));
    let user = Actor::start(near, "looker")?;
    let owner = Actor::start(far, "shower")?;
    let status = user.status()?;
    let (near_node, far_node) = (u64::from(status.node), u64::from(owner.status()?.node));
    owner.tell(&format!(
        "create segment {} --id 77 --mode 666 --share",
        3 * PAGE
    ))?;
    user.tell(&format!("connect remote --node {far_node} 77"))?;
    user.tell("map map remote")?;
    context.check("debugfs: nodes", |_| {
        let own = line(near, "nodes", &[("node", near_node)])?;
        ensure!(own.text("state")? == "local", "{own:?}");
        ensure!(own.has(&[("generation", status.generation)]), "{own:?}");
        let other = line(near, "nodes", &[("node", far_node)])?;
        let generation = owner.status()?.generation;
        ensure!(other.text("state")? == "up", "{other:?}");
        ensure!(
            other.has(&[("generation", generation), ("adapters", 1)]),
            "{other:?}"
        );
        Ok(())
    });
    context.check("debugfs: links", |_| {
        let adapter = line(near, "links", &[("adapter", 0), ("port", near_port)])?;
        let geometry = [
            ("slots", u64::from(status.adapters[0].slots)),
            ("slot_bytes", status.adapters[0].slot_bytes),
        ];
        ensure!(adapter.has(&geometry), "{adapter:?}");
        let link = line(near, "links", &[("adapter", 0), ("peer", far_port)])?;
        ensure!(link.text("link")? == "up", "{link:?}");
        let generation = owner.status()?.generation;
        ensure!(
            link.has(&[("node", far_node), ("generation", generation)]),
            "{link:?}"
        );
        ensure!(link.text("session")? == "up", "{link:?}");
        Ok(())
    });
    context.check(
        "debugfs: slots, as many pinned ones as the ABI says",
        |_| {
            let all = lines(near, "slots")?;
            let pinned = all
                .iter()
                .filter(|slot| slot.number("pins").is_ok_and(|pins| pins > 0));
            let counted = user.status()?.adapters[0].slots_pinned;
            ensure!(
                pinned.clone().count() == usize::try_from(counted)?,
                "{counted}: {all:?}"
            );
            for slot in pinned {
                ensure!(slot.has(&[("adapter", 0), ("peer", far_port)]), "{slot:?}");
                let base = slot.number("base")?;
                ensure!(base % status.adapters[0].slot_bytes == 0, "{slot:?}");
                ensure!(matches!(slot.text("mode")?, "wc" | "uc"), "{slot:?}");
            }
            Ok(())
        },
    );
    context.check("debugfs: exports and leases", |_| {
        let export = line(far, "exports", &[("segment", 77)])?;
        let fields = [("bytes", 3 * PAGE), ("prepared", 1), ("available", 1)];
        ensure!(export.has(&fields), "{export:?}");
        ensure!(export.has(&[("leases", 1), ("loops", 0)]), "{export:?}");
        ensure!(export.text("mode")? == "0666", "{export:?}");
        let lease = line(far, "leases", &[("segment", 77)])?;
        let fields = [
            ("adapter", 0),
            ("peer", near_port),
            ("node", near_node),
            ("generation", status.generation),
        ];
        ensure!(lease.has(&fields), "{lease:?}");
        ensure!(lease.text("state")? == "granted", "{lease:?}");
        ensure!(lease.text("held")? == "no", "{lease:?}");
        let none = line(near, "exports", &[("segment", 77)]);
        ensure!(none.is_err(), "the user's node exports it: {none:?}");
        Ok(())
    });
    context.check("debugfs: rings, both sides of one", |_| {
        let ours = line(near, "rings", &[("adapter", 0), ("peer", far_port)])?;
        let theirs = line(far, "rings", &[("adapter", 0), ("peer", near_port)])?;
        ensure!(ours.number("written")? > 0, "{ours:?}");
        ensure!(
            ours.number("written")? == theirs.number("taken")?,
            "{ours:?} and {theirs:?}"
        );
        ensure!(
            theirs.number("written")? == ours.number("taken")?,
            "{ours:?} and {theirs:?}"
        );
        ensure!(ours.has(&[("queued", 0)]), "{ours:?}");
        Ok(())
    });
    context.check("debugfs: counters and quarantine", |_| {
        let sent = line(near, "counters", &[("adapter", 0), ("peer", far_port)])?;
        ensure!(sent.number("messages_tx")? > 0, "{sent:?}");
        ensure!(sent.number("messages_rx")? > 0, "{sent:?}");
        ensure!(sent.has(&[("decode_errors", 0)]), "{sent:?}");
        for held in lines(near, "quarantine")? {
            let bytes = held.number("bytes").unwrap_or(0);
            ensure!(bytes == 0, "{held:?}");
        }
        Ok(())
    });
    context.check("fdinfo tells what a descriptor stands for", |_| {
        for (node, what, wanted) in [
            (far, "local segment", ["id:\t77", "connections:\t1"]),
            (near, "remote segment", ["id:\t77", "state:\toperational"]),
            (near, "context", ["nodes:\t", "flags:\t"]),
        ] {
            let found = node.run(&format!(
                "grep -lE '^skiff:.{what}$' /proc/[0-9]*/fdinfo/* | head -n 1 | xargs cat"
            ))?;
            let text = found.check()?.stdout_text().into_owned();
            for line in wanted {
                ensure!(text.contains(line), "{what}: no {line:?} in {text:?}");
            }
        }
        Ok(())
    });
    Ok(())
}

fn open_files(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(0);
    share::load(node, "")?;
    let held = format!("exec 3<{DEBUGFS}/nodes; rmmod skiff 2>&1; head -c 4 <&3");
    let output = node.run(&held)?;
    let text = output.stdout_text();
    ensure!(text.contains("can't unload"), "rmmod said {text:?}");
    ensure!(text.ends_with("node"), "nothing to read after it: {text:?}");
    share::unload(node)?;
    ensure!(
        !node.run(&format!("ls {DEBUGFS}"))?.status.success(),
        "the files are there without the module"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_trace_is_read() -> Result<()> {
        let line = "     kworker/0:1-9     [000] .....    12.345: slot_set: adapter=0 slot=3 port=1 base=0x4000000 mode=wc";
        let record = Record::parse(line).context("no record")?;
        assert_eq!(record.event, "slot_set");
        assert!(record.has(&[("adapter", 0), ("slot", 3), ("base", 0x400_0000)]));
        assert!(!record.has(&[("slot", 4)]));
        assert!(!record.has(&[("size", 0)]));
        assert_eq!(record.text("mode")?, "wc");
        Ok(())
    }
}
