// SPDX-License-Identifier: GPL-2.0
//! A mailbox for texts of other nodes.
//!
//! ```text
//! mailbox open 7              # on node 0: prints what comes, until an empty text does
//! mailbox post 0 7 ahoy       # on another node
//! ```
//!
//! The owner of the memory polls it, which costs the fabric nothing; who posts stores into it, and waits for no answer but
//! that the box is empty again.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use skiff::Adapter;
use skiff::ConnectOptions;
use skiff::Context;
use skiff::Map;
use skiff::MapOptions;
use skiff::SegmentOptions;

/// Where the number of a text's bytes is, plus one: 0 is an empty box.
const LENGTH: usize = 0;
/// Where the text is.
const TEXT: usize = 64;
/// The longest text.
const MOST: usize = 4096 - TEXT;
/// How long a box may stay full.
const LIMIT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["open", id] => id.parse().map_err(Into::into).and_then(open),
        ["post", node, id, text] => match (node.parse(), id.parse()) {
            (Ok(node), Ok(id)) => post(node, id, text),
            (Err(error), _) | (_, Err(error)) => Err(error.into()),
        },
        _ => Err("use: mailbox open ID, mailbox post NODE ID TEXT".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mailbox: {error}");
            ExitCode::FAILURE
        }
    }
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Makes the box and prints what comes.
fn open(id: u32) -> Result<()> {
    let context = Context::open()?;
    let segment = context.create(&SegmentOptions::new(4096).id(id).mode(0o666))?;
    let map = segment.map(&MapOptions::new())?;
    segment.prepare(Adapter::Any)?;
    segment.set_available(Adapter::Any)?;
    println!("open");
    loop {
        wait(&map, |length| length != 0, Duration::MAX)?;
        let length = usize::try_from(map.load_u64(LENGTH)? - 1)?.min(MOST);
        let mut text = vec![0; length];
        map.read(TEXT, &mut text)?;
        map.store_u64(LENGTH, 0)?;
        if text.is_empty() {
            return Ok(());
        }
        println!("{}", String::from_utf8_lossy(&text));
    }
}

/// Puts a text into another node's box.
fn post(node: u32, id: u32, text: &str) -> Result<()> {
    let text = text.as_bytes();
    if text.len() > MOST {
        return Err(format!("a text has at most {MOST} bytes").into());
    }
    let context = Context::open()?;
    let segment = context.connect(node, id, &ConnectOptions::new())?;
    let map = segment.map(&MapOptions::new())?;
    wait(&map, |length| length == 0, LIMIT)?;
    map.write(TEXT, text)?;
    // The text arrives before its length does.
    map.flush();
    map.store_u64(LENGTH, text.len() as u64 + 1)?;
    map.flush();
    wait(&map, |length| length == 0, LIMIT)
}

/// Polls the length until it is what is wanted.
fn wait(map: &Map, wanted: impl Fn(u64) -> bool, limit: Duration) -> Result<()> {
    let started = Instant::now();
    while !wanted(map.load_u64(LENGTH)?) {
        if started.elapsed() > limit {
            return Err("nobody empties the box".into());
        }
        sleep(Duration::from_millis(1));
    }
    Ok(())
}
