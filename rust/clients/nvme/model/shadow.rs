// SPDX-License-Identifier: GPL-2.0
//! Shadow doorbells (base specification, Doorbell Buffer Config, and annex B.5): what a doorbell would say is in memory, and
//! beside it an *event index*, by which the controller tells which value it wants to be told of by the doorbell itself.

use crate::doorbell::Doorbell;
use crate::doorbell::Stride;
use crate::queue::Moved;
use crate::PAGE;

/// Where a doorbell's shadow is in the page of shadows, and its event index in the page of these, 32 bits each.
pub fn place(stride: Stride, doorbell: Doorbell) -> u64 {
    stride.offset(doorbell)
}

/// Whether the shadows of all queues up to `last` are in one page.
pub fn fits(stride: Stride, last: u16) -> bool {
    place(stride, Doorbell::Head(last)) + 4 <= u64::from(PAGE)
}

/// Whether the controller wants to be told by the doorbell: the index left the value that the controller waits for to become
/// another one. `event` is what the controller says; only 16 bits of it mean something, and any value is as good as another.
pub fn wanted(event: u32, moved: Moved) -> bool {
    // CAST: The low half.
    let event = event as u16;
    let since = moved.to.wrapping_sub(event).wrapping_sub(1);
    since < moved.to.wrapping_sub(moved.from)
}
