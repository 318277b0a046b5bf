// SPDX-License-Identifier: GPL-2.0
//! Mapped windows: what a helper is told, when, and what happens when it does not obey.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use ntb_remap::wire::PAGE;
use ntb_switch::control::{LinkState, WindowState};
use ntb_switch::model::Layout;
use ntb_switch::server::WindowMode;
use skiff_vfio_user::wire::RegionInfoMessage;

use crate::support::{wait_until, Fabric, Helper, Node, APERTURE, MOST_PIECES, RAM, SLOT};

/// Two nodes whose windows have helpers; the first looks at the second's memory through slot 0.
struct Pair {
    fabric: Fabric,
    a: Node,
    b: Node,
    window: Helper,
    _other: Helper,
}

impl Pair {
    fn new(layout: Layout) -> Self {
        let fabric = Fabric::new(2, WindowMode::Mapped, layout);
        // In the companion layout the window exists before the function, in the chip's layout after it.
        let early =
            (layout == Layout::Companion).then(|| Helper::new(&fabric.socket("remap.sock"), 0));
        let (a, b) = (fabric.node(0), fabric.node(1));
        let window = early.unwrap_or_else(|| Helper::new(&fabric.socket("remap.sock"), 0));
        let other = Helper::new(&fabric.socket("remap.sock"), 1);
        let pair = Self {
            fabric,
            a,
            b,
            window,
            _other: other,
        };
        wait_until("both links are up", || pair.links() == [LinkState::Up; 2]);
        pair
    }

    fn links(&self) -> Vec<LinkState> {
        self.fabric
            .control
            .status()
            .unwrap()
            .ports
            .iter()
            .map(|port| port.link)
            .collect()
    }

    /// The place in b's memory file as helpers name it.
    fn in_b(&self, offset: u64) -> Option<(u64, u64)> {
        Some((self.b.ram.metadata().unwrap().ino(), offset))
    }
}

#[test]
fn a_register_write_is_answered_when_the_window_shows_it() {
    for layout in [Layout::Chip, Layout::Companion] {
        let pair = Pair::new(layout);
        let window = &pair.window;
        window.slow(Duration::from_millis(30));
        pair.a.program(2, 0, 1, 0x10_0000);
        assert_eq!(window.shows(0), pair.in_b(0x10_0000));
        assert_eq!(window.shows(SLOT - 1), pair.in_b(0x10_0000 + SLOT - 1));
        assert_eq!(window.shows(SLOT), None);
        pair.a.program(2, 0, 1, 0x20_0000);
        assert_eq!(window.shows(0), pair.in_b(0x20_0000));
        pair.a.clear(2, 0);
        assert_eq!(window.pages(), 0);
        // The same by other registers: the requester's gate, the target's gate, a reset.
        pair.a.program(2, 0, 1, 0);
        for (node, close, open) in [(&pair.a, 4u16, 6u16), (&pair.b, 2, 6)] {
            node.write(7, 4, &close.to_le_bytes());
            assert_eq!(window.pages(), 0);
            node.write(7, 4, &open.to_le_bytes());
            assert_eq!(window.shows(0), pair.in_b(0));
        }
        pair.b.reset();
        assert_eq!(window.pages(), 0);
        let counts = pair.fabric.control.counters(0).unwrap();
        assert_eq!(counts.view_updates, 9);
        assert_eq!(counts.view_pieces, 9);
        assert_eq!(counts.posted_writes + counts.non_posted_reads, 0);
    }
}

#[test]
fn an_unmap_is_answered_when_no_window_shows_the_memory() {
    let pair = Pair::new(Layout::Chip);
    let window = &pair.window;
    pair.a.program(2, 0, 1, 0);
    pair.a.program(2, 3, 1, 0);
    window.slow(Duration::from_millis(30));
    pair.b.unmap(0x1000, 0x2000);
    for slot in [0, 3 * SLOT] {
        assert_eq!(window.shows(slot + 0xfff), pair.in_b(0xfff));
        assert_eq!(window.shows(slot + 0x1000), None);
        assert_eq!(window.shows(slot + 0x2fff), None);
        assert_eq!(window.shows(slot + 0x3000), pair.in_b(0x3000));
    }
    pair.b.map(0x2000, 0x1000, 0x30_0000, &pair.b.ram).unwrap();
    assert_eq!(window.shows(0x2000), pair.in_b(0x30_0000));
    assert_eq!(window.shows(3 * SLOT + 0x2000), pair.in_b(0x30_0000));
    // What no window shows is no helper's business.
    let updates = window.updates();
    pair.b.unmap(2 * SLOT, SLOT);
    assert_eq!(window.updates(), updates);
    pair.b.unmap(0, RAM);
    assert_eq!(window.pages(), 0);
}

