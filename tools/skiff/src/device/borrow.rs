// SPDX-License-Identifier: GPL-2.0
//! `skiff device borrow`: holds a device and prints what happens to it.

use std::time::Duration;

use serde::Serialize;
use skiff::BorrowOptions;
use skiff::Context;
use skiff::EventKind;
use skiff::Share;

use crate::arguments::device::Borrow;
use crate::error::Error;
use crate::output::Output;
use crate::segment::print_event;
use crate::signals::Ending;
use crate::signals::Wake;

#[derive(Serialize)]
struct Holding {
    fdid: String,
    node: u32,
    exclusive: bool,
}

/// Borrows until the borrow ends or the command is to end.
pub fn run(wanted: &Borrow, output: &Output) -> Result<(), Error> {
    let ending = Ending::new()?;
    let mut options = BorrowOptions::new().timeout(wanted.timeout);
    if wanted.exclusive {
        options = options.exclusive();
    }
    let device = Context::open()?.borrow(wanted.fdid, &options)?;
    let info = device.info()?;
    let holding = Holding {
        fdid: info.device.fdid.to_string(),
        node: info.device.node,
        exclusive: info.share == Share::Exclusive,
    };
    output.line(&holding, |holding| {
        let how = if holding.exclusive {
            ", exclusively"
        } else {
            ""
        };
        format!("borrowed {} of node {}{how}", holding.fdid, holding.node)
    })?;
    loop {
        match ending.wait(&device)? {
            Wake::End => return Ok(device.give_back()?),
            Wake::Object => {
                let Some(event) = device.next_event(Some(Duration::ZERO))? else {
                    continue;
                };
                print_event(&event, output)?;
                if event.kind == EventKind::Ended {
                    return Ok(());
                }
            }
        }
    }
}
