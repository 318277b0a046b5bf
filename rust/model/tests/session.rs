// SPDX-License-Identifier: GPL-2.0
//! A session by itself: what a peer says of itself that cannot be.

use skiff_model::ids::AdapterId;
use skiff_model::ids::Generation;
use skiff_model::ids::NodeId;
use skiff_model::ids::Port;
use skiff_model::ids::SessionId;
use skiff_model::session::Action;
use skiff_model::session::Input;
use skiff_model::session::Local;
use skiff_model::session::Peer;
use skiff_model::session::Session;
use skiff_model::session::State;
use skiff_model::wire::Boot;
use skiff_model::wire::Hello;
use skiff_model::wire::Nonce;
use skiff_model::wire::Phase;

/// The generation of the side that is tested.
const OWN: u64 = 10;

fn session() -> Session {
    let local = Local {
        generation: Generation::new(OWN).unwrap(),
        node: NodeId::new(0).unwrap(),
        adapter: AdapterId::new(0).unwrap(),
    };
    Session::new(local, 1000, 1)
}

fn hello(generation: u64, nonce: Nonce, echo: SessionId) -> Input {
    Input::Hello(Hello {
        version_min: 1,
        version_max: 1,
        generation: Generation::new(generation).unwrap(),
        session: SessionId::new(7).unwrap(),
        echo: Some(echo),
        node: NodeId::new(1).unwrap(),
        adapter: AdapterId::new(0).unwrap(),
        nonce,
        phase: Phase::Greeting,
        start: 0,
    })
}

fn feed(session: &mut Session, input: Input) -> Vec<Action> {
    let mut actions = Vec::new();
    session.on(input, 1000, &mut |action| actions.push(action));
    actions
}

#[test]
fn who_said_that_it_is_an_own_adapter_can_still_be_replaced_behind_a_link_that_stays() {
    let mut session = session();
    let liar = Boot::new(0x100, Nonce::of(3)).unwrap();
    feed(&mut session, Input::LinkUp);
    feed(&mut session, Input::Boot(liar));
    let own = session.own();
    feed(&mut session, hello(OWN, liar.nonce(), own));
    assert_eq!(session.state(), State::Own);
    // It says the same again as long as it has not found out itself.
    feed(&mut session, Input::Boot(liar));
    assert_eq!(session.state(), State::Own);
    let other = Boot::new(0x100, Nonce::of(4)).unwrap();
    let actions = feed(&mut session, Input::Boot(other));
    assert_eq!(session.state(), State::Greeting);
    assert!(actions.contains(&Action::NewInbox), "{actions:?}");
    let own = session.own();
    feed(&mut session, hello(11, other.nonce(), own));
    assert_eq!(session.state(), State::Up);
}

#[test]
fn adapter_0_is_behind_the_port_that_its_node_is_called_after() {
    let peer = |node, adapter| Peer {
        generation: Generation::new(11).unwrap(),
        session: SessionId::new(7).unwrap(),
        node: NodeId::new(node).unwrap(),
        adapter: AdapterId::new(adapter).unwrap(),
    };
    let port = Port::new(2).unwrap();
    assert!(peer(2, 0).may_be_behind(port));
    assert!(!peer(1, 0).may_be_behind(port));
    assert!(!peer(63, 0).may_be_behind(port));
    // Where its other adapters are only the node itself knows.
    assert!(peer(1, 1).may_be_behind(port));
}