#[test]
fn many_pieces_go_in_several_updates_and_end_up_right() {
    let pair = Pair::new(Layout::Chip);
    pair.b.unmap(0, RAM);
    // Every second page, backwards in the file: nothing can be merged.
    for page in 0..200 {
        let offset = RAM - (page + 1) * 2 * PAGE;
        pair.b.map(page * PAGE, PAGE, offset, &pair.b.ram).unwrap();
    }
    pair.a.program(2, 1, 1, 0);
    assert_eq!(pair.window.pieces(), [128, 72]);
    for page in 0..200 {
        let offset = RAM - (page + 1) * 2 * PAGE;
        assert_eq!(pair.window.shows(SLOT + page * PAGE), pair.in_b(offset));
    }
    assert_eq!(pair.window.shows(SLOT + 200 * PAGE), None);
}

#[test]
fn a_helper_that_comes_late_is_told_everything() {
    let fabric = Fabric::new(2, WindowMode::Mapped, Layout::Chip);
    let (a, b) = (fabric.node(0), fabric.node(1));
    let _other = Helper::new(&fabric.socket("remap.sock"), 1);
    a.program(2, 0, 1, 0);
    let status = fabric.control.status().unwrap();
    assert_eq!(status.ports[0].link, LinkState::Down);
    assert_eq!(status.ports[0].window, WindowState::WaitsForHelper);

    // Half a window is no window.
    let low = Helper::part(&fabric.socket("remap.sock"), 0, 0, APERTURE / 2);
    let high = Helper::part(&fabric.socket("remap.sock"), 0, APERTURE / 2, APERTURE / 2);
    wait_until("the link is up", || {
        fabric.control.status().unwrap().ports[0].link == LinkState::Up
    });
    let ino = b.ram.metadata().unwrap().ino();
    wait_until("the window shows b", || low.shows(0) == Some((ino, 0)));
    a.program(2, 7, 1, SLOT);
    a.program(2, 8, 1, 2 * SLOT);
    assert_eq!(low.shows(7 * SLOT), Some((ino, SLOT)));
    assert_eq!(high.shows(0), Some((ino, 2 * SLOT)));
    assert_eq!(
        fabric.control.status().unwrap().ports[0].window,
        WindowState::Mapped
    );
}

#[test]
fn a_helper_that_does_not_answer_loses_the_link_and_may_come_back() {
    let Pair {
        fabric,
        a,
        b,
        window,
        _other,
    } = Pair::new(Layout::Chip);
    let links = || {
        fabric
            .control
            .status()
            .unwrap()
            .ports
            .iter()
            .map(|port| port.link)
            .collect::<Vec<_>>()
    };
    a.program(2, 0, 1, 0);
    window.silent();
    let start = Instant::now();
    b.unmap(0, 0x1000);
    assert!(start.elapsed() >= Duration::from_millis(90));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(links(), [LinkState::Down, LinkState::Up]);
    wait_until("the helper is let go", || window.is_closed());
    // Nobody waits for it any more.
    let start = Instant::now();
    for _ in 0..50 {
        b.map(0, 0x1000, 0, &b.ram).unwrap();
        b.unmap(0, 0x1000);
    }
    assert!(start.elapsed() < Duration::from_secs(5));

    let window = Helper::new(&fabric.socket("remap.sock"), 0);
    wait_until("the link is back", || links() == [LinkState::Up; 2]);
    let ino = b.ram.metadata().unwrap().ino();
    assert_eq!(window.shows(0x1000), Some((ino, 0x1000)));
    assert_eq!(window.shows(0), None);
}

