// SPDX-License-Identifier: GPL-2.0
//! Making, finding, connecting and ending.

use std::time::Duration;

use nix::errno::Errno;

use super::context;
use crate::size_of_abi;
use crate::sys::fake::Call;
use crate::uapi;
use crate::Access;
use crate::Adapter;
use crate::Buffer;
use crate::ConnectOptions;
use crate::Containment;
use crate::Iommu;
use crate::Layout;
use crate::Node;
use crate::NodeState;
use crate::RemoteState;
use crate::Removal;
use crate::Revoked;
use crate::SegmentOptions;

fn created(options: &SegmentOptions) -> uapi::skiff_segment_create {
    let (context, fake) = context();
    context.create(options).expect("created");
    match fake.calls()[..] {
        [Call::Create(raw)] => raw,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn options_of_a_segment_reach_the_kernel() {
    let plain = created(&SegmentOptions::new(5));
    assert_eq!(
        plain,
        uapi::skiff_segment_create {
            size: size_of_abi::<uapi::skiff_segment_create>(),
            flags: uapi::SKIFF_SEGMENT_ANY_ID,
            mode: 0o600,
            bytes: 5,
            ..Default::default()
        }
    );
    let named = created(&SegmentOptions::new(1).id(7).mode(0o644).nodes(&[0, 63]));
    assert_eq!(named.flags, 0);
    assert_eq!(named.id, 7);
    assert_eq!(named.mode, 0o644);
    assert_eq!(named.nodes, (1 << 63) | 1);
    let private = created(&SegmentOptions::new(1).id(7).private());
    assert_eq!(private.flags, uapi::SKIFF_SEGMENT_PRIVATE);
    assert_eq!(private.id, 0);
}

#[test]
fn a_buffer_becomes_a_segment_of_its_length() {
    let buffer = Buffer::new(4097).expect("memory");
    let raw = created(&SegmentOptions::new(1).buffer(&buffer));
    assert_eq!(
        raw.flags,
        uapi::SKIFF_SEGMENT_USER | uapi::SKIFF_SEGMENT_ANY_ID
    );
    assert_eq!(raw.bytes, 8192);
    assert_eq!(raw.user_addr, buffer.as_ptr().addr() as u64);
    assert_eq!(raw.user_addr % 4096, 0);
}

#[test]
fn a_node_without_a_bit_does_not_reach_the_kernel() {
    let (context, fake) = context();
    let refused = context.create(&SegmentOptions::new(1).nodes(&[64]));
    assert_eq!(refused.expect_err("no such node").errno(), libc::EINVAL);
    assert_eq!(fake.calls(), []);
}

#[test]
fn the_kernel_chooses_an_id() {
    let (context, _) = context();
    let segment = context.create(&SegmentOptions::new(3)).expect("created");
    assert_eq!((segment.id(), segment.bytes()), (0x8000_0000, 3));
}

#[test]
fn options_of_a_connection_reach_the_kernel() {
    let (context, fake) = context();
    let _segment = context.create(&SegmentOptions::new(9).id(7)).expect("made");
    fake.calls();
    let connected = |options: &ConnectOptions, node: Node| {
        let segment = context.connect(node, 7, options).expect("connected");
        assert_eq!(segment.bytes(), 9);
        match fake.calls()[..] {
            [Call::Connect(raw)] => raw,
            ref other => panic!("{other:?}"),
        }
    };
    let plain = connected(&ConnectOptions::new(), Node::Number(3));
    assert_eq!(
        plain,
        uapi::skiff_segment_connect {
            size: size_of_abi::<uapi::skiff_segment_connect>(),
            node: 3,
            adapter: uapi::SKIFF_ADAPTER_ANY,
            id: 7,
            ..Default::default()
        }
    );
    let options = ConnectOptions::new().adapter(1).read_only();
    let chosen = connected(&options, Node::Local);
    assert_eq!(chosen.node, uapi::SKIFF_NODE_LOCAL);
    assert_eq!(chosen.adapter, 1);
    assert_eq!(chosen.flags, uapi::SKIFF_CONNECT_READ_ONLY);
    for (limit, milliseconds) in [
        (Duration::ZERO, 1),
        (Duration::from_micros(1), 1),
        (Duration::from_micros(1001), 2),
        (Duration::from_secs(60), 60_000),
        (Duration::MAX, u32::MAX),
    ] {
        let raw = connected(&ConnectOptions::new().timeout(limit), Node::Local);
        assert_eq!(raw.timeout_ms, milliseconds, "{limit:?}");
    }
}

#[test]
fn segments_are_found_one_after_the_other() {
    let (context, _) = context();
    let options = ConnectOptions::new();
    let _a = context.create(&SegmentOptions::new(1).id(4)).expect("made");
    let _b = context.create(&SegmentOptions::new(2).id(9)).expect("made");
    let found = |from| {
        let found = context.query(0, from, &options).expect("asked");
        found.map(|found| (found.id, found.bytes))
    };
    assert_eq!(found(0), Some((4, 1)));
    assert_eq!(found(5), Some((9, 2)));
    assert_eq!(found(10), None);
}

#[test]
fn an_error_of_a_query_is_not_the_end_of_the_list() {
    let (context, fake) = context();
    fake.fail(Errno::ENOLINK);
    let error = context.query(0, 0, &ConnectOptions::new());
    assert_eq!(error.expect_err("no link").errno(), libc::ENOLINK);
}

#[test]
fn what_is_done_with_a_segment_reaches_the_kernel() {
    let (context, fake) = context();
    let segment = context.create(&SegmentOptions::new(1)).expect("made");
    fake.calls();
    segment.prepare(Adapter::Any).expect("prepared");
    segment.set_available(2).expect("available");
    segment.set_unavailable(Adapter::Any).expect("unavailable");
    let adapter = |adapter| Call::Adapter(uapi::skiff_segment_adapter { size: 8, adapter });
    let any = uapi::SKIFF_ADAPTER_ANY;
    assert_eq!(fake.calls(), [adapter(any), adapter(2), adapter(any)]);

    segment.remove(Removal::IfIdle).expect("removed");
    segment.remove(Removal::Force).expect("removed");
    let remove = |flags| Call::Remove(uapi::skiff_segment_remove { size: 8, flags });
    assert_eq!(fake.calls(), [remove(0), remove(uapi::SKIFF_REMOVE_FORCE)]);

    let revoked = segment.revoke(1, Some(Duration::from_secs(1)));
    assert_eq!(
        revoked,
        Ok(Revoked {
            revoked: 3,
            unconfirmed: 1
        })
    );
    match fake.calls()[..] {
        [Call::Revoke(raw)] => assert_eq!((raw.node, raw.timeout_ms), (1, 1000)),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn answers_become_values() {
    let (context, _) = context();
    let info = context.info().expect("info");
    assert_eq!((info.node, info.generation), (2, 9));
    assert_eq!(info.containment, Containment::Contained);
    assert_eq!(info.nodes.iter().collect::<Vec<_>>(), [0, 2]);
    assert_eq!(info.adapters.len(), 2);

    let adapter = context.adapter(1).expect("adapter");
    assert_eq!((adapter.adapter, adapter.port, adapter.slots), (1, 2, 12));
    assert_eq!(adapter.layout, Layout::Companion);
    assert_eq!(adapter.iommu, Iommu::Absent);
    assert!(adapter.ports_up.contains(0));
    assert!(!adapter.ports_up.contains(64));

    let segment = context.create(&SegmentOptions::new(1)).expect("made");
    let info = segment.info().expect("info");
    assert_eq!((info.id, info.bytes), (7, 4097));
    assert!(info.nodes.is_empty());
    assert_eq!((info.prepared.bits(), info.available.bits()), (3, 1));

    let remote = context.connect(Node::Local, segment.id(), &ConnectOptions::new());
    let info = remote.expect("connected").info().expect("info");
    assert_eq!((info.node, info.adapter), (Node::Local, Adapter::Any));
    assert_eq!(info.state, RemoteState::Lost);
    assert_eq!(info.access, Access::ReadOnly);
}

#[test]
fn nodes_that_are_not_known_are_left_out() {
    let (context, fake) = context();
    let nodes = context.nodes().expect("nodes");
    let states: Vec<_> = nodes.iter().map(|node| (node.node, node.state)).collect();
    assert_eq!(states, [(0, NodeState::Up), (2, NodeState::Greeting)]);
    assert_eq!(context.node(Node::Local).expect("node").node, 2);
    fake.fail(Errno::ENODEV);
    assert_eq!(
        context.nodes().expect_err("no device").errno(),
        libc::ENODEV
    );
}
