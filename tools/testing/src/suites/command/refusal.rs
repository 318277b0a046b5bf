// SPDX-License-Identifier: GPL-2.0
//! What the command says when something is not as it should be, and how it ends then.

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use ntb_switch::control::LinkState;
use serde_json::json;
use serde_json::Value;
use skiff_cluster::Cluster;
use skiff_cluster::Node;

use super::end;
use super::good;
use super::held;
use super::json_lines;
use super::value;
use super::FAILED;
use crate::frame::Context;
use crate::share;
use crate::share::Actor;

/// The device node.
const DEVICE: &str = "/dev/skiff";
/// Its rule.
const RULE: &str = include_str!("../../../../skiff/udev/60-skiff.rules");
/// Exit code of one that was used wrongly.
const USAGE: i32 = 2;

/// How a command is to fail.
struct Refusal<'a> {
    words: &'a str,
    tried: &'a str,
    cause: &'a str,
    errno: &'a str,
    mend: Option<&'a str>,
}

impl Refusal<'_> {
    fn error(&self) -> String {
        format!("cannot {}: {} ({})", self.tried, self.cause, self.errno)
    }

    /// Runs it as `line` says, where `{}` stands for its words; in text and in JSON.
    fn check_as(&self, node: &Node, line: &str) -> Result<()> {
        let text = self.run(node, line, self.words)?;
        let mend = self.mend.map(|mend| format!("\n  help: {mend}"));
        let wanted = format!("skiff: {}{}\n", self.error(), mend.unwrap_or_default());
        ensure!(text == wanted, "{text:?} came, {wanted:?} was due");
        let text = self.run(node, line, &format!("--json {}", self.words))?;
        let found: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let wanted = json!({ "error": self.error(), "errno": self.errno, "mend": self.mend });
        ensure!(found == wanted, "{found} came, {wanted} was due");
        Ok(())
    }

    fn run(&self, node: &Node, line: &str, words: &str) -> Result<String> {
        let line = line.replace("{}", &format!("skiff {words}"));
        let output = node.run(&format!("{line} </dev/null"))?;
        let code = output.status.code();
        ensure!(code == FAILED, "{words}: exit code {code}: {output:?}");
        ensure!(output.stdout.is_empty(), "{words}: printed {output:?}");
        Ok(output.stderr_text().into_owned())
    }

    fn check(&self, node: &Node) -> Result<()> {
        self.check_as(node, "{}")
    }
}

pub fn refusals(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (near, far) = (cluster.node(0), cluster.node(1));
    let owner = near.port(0);
    let (job, _) = held(near, "--id 9 --bytes 4096 --mode 600")?;
    let (read, _) = held(near, "--id 10 --bytes 4096 --mode 644")?;
    let no_access = "the segment's owner, its mode or its list of nodes does not allow it";
    let widen = "have the owner make it with a wider --mode and with this node in --nodes; \
                 root of another node counts as nobody";
    let get = format!("segment get {owner} 9 /tmp/x");
    let put = format!("segment put {owner} 10 /bin/skiff-guest");
    let none = format!("segment get {owner} 99 /tmp/x");
    let watch = format!("segment watch {owner} 98");
    let make = "make it there: skiff segment create --available; \
                list what is there: skiff segments NODE";
    let by = format!("segments {owner} --adapter 3");
    let there = format!("look for segments of node {owner} from id 0 up");
    let table = [
        Refusal {
            words: "segments 63",
            tried: "look for segments of node 63 from id 0 up",
            cause: "there is no such node",
            errno: "ENXIO",
            mend: Some("list the nodes: skiff nodes"),
        },
        Refusal {
            words: "segment get 63 7 /tmp/x",
            tried: "connect to segment 7 of node 63",
            cause: "there is no such node",
            errno: "ENXIO",
            mend: Some("list the nodes: skiff nodes"),
        },
        Refusal {
            words: &none,
            tried: &format!("connect to segment 99 of node {owner}"),
            cause: "there is no such segment that is available",
            errno: "ENOENT",
            mend: Some(make),
        },
        Refusal {
            words: &watch,
            tried: &format!("connect to segment 98 of node {owner}"),
            cause: "there is no such segment that is available",
            errno: "ENOENT",
            mend: Some(make),
        },
        Refusal {
            words: &get,
            tried: &format!("connect to segment 9 of node {owner}"),
            cause: no_access,
            errno: "EACCES",
            mend: Some(widen),
        },
        Refusal {
            words: &put,
            tried: &format!("connect to segment 10 of node {owner}"),
            cause: no_access,
            errno: "EACCES",
            mend: Some(widen),
        },
        Refusal {
            words: &by,
            tried: &there,
            cause: "there is no such adapter",
            errno: "ENODEV",
            mend: Some("list the adapters: skiff links"),
        },
    ];
    for refusal in &table {
        context.check(
            &format!("skiff {}: {}", refusal.words, refusal.errno),
            |_| refusal.check(far),
        );
    }
    let taken = Refusal {
        words: "segment create --id 9 --bytes 1",
        tried: "make segment 9 of 1 bytes",
        cause: "this node has a segment with that id",
        errno: "EADDRINUSE",
        mend: Some("take another id, or none to have one chosen"),
    };
    context.check("an id that is taken", |_| taken.check(near));
    context.check("what is not allowed leaves no file", |_| {
        let output = far.run("ls /tmp/x")?;
        ensure!(!output.status.success(), "{output:?}");
        Ok(())
    });
    context.check("wrong usage", |_| {
        for words in ["", "segment put 0", "segments all", "segment create"] {
            let code = far.run(&format!("skiff {words}"))?.status.code();
            ensure!(code == USAGE, "skiff {words}: exit code {code}");
        }
        Ok(())
    });
    end(job)?;
    end(read).map(drop)
}

