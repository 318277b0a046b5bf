// SPDX-License-Identifier: GPL-2.0
//! Waiting: order, limits, and readers that are faster.

use std::time::Duration;

use super::context;
use crate::sys::fake::Call;
use crate::sys::fake::Wait;
use crate::uapi;
use crate::Adapter;
use crate::Event;
use crate::EventKind;

fn raw(type_: u32, node: u32) -> uapi::skiff_event {
    uapi::skiff_event {
        type_,
        node,
        count: 1,
        adapter: 0,
    }
}

#[test]
fn events_come_in_order() {
    let (context, fake) = context();
    let all = [
        (uapi::SKIFF_EVENT_CONNECTED, EventKind::Connected),
        (uapi::SKIFF_EVENT_DISCONNECTED, EventKind::Disconnected),
        (uapi::SKIFF_EVENT_PEER_LOST, EventKind::PeerLost),
        (uapi::SKIFF_EVENT_NOT_OPERATIONAL, EventKind::NotOperational),
        (uapi::SKIFF_EVENT_OPERATIONAL, EventKind::Operational),
        (uapi::SKIFF_EVENT_LOST, EventKind::Lost),
        (uapi::SKIFF_EVENT_UNAVAILABLE, EventKind::Unavailable),
        (uapi::SKIFF_EVENT_REMOVED, EventKind::Removed),
        (uapi::SKIFF_EVENT_OVERFLOW, EventKind::Overflow),
        (uapi::SKIFF_EVENT_ENDED, EventKind::Ended),
        (uapi::SKIFF_EVENT_SHARER_GONE, EventKind::SharerGone),
        (77, EventKind::Other(77)),
    ];
    for (type_, _) in all {
        fake.wait(Wait::Event(raw(type_, type_ + 1)));
    }
    for (type_, kind) in all {
        let event = Event {
            kind,
            node: type_ + 1,
            adapter: Adapter::Number(0),
            count: 1,
        };
        assert_eq!(context.next_event(None), Ok(Some(event)));
    }
}

#[test]
fn a_wait_ends_at_its_limit() {
    let (context, fake) = context();
    assert_eq!(context.next_event(Some(Duration::ZERO)), Ok(None));
    let timeout = Some(Duration::ZERO);
    assert_eq!(fake.calls(), [Call::Poll { timeout }]);
}

#[test]
fn an_event_that_another_reader_took_is_waited_for_again() {
    let (context, fake) = context();
    fake.wait(Wait::Stolen);
    fake.wait(Wait::Event(raw(uapi::SKIFF_EVENT_OPERATIONAL, 1)));
    let limit = Duration::from_secs(3600);
    let event = context.next_event(Some(limit)).expect("waited");
    assert_eq!(event.map(|event| event.node), Some(1));
    match fake.calls()[..] {
        [Call::Poll {
            timeout: Some(first),
        }, Call::Poll {
            timeout: Some(second),
        }] => assert!(second <= first && first <= limit),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_lost_object_tells_no_more() {
    let (context, fake) = context();
    fake.wait(Wait::HungUp);
    let error = context.next_event(None).expect_err("lost");
    assert_eq!(error.errno(), libc::ECONNRESET);
    assert_eq!(
        error.to_string(),
        "cannot wait for an event: the object is lost or removed (ECONNRESET)"
    );
}
