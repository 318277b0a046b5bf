// SPDX-License-Identifier: GPL-2.0
//! Messages, presence and segments of kernel clients: skiff_kapi.ko does what it is told.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use ntb_switch::control::LinkState;
use skiff_cluster::Node;

use crate::frame::Case;
use crate::frame::Context;
use crate::guest;
use crate::share;
use crate::share::Actor;
use crate::share::Balance;

/// Within which everything is told.
const LIMIT: Duration = Duration::from_secs(60);

/// Messages of a node that may wait for a client.
const WAITING: u64 = 256;

/// Events of the ABI.
const CONNECTED: u64 = 1;
const PEER_LOST: u64 = 3;
const NOT_OPERATIONAL: u64 = 4;
const OPERATIONAL: u64 = 5;
const LOST: u64 = 6;

/// See its name.
pub const ORDERED: Case = Case {
    name: "messages come in order, from peers and from the own node",
    run: ordered,
};

/// See its name.
pub const FLOODED: Case = Case {
    name: "a client that is slow loses messages, and keeps nobody from theirs",
    run: flooded,
};

/// See its name.
pub const UNWANTED: Case = Case {
    name: "a message that nobody wants comes back",
    run: unwanted,
};

/// See its name.
pub const PRESENT: Case = Case {
    name: "a peer goes from the bus with its link, and comes back",
    run: present,
};

/// See its name.
pub const SUSPENDED: Case = Case {
    name: "a map gives ones while the link is down, then the memory again",
    run: suspended,
};

/// See its name.
pub const REVOKED: Case = Case {
    name: "a segment is taken from who maps it, on both nodes",
    run: revoked,
};

/// The module on a node.
struct Client<'a>(&'a Node);

impl<'a> Client<'a> {
    fn load(node: &'a Node) -> Result<Self> {
        node.modprobe("skiff_kapi")?;
        Ok(Self(node))
    }

    fn unload(self) -> Result<()> {
        self.0.run("rmmod skiff_kapi")?.check()?;
        Ok(())
    }

    /// Tells it to do something, or sets a parameter.
    fn write(&self, parameter: &str, text: &str) -> String {
        format!("echo '{text}' > /sys/module/skiff_kapi/parameters/{parameter}")
    }

    fn tell(&self, command: &str) -> Result<()> {
        let output = self.0.run(&self.write("command", command))?;
        output.check().with_context(|| command.to_owned())?;
        Ok(())
    }

    /// Tells it to do something that must fail.
    fn refuses(&self, command: &str, error: &str) -> Result<()> {
        let output = self.0.run(&self.write("command", command))?;
        let said = output.stderr_text();
        ensure!(said.contains(error), "{command}: not {error:?}: {said}");
        Ok(())
    }

    fn value(&self, name: &str) -> Result<u64> {
        let line = format!("cat /sys/module/skiff_kapi/parameters/{name}");
        let output = self.0.run(&line)?.check()?;
        Ok(output.stdout_text().trim().parse()?)
    }

    /// Tells it to find something out.
    fn ask(&self, command: &str) -> Result<u64> {
        self.tell(command)?;
        self.value("result")
    }

    /// Waits until a value is so.
    fn until(&self, name: &str, condition: &str) -> Result<()> {
        let line = format!("v=$(cat /sys/module/skiff_kapi/parameters/{name}); [ {condition} ]");
        self.0
            .wait_for(&line, LIMIT)
            .with_context(|| format!("{name} does not become {condition}"))?;
        Ok(())
    }

    /// Waits for an event of the segment or the connection.
    fn hears(&self, event: u64) -> Result<()> {
        self.until("events", &format!("$((v >> {event} & 1)) = 1"))
    }

    /// A counter of its channel.
    fn counted(&self, name: &str) -> Result<u64> {
        guest::number(self.0.run(&counter(name))?.check()?.stdout_text().trim())
    }
}

/// What prints a counter of the module's channel.
fn counter(name: &str) -> String {
    let file = "/sys/kernel/debug/skiff/channels";
    format!("sed -n 's/^channel=0x4b415049 .*{name}=\\([0-9]*\\).*/\\1/p' {file}")
}

fn both<'a>(context: &Context<'a>) -> Result<[Client<'a>; 2]> {
    let cluster = context.cluster;
    Ok([
        Client::load(cluster.node(0))?,
        Client::load(cluster.node(1))?,
    ])
}