/// The value of a key that the udev rule sets.
fn rule(key: &str) -> Result<&'static str> {
    let found = RULE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.split(','))
        .filter_map(|word| word.trim().strip_prefix(key)?.strip_prefix("=\""))
        .find_map(|word| word.strip_suffix('"'));
    found.with_context(|| format!("the rule sets no {key}"))
}

pub fn users(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(0);
    let refused = Refusal {
        words: "nodes",
        tried: "open /dev/skiff",
        cause: "this user may not use it",
        errno: "EACCES",
        mend: Some("add the user to the group skiff: usermod -aG skiff USER, then log in anew"),
    };
    // What the rule names is there, and its group is that of the users below.
    node.run(
        "set -e
        [ \"$(readlink -f /sys/class/misc/skiff/subsystem)\" = /sys/class/misc ]
        echo 'sailor:x:1000:1000::/:/bin/sh' >> /etc/passwd
        echo 'stranger:x:1001:1001::/:/bin/sh' >> /etc/passwd
        echo 'skiff:x:900:sailor' >> /etc/group
        chmod 755 /bin /bin/skiff",
    )?
    .check()?;
    context.check("without the rule: root only", |_| {
        refused.check_as(node, "su sailor -c '{}'")
    });
    let (group, mode) = (rule("GROUP")?, rule("MODE")?);
    node.run(&format!("chgrp {group} {DEVICE}; chmod {mode} {DEVICE}"))?
        .check()?;
    context.check("a member of the group", |_| {
        let output = node.run("su sailor -c 'skiff segment create --bytes 4096'")?;
        output.check()?;
        Ok(())
    });
    context.check("who is not in the group", |_| {
        refused.check_as(node, "su stranger -c '{}'")
    });
    Ok(())
}

pub fn full(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let owner = Actor::start(cluster.node(0), "owner")?;
    let user = Actor::start(cluster.node(1), "user")?;
    let number = owner.status()?.node;
    let adapter = &user.status()?.adapters[0];
    let (slots, size) = (adapter.slots, 2 * adapter.slot_bytes);
    // Memory of a program lies where it lies: each takes two slots at least.
    for id in 0..slots {
        owner.tell(&format!(
            "create segment{id} {size} --id {} --mode 666 --user --share",
            100 + id
        ))?;
        user.tell(&format!("connect remote{id} --node {number} {}", 100 + id))?;
    }
    let refused = (0..slots).find(|id| user.tell(&format!("map map{id} remote{id}")).is_err());
    let id = 100 + refused.context("the window is never full")?;
    let refusal = Refusal {
        words: &format!("segment get {number} {id} /tmp/y"),
        tried: &format!("map {size} bytes at offset 0"),
        cause: "all slots of the window are in use by other maps",
        errno: "ENOSPC",
        mend: Some("unmap something; each slot reaches one chunk of a peer"),
    };
    refusal.check(cluster.node(1))?;
    user.kill()?;
    // It works as soon as there is room.
    good(cluster.node(1), refusal.words)?;
    Ok(())
}

pub fn link_down(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (near, far) = (cluster.node(0), cluster.node(1));
    let owner = near.port(0);
    let (job, _) = held(near, "--id 11 --bytes 4096 --mode 666")?;
    let watcher = far
        .shell(&format!(
            "exec skiff --json segment watch {owner} 11 --count 2 </dev/null"
        ))
        .spawn()?;
    watcher.wait_for_output("\n", share::SOON)?;
    cluster.switch().set_link(owner, LinkState::Down)?;
    watcher.wait_for_output("not-operational", share::SOON)?;
    let refusal = Refusal {
        words: &format!("segment get {owner} 11 /tmp/z"),
        tried: &format!("connect to segment 11 of node {owner}"),
        cause: "the link to that node is down",
        errno: "ENOLINK",
        mend: Some("look at the links: skiff links"),
    };
    context.check("an error that names it", |_| refusal.check(far));
    context.check("lists that show it", |_| {
        let nodes = value(far, "nodes")?;
        ensure!(nodes[0]["state"] == "down", "{nodes}");
        let links = value(far, "links")?;
        ensure!(links[0]["ports_up"] == json!([]), "{links}");
        Ok(())
    });
    cluster.switch().set_link(owner, LinkState::Up)?;
    context.check("and it works when the link is back", |cluster| {
        let output = watcher.wait()?.check()?;
        let seen = json_lines(&output.stdout)?;
        ensure!(
            seen.len() == 3 && seen[2]["event"] == "operational",
            "{seen:?}"
        );
        wait_up(cluster)?;
        good(far, refusal.words).map(drop)
    });
    end(job).map(drop)
}

fn wait_up(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        share::wait_up(cluster, node)?;
    }
    Ok(())
}

pub fn no_module(context: &mut Context<'_>) -> Result<()> {
    let node = context.cluster.node(1);
    share::unload(node)?;
    for words in ["nodes", "links", "segments", "segment create --bytes 1"] {
        let refusal = Refusal {
            words,
            tried: "open /dev/skiff",
            cause: "the kernel module is not there",
            errno: "ENOENT",
            mend: Some("load the module: modprobe skiff"),
        };
        context.check(&format!("skiff {words}"), |_| refusal.check(node));
    }
    Ok(())
}
