// SPDX-License-Identifier: GPL-2.0
//! Doorbells, messages, events and the interrupt they share.

mod idt;

use std::time::Duration;

use idt::*;
use ntb_switch::model::Effect;
use ntb_switch::model::Link;
use ntb_switch::model::MessageFault;
use ntb_switch::model::ModelError;
use ntb_switch::model::Windows;

#[test]
fn global_doorbell_masks_say_whose_go_to_whom() {
    let (mut fabric, _) = Fabric::up(3, Windows::Lut12);
    fabric.let_all_see_all_doorbells();
    fabric.sw_write(0, 0x3ed00 + 4 * 5, 1 << 1);
    fabric.sw_write(0, 0x3ed80 + 4 * 6, 1 << 2);
    fabric.nt_write(1, OUTDBELLSET, (1 << 5) | (1 << 6));
    let mut seen = |index| fabric.nt_read(index, INDBELLSTS);
    assert_eq!((seen(0), seen(1), seen(2)), (1 << 6, 1 << 6, 0));
    fabric.nt_write(2, OUTDBELLSET, 1 << 5);
    assert_eq!(fabric.nt_read(2, INDBELLSTS), 1 << 5);
    assert_eq!(fabric.sw_read(0, 0x3ec3c), (1 << 5) | (1 << 6));
    // Everybody clears his own alone.
    fabric.nt_write(0, INDBELLSTS, !0);
    let mut seen = |index| fabric.nt_read(index, INDBELLSTS);
    assert_eq!(
        (seen(0), seen(1), seen(2)),
        (0, (1 << 5) | (1 << 6), 1 << 5)
    );
    assert_eq!(fabric.nt_read(1, OUTDBELLSET), 0);
}

#[test]
fn events_are_told_once_and_only_where_unmasked() {
    let (mut fabric, _) = Fabric::up(3, Windows::Lut12);
    fabric.sw_write(0, SW_SEPMSK, !0b011);
    fabric.nt_write(2, NTGSIGNAL, 1);
    assert_eq!(
        (fabric.taken(0), fabric.taken(1), fabric.taken(2)),
        (1, 1, 0)
    );
    assert_eq!(fabric.sw_read(0, SW_SEGSIGSTS), 1 << 2);
    assert_eq!(fabric.sw_read(0, SW_SESTS), 0x20);
    // The status bit stands: no second event, even for who has handled the first.
    fabric.nt_write(0, NTINTSTS, INT_SEVENT);
    fabric.nt_write(2, NTGSIGNAL, 1);
    assert_eq!(fabric.taken(0), 0);
    fabric.sw_write(0, SW_SEGSIGSTS, 1 << 2);
    fabric.nt_write(2, NTGSIGNAL, 1);
    assert_eq!(
        (fabric.taken(0), fabric.taken(1)),
        (1, 0),
        "port 1 has not handled the first"
    );
    fabric.handle(0);
    fabric.handle(1);
    for (register, value) in [(SW_SEMSK, !0), (SW_SEGSIGMSK, !0)] {
        fabric.taken(0);
        fabric.sw_write(0, SW_SEPMSK, 0);
        fabric.sw_write(0, SW_SEMSK, 0);
        fabric.sw_write(0, SW_SEGSIGMSK, 0);
        fabric.sw_write(0, register, value);
        fabric.nt_write(2, NTGSIGNAL, 1);
        fabric.sw_write(2, SW_SEGSIGSTS, !0);
        assert_eq!(fabric.taken(0), 0, "masked by {register:#x}");
    }
    fabric.nt_write(2, NTSDATA, 0x5eed);
    assert_eq!(fabric.sw_read(0, alias(4, NTSDATA)), 0x5eed);
}

#[test]
fn a_forced_link_is_down_for_both_ends() {
    let (mut fabric, drivers) = Fabric::up(3, Windows::Lut12);
    fabric.let_all_see_all_doorbells();
    let effects = fabric.switch.set_link(port(1), Link::Down);
    fabric.apply(effects);
    assert_eq!(
        (fabric.taken(0), fabric.taken(1), fabric.taken(2)),
        (1, 1, 1)
    );
    assert_eq!(drivers[0].link_is_up(&mut fabric), 0b10);
    assert_eq!(drivers[1].link_is_up(&mut fabric), 0b00);
    fabric.nt_write(1, OUTDBELLSET, 1);
    fabric.nt_write(0, OUTDBELLSET, 2);
    let mut seen = |index| fabric.nt_read(index, INDBELLSTS);
    assert_eq!((seen(0), seen(1), seen(2)), (2, 0, 2));
    drivers[0].msg_write(&mut fabric, 1, 0, 7);
    drivers[1].msg_write(&mut fabric, 0, 0, 7);
    assert_eq!(
        (fabric.nt_read(0, MSGSTS), fabric.nt_read(1, MSGSTS)),
        (1, 1)
    );
    let effects = fabric.switch.set_link(port(1), Link::Down);
    assert_eq!(effects, [], "no change");
    for index in 0..3 {
        fabric.handle(index);
        fabric.taken(index);
    }
    let effects = fabric.switch.set_link(port(1), Link::Up);
    fabric.apply(effects);
    assert_eq!(
        (fabric.taken(0), fabric.taken(1), fabric.taken(2)),
        (1, 1, 1)
    );
    assert_eq!(drivers[1].link_is_up(&mut fabric), 0b11);
    assert_eq!(fabric.switch.counts(port(0)).link_events, 2);
}