fn done(clients: [Client<'_>; 2]) -> Result<()> {
    clients.into_iter().try_for_each(Client::unload)
}

fn ordered(context: &mut Context<'_>) -> Result<()> {
    // No more at a time than wait for a client that is kept from hearing.
    const STEP: u64 = WAITING / 2;
    let steps = u64::from(context.scale.pick(8, 1000));
    let count = steps * STEP;
    let clients = both(context)?;
    for step in 1..=steps {
        for (from, to) in [(0, 1), (1, 0), (0, 0)] {
            let (from, port) = (&clients[from], context.cluster.node(to).port(0));
            from.tell(&format!("send {port} {STEP}"))?;
        }
        for (client, senders) in clients.iter().zip([2, 1]) {
            client.until("heard", &format!("$v = {}", senders * step * STEP))?;
            let unordered = client.value("unordered")?;
            ensure!(unordered == 0, "{unordered} came out of order");
        }
    }
    let [one, _] = &clients;
    let other = context.cluster.node(1).port(0);
    one.refuses(&format!("length {other} 193"), "Message too long")?;
    one.refuses("length 63 1", "No such device or address")?;
    one.refuses("open", "Device or resource busy")?;
    one.tell(&format!("length {other} 192"))?;
    one.tell(&format!("length {other} 0"))?;
    clients[1].until("heard", &format!("$v = {}", count + 2))?;
    done(clients)
}

fn flooded(context: &mut Context<'_>) -> Result<()> {
    const COUNT: u64 = 1000;
    let clients = both(context)?;
    let ports = [0, 1].map(|index| context.cluster.node(index).port(0));
    let [sender, slow] = &clients;
    slow.0.run(&slow.write("slow", "10000"))?.check()?;
    sender.tell(&format!("send {} {COUNT}", ports[1]))?;
    // Meanwhile it is a peer like any other.
    slow.tell(&format!("send {} 100", ports[0]))?;
    sender.until("heard", "$v = 100")?;
    let all = format!("[ $({}) = {COUNT} ]", counter("received"));
    slow.0.wait_for(&all, LIMIT)?;
    let dropped = slow.counted("dropped")?;
    slow.0.run(&slow.write("slow", "0"))?.check()?;
    slow.until("heard", &format!("$v = {}", COUNT - dropped))?;
    // One or two were heard, or being heard, when the others came.
    let heard = slow.value("heard")?;
    ensure!(
        (WAITING..=WAITING + 4).contains(&heard),
        "{heard} heard, {dropped} dropped"
    );
    done(clients)
}

fn unwanted(context: &mut Context<'_>) -> Result<()> {
    let sender = Client::load(context.cluster.node(0))?;
    sender.tell(&format!("send {} 3", context.cluster.node(1).port(0)))?;
    sender.until("refused", "$v = 3")?;
    ensure!(sender.counted("refused")? == 3, "they were not counted");
    sender.unload()
}

fn present(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let client = Client::load(cluster.node(0))?;
    let (switch, port) = (cluster.switch(), cluster.node(1).port(0));
    let device = format!("/sys/bus/auxiliary/devices/skiff.peer.{port}");
    let there = |yes: &str| {
        cluster
            .node(0)
            .wait_for(&format!("{yes} -e {device}"), LIMIT)
    };
    there("test")?;
    ensure!(client.value("probed")? == 1, "it was not probed");
    for round in 1..=3 {
        switch.set_link(port, LinkState::Down)?;
        let gone = there("! test");
        switch.set_link(port, LinkState::Up)?;
        gone?;
        client.until("removed", &format!("$v = {round}"))?;
        client.until("probed", &format!("$v = {}", round + 1))?;
        share::wait_up(cluster, cluster.node(0))?;
    }
    client.unload()
}

fn suspended(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (switch, ports) = (
        cluster.switch(),
        [0, 1].map(|index| cluster.node(index).port(0)),
    );
    let watchers = [
        Actor::start(cluster.node(0), "watcher")?,
        Actor::start(cluster.node(1), "watcher")?,
    ];
    let before = [Balance::of(&watchers[0])?, Balance::of(&watchers[1])?];
    let clients = both(context)?;
    let [owner, holder] = &clients;
    owner.tell("make 300000")?;
    owner.tell("put 4096 77")?;
    let bytes = holder.ask(&format!("connect {}", ports[0]))?;
    ensure!(bytes == 300_000, "it has {bytes} bytes");
    holder.refuses("map 1 4096", "Invalid argument")?;
    holder.refuses("map 0 400000", "Invalid argument")?;
    holder.tell("map 0 300000")?;
    ensure!(holder.ask("load 4096")? == 77, "it is not mapped");
    holder.tell("store 8 99")?;
    // A load of the same memory pushes the store before it.
    ensure!(holder.ask("load 8")? == 99, "what was stored is not there");
    ensure!(owner.ask("get 8")? == 99, "the owner does not see it");

    switch.set_link(ports[1], LinkState::Down)?;
    let lost = holder
        .hears(NOT_OPERATIONAL)
        .and_then(|()| holder.ask("load 4096"));
    // It vanishes.
    let store = holder.tell("store 8 1");
    switch.set_link(ports[1], LinkState::Up)?;
    let lost = lost?;
    store?;
    ensure!(lost == u64::MAX, "{lost:#x} was read of a lost peer");
    holder.hears(OPERATIONAL)?;
    ensure!(holder.ask("load 4096")? == 77, "it did not come back");
    ensure!(owner.ask("get 8")? == 99, "a store has come through");
    done(clients)?;
    for (before, watcher) in before.iter().zip(&watchers) {
        before.wait_back(watcher)?;
    }
    share::wait_up(cluster, cluster.node(0))
}

fn revoked(context: &mut Context<'_>) -> Result<()> {
    let port = context.cluster.node(0).port(0);
    let watcher = Actor::start(context.cluster.node(0), "watcher")?;
    let before = Balance::of(&watcher)?;
    let clients = both(context)?;
    let [owner, other] = &clients;
    owner.tell("make 8192")?;
    owner.tell("put 0 5")?;
    for client in [owner, other] {
        client.tell(&format!("connect {port}"))?;
        client.tell("map 0 8192")?;
        ensure!(client.ask("load 0")? == 5, "it is not mapped");
    }
    owner.hears(CONNECTED)?;
    owner.tell("remove")?;
    for client in [owner, other] {
        client.hears(LOST)?;
    }
    owner.hears(PEER_LOST)?;
    let (own, lost) = (owner.ask("load 0")?, other.ask("load 0")?);
    ensure!(
        own == 5 && lost == u64::MAX,
        "{own:#x} and {lost:#x} are read"
    );
    other.tell("disconnect")?;
    other.refuses(&format!("connect {port}"), "No such file or directory")?;
    done(clients)?;
    before.wait_back(&watcher)
}
