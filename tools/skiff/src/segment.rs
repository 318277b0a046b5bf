// SPDX-License-Identifier: GPL-2.0
//! What is done with one segment.

pub mod copy;
pub mod create;
pub mod watch;

use serde::Serialize;
use sha2::Digest;
use sha2::Sha256;
use skiff::Adapter;
use skiff::Event;
use skiff::EventKind;

use crate::error::Error;
use crate::output::Output;

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// The SHA-256 of what passes, if it is wanted.
struct Digester(Option<Sha256>);

impl Digester {
    fn new(wanted: bool) -> Self {
        Self(wanted.then(Sha256::new))
    }

    fn take(&mut self, piece: &[u8]) {
        if let Some(hash) = &mut self.0 {
            hash.update(piece);
        }
    }

    fn end(self) -> Option<String> {
        Some(format!("{:x}", self.0?.finalize()))
    }
}

#[derive(Serialize)]
struct EventLine {
    event: &'static str,
    node: u32,
    adapter: Option<u32>,
    count: u32,
}

/// Prints an event of a segment, of a connection or of a borrowed device.
pub fn print_event(event: &Event, output: &Output) -> Result<(), Error> {
    let line = EventLine {
        event: match event.kind {
            EventKind::Connected => "connected",
            EventKind::Disconnected => "disconnected",
            EventKind::PeerLost => "peer-lost",
            EventKind::NotOperational => "not-operational",
            EventKind::Operational => "operational",
            EventKind::Lost => "lost",
            EventKind::Unavailable => "unavailable",
            EventKind::Removed => "removed",
            EventKind::Overflow => "overflow",
            EventKind::Ended => "ended",
            EventKind::SharerGone => "sharer-gone",
            _ => "unknown",
        },
        node: event.node,
        adapter: match event.adapter {
            Adapter::Any => None,
            Adapter::Number(number) => Some(number),
        },
        count: event.count,
    };
    output.line(&line, |line| match event.kind {
        EventKind::Overflow => format!("{} events were missed", line.count),
        _ => format!("{}: node {}", line.event, line.node),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_made_only_when_it_is_wanted() {
        let mut none = Digester::new(false);
        none.take(b"abc");
        assert_eq!(none.end(), None);
        let mut some = Digester::new(true);
        some.take(b"a");
        some.take(b"bc");
        assert_eq!(
            some.end().as_deref(),
            Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
    }
}