#[test]
fn an_interrupt_needs_msi_and_bus_mastering() {
    let (mut fabric, _) = Fabric::up(2, Windows::Lut12);
    fabric.let_all_see_all_doorbells();
    fabric.nt_write(1, INDBELLMSK, 0);
    for (off, on) in [
        ((MSI as u16 + 2, [0, 0]), [1, 0]),
        ((CMDSTS as u16, [2, 0]), [6, 0]),
    ] {
        let (register, value) = off;
        fabric.switch.config_write(port(1), register, &value);
        fabric.nt_write(0, OUTDBELLSET, 1);
        assert_eq!(fabric.taken(1), 0);
        assert!(!fabric.switch.interrupt_pending(port(1)));
        let effects = fabric.switch.config_write(port(1), register, &on);
        assert!(
            effects.contains(&Effect::Interrupt(port(1))),
            "sent as soon as it can be"
        );
        assert!(fabric.switch.interrupt_pending(port(1)));
        fabric.nt_write(1, INDBELLSTS, 1);
        assert!(!fabric.switch.interrupt_pending(port(1)));
    }
    fabric.nt_write(1, NTINTMSK, INT_DBELL);
    fabric.nt_write(0, OUTDBELLSET, 1);
    assert_eq!(fabric.taken(1), 0);
    assert_eq!(fabric.nt_read(1, NTINTSTS), INT_DBELL);
}

#[test]
fn message_faults_lose_and_delay_as_many_as_asked() {
    let (mut fabric, drivers) = Fabric::up(3, Windows::Lut12);
    let (from, to) = (port(0), port(1));
    fabric
        .switch
        .message_fault(from, to, Some(MessageFault::Lose), 2)
        .expect("both ports");
    for round in 0..3 {
        drivers[0].msg_write(&mut fabric, 1, 0, round);
        drivers[2].msg_write(&mut fabric, 1, 1, round);
        assert_eq!(fabric.nt_read(0, MSGSTS), 0, "the sender sees success");
        let expected = if round < 2 {
            1 << 17
        } else {
            (1 << 16) | (1 << 17)
        };
        assert_eq!(fabric.nt_read(1, MSGSTS), expected);
        fabric.nt_write(1, MSGSTS, !0);
    }
    let counts = fabric.switch.counts(from);
    assert_eq!((counts.messages_sent, counts.messages_lost), (3, 2));

    let wait = Duration::from_millis(7);
    fabric
        .switch
        .message_fault(from, to, Some(MessageFault::Delay(wait)), 3)
        .expect("both ports");
    fabric.nt_write(0, OUTMSG, 0xa);
    assert_eq!(fabric.nt_read(1, MSGSTS), 0);
    let message = fabric.late.pop();
    // The route was left at partition 1, register 0.
    let message = message.expect("a delayed message");
    assert_eq!(
        (message.from, message.to, message.register, message.data),
        (from, to, 0, 0xa)
    );
    fabric.nt_write(1, MSGSTSMSK, 0);
    let effects = fabric.switch.deliver(message);
    assert_eq!(effects, [Effect::Interrupt(to)]);
    assert_eq!(fabric.nt_read(1, INMSG), 0xa);
    assert_eq!(fabric.switch.deliver(message), [], "full: lost");
    fabric.nt_write(1, MSGSTS, !0);
    fabric
        .switch
        .message_fault(from, to, None, 0)
        .expect("both ports");
    drivers[0].msg_write(&mut fabric, 1, 0, 0xb);
    assert_eq!(fabric.nt_read(1, INMSG), 0xb, "healed");
    fabric.detach(1);
    assert_eq!(fabric.switch.deliver(message), []);
    assert_eq!(fabric.switch.counts(from).messages_lost, 4);
    let unknown = fabric.switch.message_fault(from, port(5), None, 0);
    assert_eq!(unknown, Err(ModelError::NoPort(port(5))));
}
