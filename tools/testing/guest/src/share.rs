// SPDX-License-Identifier: GPL-2.0
//! Programs that share memory by skiff.ko, told step by step what to do.
//!
//! `actor NAME` is a process that holds objects of /dev/skiff under names, and `act NAME STEP` asks it for one step: so a
//! test writes down what several processes on several nodes do, in one place, in order. Each request is a connection to
//! the actor's socket and has a thread of its own; a step that waits does not hold up the others. Whoever started the actor
//! can write steps to its standard input instead, one line each, which spares a process a step.

mod bulk;
mod lend;
mod nvme;
mod objects;
mod pages;
pub mod probe;
mod rounds;
mod scattered;
mod step;
mod traffic;

use std::io::stdin;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::anyhow;
use anyhow::Context as _;
use anyhow::Result;
use clap::Args;
use nix::errno::Errno;
use nix::sys::resource::getrlimit;
use nix::sys::resource::setrlimit;
use nix::sys::resource::Resource;
use nix::unistd::setgroups;
use nix::unistd::setresgid;
use nix::unistd::setresuid;
use nix::unistd::Gid;
use nix::unistd::Uid;
use serde_json::json;
use serde_json::Value;

use self::objects::Objects;
use self::step::Line;

pub use self::bulk::sequence;
pub use self::pages::physical;

/// An actor can hold at least this many objects.
const FILES: u64 = 1 << 16;

/// A process that does steps until it is killed.
#[derive(Debug, Args)]
pub struct Actor {
    /// Name, for `act`.
    name: String,
    /// User to become, after /dev/skiff is open.
    #[arg(long)]
    uid: Option<u32>,
    /// Group to become.
    #[arg(long, default_value_t = 0)]
    gid: u32,
}

/// One step of an actor.
#[derive(Debug, Args)]
pub struct Act {
    /// The actor.
    name: String,
    /// The step and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    step: Vec<String>,
}

fn socket(name: &str) -> PathBuf {
    PathBuf::from(format!("/tmp/actor.{name}"))
}

impl Actor {
    /// Serves requests; says `ready` first. Its end is a signal.
    pub fn run(self) -> Result<()> {
        probe::catch_bus_errors()?;
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let files = most.max(FILES);
        setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
        let objects = Arc::new(Objects::open()?);
        let path = socket(&self.name);
        // What a killed namesake has left behind.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        if let Some(uid) = self.uid {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(self.gid));
            setgroups(&[])?;
            setresgid(gid, gid, gid)?;
            setresuid(uid, uid, uid)?;
        }
        println!("ready");
        let others = Arc::clone(&objects);
        let listener = thread::spawn(move || listen(&listener, &others));
        for line in stdin().lines() {
            println!("{}", answer(&line?, &objects));
        }
        listener
            .join()
            .map_err(|_| anyhow!("the thread that listens panicked"))?
    }
}

/// Serves what connects.
fn listen(listener: &UnixListener, objects: &Arc<Objects>) -> Result<()> {
    for stream in listener.incoming() {
        let (stream, objects) = (stream?, Arc::clone(objects));
        thread::spawn(move || serve(stream, &objects));
    }
    Ok(())
}

/// Answers one request. A client that went away wants no answer.
fn serve(stream: UnixStream, objects: &Objects) {
    let mut line = String::new();
    if BufReader::new(&stream).read_line(&mut line).is_ok() {
        let _ = writeln!(&stream, "{}", answer(&line, objects));
    }
}

/// Does a step.
fn answer(line: &str, objects: &Objects) -> Value {
    match Line::read(line).and_then(|step| step.run(objects)) {
        Ok(value) => json!({ "ok": value }),
        Err(cause) => json!({ "errno": errno(&cause), "error": format!("{cause:#}") }),
    }
}

/// The name of the errno that a step ended with, if one did.
fn errno(cause: &anyhow::Error) -> Value {
    let number = cause.chain().find_map(|cause| {
        let skiff = cause.downcast_ref::<skiff::Error>().map(objects::errno);
        skiff.or_else(|| cause.downcast_ref::<Errno>().copied())
    });
    number.map_or(Value::Null, |errno| json!(format!("{errno:?}")))
}

impl Act {
    /// Has the step done and prints the answer: `{"ok": …}`, or `{"errno": …, "error": …}`.
    pub fn run(self) -> Result<()> {
        let mut stream = UnixStream::connect(socket(&self.name))
            .with_context(|| format!("there is no actor {}", self.name))?;
        writeln!(stream, "{}", serde_json::to_string(&self.step)?)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        anyhow::ensure!(
            !answer.is_empty(),
            "the actor {} ended without an answer",
            self.name
        );
        print!("{answer}");
        Ok(())
    }
}
