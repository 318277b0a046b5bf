// SPDX-License-Identifier: GPL-2.0
//! The socket through which other terminals reach the cluster: `cluster.sock` in its run directory.
//!
//! One thread accepts, one serves each connection, a second one of each shell passes on what is typed.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;

use skiff_agent::message::CHUNK;
use skiff_cluster::{Cluster, Conversation, Node};

use crate::wire::{send, Ask, Receiver, Tell};
use crate::Failure;

/// The socket of the cluster in this run directory.
pub fn socket(run_dir: &Path) -> PathBuf {
    run_dir.join("cluster.sock")
}

/// Begins to serve; the thread lasts as long as the process.
///
/// # Errors
/// When the socket cannot be made.
pub fn start(cluster: &Arc<Cluster>) -> io::Result<()> {
    let listener = UnixListener::bind(socket(cluster.run_dir()))?;
    let cluster = Arc::downgrade(cluster);
    thread::Builder::new()
        .name("server".to_owned())
        .spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let cluster = Weak::clone(&cluster);
                thread::spawn(move || serve(&connection, &cluster));
            }
        })?;
    Ok(())
}

fn serve(connection: &UnixStream, cluster: &Weak<Cluster>) {
    let Some(cluster) = cluster.upgrade() else {
        return;
    };
    let mut requests = Receiver::new(connection);
    let result = match requests.next() {
        Ok(Some(Ask::Shell { node, size })) => {
            find(&cluster, node).and_then(|node| shell(connection, requests, node, size))
        }
        Ok(Some(Ask::Run { node, line })) => {
            find(&cluster, node).and_then(|node| run(connection, node, &line))
        }
        _ => return,
    };
    let last = match result {
        Ok(code) => Tell::Ended(code),
        Err(error) => Tell::Refused(error.to_string()),
    };
    // Who has gone need not be told.
    let _ = send(connection, &last);
    let _ = connection.shutdown(std::net::Shutdown::Both);
}

fn find(cluster: &Cluster, node: usize) -> Result<&Node, Failure> {
    let nodes = cluster.nodes();
    nodes.get(node).ok_or_else(|| {
        format!(
            "there is no node {node}, the last is {}",
            nodes.len().saturating_sub(1)
        )
        .into()
    })
}

fn run(connection: &UnixStream, node: &Node, line: &str) -> Result<i32, Failure> {
    let output = node
        .shell(line)
        .timeout(std::time::Duration::from_secs(24 * 3600))
        .run()?;
    for piece in output.stdout.chunks(CHUNK) {
        send(connection, &Tell::Output(piece.to_vec()))?;
    }
    for piece in output.stderr.chunks(CHUNK) {
        send(connection, &Tell::Errors(piece.to_vec()))?;
    }
    Ok(output.status.code())
}

fn shell(
    connection: &UnixStream,
    typed: Receiver<'_>,
    node: &Node,
    size: (u16, u16),
) -> Result<i32, Failure> {
    let conversation = node.command(["/bin/sh", "-l"]).interact(size)?;
    thread::scope(|scope| {
        let keyboard = scope.spawn(|| pass_on(typed, &conversation));
        let result = show(connection, &conversation);
        // Ends the reading of what is typed, but not the sending of what is still to be said.
        let _ = connection.shutdown(std::net::Shutdown::Read);
        let typing = keyboard
            .join()
            .map_err(|_| "the keyboard's thread panicked")?;
        result?;
        typing?;
        Ok(conversation.status()?.code())
    })
}

/// The terminal's output, until its shell ends or the other side has gone.
fn show(connection: &UnixStream, conversation: &Conversation) -> Result<(), Failure> {
    while let Some(data) = conversation.read()? {
        for piece in data.chunks(CHUNK) {
            if send(connection, &Tell::Output(piece.to_vec())).is_err() {
                conversation.hang_up();
            }
        }
    }
    Ok(())
}

fn pass_on(mut typed: Receiver<'_>, conversation: &Conversation) -> Result<(), Failure> {
    loop {
        match typed.next::<Ask>() {
            Ok(Some(Ask::Input(bytes))) => conversation.write(&bytes)?,
            Ok(Some(Ask::Resize(size))) => conversation.resize(size),
            Ok(Some(_)) => {}
            // The terminal was closed, or the shell has ended.
            Ok(None) | Err(_) => {
                conversation.hang_up();
                return Ok(());
            }
        }
    }
}
