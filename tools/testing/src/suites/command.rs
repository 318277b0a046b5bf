// SPDX-License-Identifier: GPL-2.0
//! The command `skiff` in two nodes: what it shows, what it copies, and what it says when something is not as it should be.

mod lending;
mod refusal;

pub use lending::LENDING;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde_json::json;
use serde_json::Value;
use sha2::Digest;
use sha2::Sha256;
use skiff_cluster::Job;
use skiff_cluster::Node;

use crate::frame::Case;
use crate::frame::Context;
use crate::frame::Setting;
use crate::frame::Suite;
use crate::guest;
use crate::share;

/// See the module.
pub const COMMAND: Suite = Suite {
    name: "command",
    on: &[Setting::STOCK],
    describe: |builder, _| {
        guest::install_program(guest::install(builder), "skiff")
            // Few small slots.
            .aperture("16M")
    },
    prepare: |context| share::load_everywhere(context.cluster, ""),
    cases: &[
        Case {
            name: "lists",
            run: lists,
        },
        Case {
            name: "create, get, put",
            run: copies,
        },
        Case {
            name: "events of an owner and of a watcher",
            run: events,
        },
        Case {
            name: "refusals",
            run: refusal::refusals,
        },
        Case {
            name: "users and the group of the udev rule",
            run: refusal::users,
        },
        Case {
            name: "a window that is full",
            run: refusal::full,
        },
        Case {
            name: "a link that is down",
            run: refusal::link_down,
        },
        Case {
            name: "no module",
            run: refusal::no_module,
        },
    ],
};

/// Exit code of a command that failed.
const FAILED: i32 = 1;

/// A command that must be good; gives what it printed.
fn good(node: &Node, words: &str) -> Result<String> {
    let output = node.run(&format!("skiff {words} </dev/null"))?.check()?;
    Ok(output.stdout_text().into_owned())
}

/// The same with `--json`: one value.
fn value(node: &Node, words: &str) -> Result<Value> {
    let text = good(node, &format!("--json {words}"))?;
    serde_json::from_str(&text).with_context(|| format!("skiff --json {words} printed {text:?}"))
}

/// Makes a segment that is held until the job is told to end; waits until it is there. Gives what it printed.
fn held(node: &Node, words: &str) -> Result<(Job, Value)> {
    let line = format!("exec skiff --json segment create {words} --available --hold </dev/null");
    let job = node.shell(&line).spawn()?;
    job.wait_for_output("\n", share::SOON)?;
    let made = json_lines(&job.stdout_so_far())?;
    let made = made.first().cloned().context("no line")?;
    Ok((job, made))
}

/// Ends a job that holds something, as a user does; it must end well. Gives what it printed.
fn end(job: Job) -> Result<Vec<Value>> {
    job.kill(15);
    let output = job.wait()?.check()?;
    json_lines(&output.stdout)
}

