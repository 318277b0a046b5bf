// SPDX-License-Identifier: GPL-2.0

//! Files that show what this node lends, and who has borrowed it.

use super::Shown;
use crate::lend::End;
use kernel::fmt;
use skiff_model::wire::Contained;

/// The devices of the pool.
pub(super) fn devices(shown: &Shown, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    shown.lend.each_device(|device| {
        let info = device.info;

        writeln!(
            f,
            "fdid={:#x} domain={:#x} bdf={:#x} vendor={:#x} device={:#x} class={:#x} state={} contained={} borrowers={}",
            device.fdid.get(),
            info.domain,
            info.bdf.get(),
            info.vendor,
            info.device,
            info.class,
            device.state,
            u8::from(info.contained == Contained::Yes),
            info.borrowers,
        )
    })
}

/// Who has borrowed them.
pub(super) fn borrows(shown: &Shown, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    shown.lend.each_borrow(|borrow| {
        write!(
            f,
            "fdid={:#x} borrow={:#x} parts={} maps={}",
            borrow.fdid.get(),
            borrow.id.get(),
            borrow.parts,
            borrow.maps,
        )?;
        match borrow.end {
            End::Own => writeln!(f, " own=1"),
            End::Peer(adapter, port) => writeln!(f, " adapter={adapter} peer={port}"),
        }
    })
}