#[test]
fn an_error_of_a_helper_is_as_bad_as_no_answer() {
    let pair = Pair::new(Layout::Chip);
    pair.window.failing(12);
    pair.a.program(2, 0, 1, 0);
    assert_eq!(pair.links(), [LinkState::Down, LinkState::Up]);
    wait_until("the helper is let go", || pair.window.is_closed());
    assert_eq!(pair.a.read32(2, 0), u32::MAX);
}

#[test]
fn a_helper_that_goes_takes_the_link_with_it() {
    let Pair {
        fabric,
        a,
        b: _b,
        window,
        _other,
    } = Pair::new(Layout::Companion);
    a.program(2, 0, 1, 0);
    drop(window);
    wait_until("the link is down", || {
        fabric.control.status().unwrap().ports[0].link == LinkState::Down
    });
}

#[test]
fn accesses_to_dead_pages_are_counted() {
    let pair = Pair::new(Layout::Chip);
    pair.a.program(2, 0, 1, 0);
    pair.window.dead_accesses(41);
    assert_eq!(
        pair.fabric
            .control
            .counters(0)
            .unwrap()
            .unsupported_requests,
        41
    );
    pair.window.dead_accesses(42);
    pair.a.clear(2, 0);
    let counts = pair.fabric.control.counters(0).unwrap();
    assert_eq!(counts.unsupported_requests, 42);
    assert_eq!(counts.view_updates, 2);
}

#[test]
fn the_memory_window_is_where_the_layout_says() {
    for (mode, layout, size, mappable) in [
        (WindowMode::Mapped, Layout::Chip, APERTURE, true),
        (WindowMode::Trapped, Layout::Chip, APERTURE, false),
        (WindowMode::Mapped, Layout::Companion, 0, false),
    ] {
        let fabric = Fabric::new(1, mode, layout);
        let node = fabric.node(0);
        let region = node.region(2);
        assert_eq!(region.size, size);
        assert_eq!(region.flags & RegionInfoMessage::FLAG_MMAP != 0, mappable);
        for other in [0, 4, 7] {
            let region = node.region(other);
            assert_eq!(
                region.flags, 3,
                "region {other} can be read and written, not mapped"
            );
            assert!(region.size >= 0x1000);
        }
        let vectors = if layout == Layout::Companion {
            0x1000
        } else {
            0
        };
        assert_eq!(node.region(1).size, vectors);
        for absent in [3, 5, 6, 8] {
            assert_eq!(node.region(absent).size, 0);
        }
    }
}

#[test]
fn a_window_of_too_many_pieces_shows_the_first_and_counts() {
    let pair = Pair::new(Layout::Chip);
    // Both windows are of this process; a dead piece lies behind each of the others.
    let most = MOST_PIECES as u64 / 2;
    let pages = SLOT / PAGE / 2;
    assert!(2 * pages > most && pages < most);
    pair.b.unmap(0, RAM);
    pair.a.program(2, 0, 1, 0);
    for page in 0..pages {
        pair.b
            .map(2 * page * PAGE, PAGE, page * PAGE, &pair.b.ram)
            .unwrap();
    }
    let shows = |page: u64| pair.window.shows(2 * page * PAGE);
    let fit = (most - 1).div_ceil(2);
    for page in 0..pages {
        let there = if page < fit {
            pair.in_b(page * PAGE)
        } else {
            None
        };
        assert_eq!(shows(page), there, "{page}");
    }
    let overflows = || pair.fabric.control.counters(0).unwrap().view_overflows;
    assert!(overflows() > 0);
    // When there is room again the rest shows.
    pair.b.unmap(0, 2 * PAGE * 40);
    for page in 0..pages {
        let there = if page < 40 {
            None
        } else {
            pair.in_b(page * PAGE)
        };
        assert_eq!(shows(page), there, "{page}");
    }
    let before = overflows();
    pair.b.unmap(0x4_0000, PAGE);
    pair.b.unmap(2 * PAGE * (pages - 1), PAGE);
    assert_eq!(overflows(), before);
}