/// JSON, one value a line.
fn json_lines(bytes: &[u8]) -> Result<Vec<Value>> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().map(|line| {
        serde_json::from_str(line).with_context(|| format!("{line:?} is no JSON value"))
    });
    lines.collect()
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Bytes that repeat only after a long time.
fn bytes(length: u32) -> Vec<u8> {
    // CAST: The lowest byte of a product.
    (0..length)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// Each word of a table, line by line.
fn words(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines();
    lines
        .map(|line| line.split_whitespace().collect())
        .collect()
}

fn lists(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (near, far) = (cluster.node(0), cluster.node(1));
    let (near_number, far_number) = (near.port(0), far.port(0));
    let exported = || -> Result<u64> {
        let links = value(near, "links")?;
        links[0]["exported_bytes"].as_u64().context("no number")
    };
    let before = exported()?;
    let (job, made) = held(near, "--id 7 --bytes 20000 --mode 640")?;
    ensure!(
        made == json!({ "id": 7, "bytes": 20000, "copied": 0, "available": true }),
        "{made}"
    );
    let (chosen, any) = held(near, "--bytes 8K --mode 666")?;
    let any = any["id"].as_u64().context("no id")?;
    ensure!(any >= 0x8000_0000, "the kernel chose the id {any:#x}");

    context.check("nodes", |_| {
        let nodes = value(far, "nodes")?;
        let nodes = nodes.as_array().context("no list")?;
        ensure!(nodes.len() == 2, "{nodes:?}");
        for (node, number) in nodes.iter().zip([near_number, far_number]) {
            ensure!(node["node"] == number, "{node}");
            ensure!(node["local"] == (number == far_number), "{node}");
            ensure!(node["state"] == "up", "{node}");
            ensure!(node["generation"].as_u64() > Some(0), "{node}");
        }
        ensure!(nodes[0]["adapters"] == json!([0]), "{nodes:?}");
        let text = good(far, "nodes")?;
        let rows = words(&text);
        ensure!(rows[0][..2] == ["node", "state"], "{text}");
        ensure!(
            rows[1][..2] == [near_number.to_string().as_str(), "up"],
            "{text}"
        );
        ensure!(
            rows[2][..3] == [far_number.to_string().as_str(), "(local)", "up"],
            "{text}"
        );
        Ok(())
    });
    context.check("links", |_| {
        let links = value(far, "links")?;
        ensure!(links.as_array().map(Vec::len) == Some(1), "{links}");
        let link = &links[0];
        ensure!(link["adapter"] == 0, "{link}");
        ensure!(link["port"] == far_number, "{link}");
        ensure!(link["ports_up"] == json!([near_number]), "{link}");
        ensure!(
            link["iommu"] == false && link["contained"] == false,
            "{link}"
        );
        ensure!(link["slots"].as_u64() > Some(0), "{link}");
        let more = exported()? - before;
        ensure!(more == (5 + 2) * share::PAGE, "{more} bytes more");
        ensure!(good(far, "links")?.contains("contained"), "no head");
        Ok(())
    });
    context.check("segments", |_| {
        // Root of another node is nobody.
        let all = json!([
            { "node": near_number, "id": any, "bytes": 8192, "uid": 0, "mode": 0o666 },
        ]);
        for words in ["segments".to_owned(), format!("segments {near_number}")] {
            let found = value(far, &words)?;
            ensure!(found == all, "{words}: {found}");
        }
        let own = value(near, "segments local")?;
        let ids: Vec<_> = own.as_array().context("no list")?.iter().collect();
        ensure!(ids.len() == 2 && own[0]["id"] == 7, "{own}");
        ensure!(own[0]["mode"] == 0o640 && own[0]["bytes"] == 20000, "{own}");
        let none = value(far, "segments local")?;
        ensure!(none == json!([]), "{none}");
        let text = good(near, "segments")?;
        ensure!(
            words(&text).contains(&vec![
                near_number.to_string().as_str(),
                "7",
                "20000",
                "B",
                "0",
                "640"
            ]),
            "{text}"
        );
        Ok(())
    });
    end(job)?;
    end(chosen)?;
    let left = value(near, "segments")?;
    ensure!(left == json!([]), "they are still there: {left}");
    Ok(())
}

fn copies(context: &mut Context<'_>) -> Result<()> {
    const ID: u32 = 7;
    const OFFSET: usize = 1_000_001;
    let cluster = context.cluster;
    let (near, far) = (cluster.node(0), cluster.node(1));
    let owner = near.port(0);
    let mut data = bytes(3_300_003);
    let digest = sha256(&data);
    near.write(&data, "/tmp/file")?;
    let (job, made) = held(
        near,
        &format!("--id {ID} --file /tmp/file --mode 666 --sha256"),
    )?;
    ensure!(made["sha256"] == digest, "{made}");
    ensure!(made["copied"] == data.len(), "{made}");

    let got = value(far, &format!("segment get {owner} {ID} /tmp/got --sha256"))?;
    ensure!(got["sha256"] == digest, "{got}, the file has {digest}");
    ensure!(got["bytes"] == data.len(), "{got}");
    ensure!(got["seconds"].as_f64() > Some(0.0), "{got}");
    ensure!(far.read("/tmp/got")? == data, "the copy differs");

    let patch = bytes(70_007);
    far.write(&patch, "/tmp/patch")?;
    let words = format!("segment put {owner} {ID} /tmp/patch --offset {OFFSET} --sha256");
    let put = value(far, &words)?;
    ensure!(put["sha256"] == sha256(&patch), "{put}");
    data[OFFSET..OFFSET + patch.len()].copy_from_slice(&patch);
    // By pipes and uncached, on the own node and the other one.
    far.run(&format!(
        "printf ahoy | skiff segment put {owner} {ID} - --offset 5 --bytes 4 --uncached"
    ))?
    .check()?;
    data[5..9].copy_from_slice(b"ahoy");
    for (node, from) in [(near, "local".to_owned()), (far, owner.to_string())] {
        let line = format!("skiff segment get {from} {ID} - 2>/dev/null | sha256sum");
        let sum = node.run(&line)?.check()?.stdout_text().into_owned();
        ensure!(sum.starts_with(&sha256(&data)), "node {}", node.index());
    }
    let part = format!("skiff segment get {owner} {ID} - --offset 5 --bytes 4 2>/dev/null");
    let part = far.run(&part)?.check()?;
    ensure!(part.stdout == b"ahoy", "{part:?}");

    // Longer than it: nothing is written.
    for words in [
        format!("segment put {owner} {ID} /tmp/got --offset 1"),
        format!(
            "segment get {owner} {ID} /tmp/more --offset 1 --bytes {}",
            data.len()
        ),
    ] {
        let output = far.run(&format!("skiff {words}"))?;
        ensure!(output.status.code() == FAILED, "{output:?}");
        let text = output.stderr_text().into_owned();
        let wanted = format!(
            "skiff: {} bytes do not fit: the segment has {} bytes behind the offset\n  \
             help: take less: --bytes, --offset\n",
            data.len(),
            data.len() - 1
        );
        ensure!(text == wanted, "{text:?}");
    }
    let sum = value(far, &format!("segment get {owner} {ID} /tmp/got --sha256"))?;
    ensure!(sum["sha256"] == sha256(&data), "{sum}");
    end(job).map(drop)
}

fn events(context: &mut Context<'_>) -> Result<()> {
    let cluster = context.cluster;
    let (near, far) = (cluster.node(0), cluster.node(1));
    let (owner, user) = (near.port(0), far.port(0));
    let (job, _) = held(near, "--id 8 --bytes 1 --mode 644")?;
    let line = format!("exec skiff --json segment watch {owner} 8 </dev/null");
    let watcher = far.shell(&line).spawn()?;
    watcher.wait_for_output("\n", share::SOON)?;
    job.wait_for_output("connected", share::SOON)?;
    // It ends by a signal, as the owner does.
    let seen = end(watcher)?;
    ensure!(seen == [json!({ "id": 8, "bytes": 1 })], "{seen:?}");
    job.wait_for_output("disconnected", share::SOON)?;
    let counted = far.shell(&format!("{line} --count 1")).spawn()?;
    counted.wait_for_output("\n", share::SOON)?;
    let event =
        |name: &str, node: u8| json!({ "event": name, "node": node, "adapter": 0, "count": 1 });
    let told = end(job)?;
    let (came, went) = (event("connected", user), event("disconnected", user));
    ensure!(told[1..3] == [came, went], "{told:?}");
    let output = counted.wait()?.check()?;
    let seen = json_lines(&output.stdout)?;
    ensure!(
        seen.len() == 2 && seen[1] == event("removed", owner),
        "{seen:?}"
    );
    // The end of a pipe is the end, too.
    let line = "true | skiff segment create --bytes 1 --hold";
    let output = near.run(line)?.check()?;
    ensure!(output.stdout_text().contains("1 B"), "{output:?}");
    Ok(())
}
