// SPDX-License-Identifier: GPL-2.0
//! `skiff segment watch`: holds a connection and prints what happens to it.

use std::time::Duration;

use serde::Serialize;
use skiff::Context;
use skiff::EventKind;

use super::print_event;
use crate::arguments::Watch;
use crate::error::Error;
use crate::output::length;
use crate::output::Output;
use crate::signals::Ending;
use crate::signals::Wake;

#[derive(Serialize)]
struct Watching {
    id: u32,
    bytes: u64,
}

/// Connects for reading and prints events until the connection is lost or a signal comes.
pub fn run(wanted: &Watch, output: &Output) -> Result<(), Error> {
    let ending = Ending::of_signals()?;
    let context = Context::open()?;
    let options = wanted.reach.options().read_only();
    let segment = context.connect(wanted.node, wanted.id, &options)?;
    let watching = Watching {
        id: wanted.id,
        bytes: segment.bytes(),
    };
    output.line(&watching, |watching| {
        format!("segment {}: {}", watching.id, length(watching.bytes))
    })?;
    let mut left = wanted.count.unwrap_or(u64::MAX);
    while left > 0 {
        match ending.wait(&segment)? {
            Wake::End => return Ok(()),
            Wake::Object => {
                let Some(event) = segment.next_event(Some(Duration::ZERO))? else {
                    continue;
                };
                print_event(&event, output)?;
                if event.kind == EventKind::Lost {
                    return Ok(());
                }
                left -= 1;
            }
        }
    }
    Ok(())
}
