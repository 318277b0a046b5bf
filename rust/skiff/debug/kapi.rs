// SPDX-License-Identifier: GPL-2.0

//! Files that show what kernel clients do.

use super::Shown;
use kernel::fmt;
use skiff_model::ids::ChannelId;

/// The channels that are open, and what came for others.
pub(super) fn channels(shown: &Shown, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let channels = shown.clients.channels();
    let mut from = Some(0);

    writeln!(f, "strays={}", channels.strays())?;
    while let Some(channel) = from.and_then(|from| channels.next(ChannelId::new(from))) {
        let number = channel.number().get();
        let counters = channel.counters();

        writeln!(
            f,
            "channel={number:#x} sent={} received={} dropped={} refused={}",
            counters.sent.get(),
            counters.received.get(),
            counters.dropped.get(),
            counters.refused.get(),
        )?;
        from = number.checked_add(1);
    }
    Ok(())
}
