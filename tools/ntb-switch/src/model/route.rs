// SPDX-License-Identifier: GPL-2.0
//! Where an access through a window goes, and whose windows a change of some state concerns.

use super::port::Bar;
use super::port::Port;
use super::Effect;
use super::Reject;
use super::Route;
use super::Switch;

impl Switch {
    /// Where an access at `offset` of a window goes, and for how many bytes from there on.
    pub fn route(&self, port: Port, bar: Bar, offset: u64) -> Route {
        let refuse = |reason, len| Route::Unsupported { reason, len };
        let Some(endpoint) = self.endpoint(port) else {
            return refuse(Reject::OutOfWindow, u64::MAX - offset.min(u64::MAX - 1));
        };
        let Some(window) = endpoint
            .window(bar)
            .filter(|window| offset < window.aperture())
        else {
            return refuse(Reject::OutOfWindow, u64::MAX - offset.min(u64::MAX - 1));
        };
        let rest = window.aperture() - offset;
        if !endpoint.function.decodes() {
            return refuse(Reject::MemoryDisabled, rest);
        }
        let translated = match window.translate(endpoint.function.bar_address(bar), offset) {
            Ok(translated) => translated,
            Err((reason, len)) => return refuse(reason, len),
        };
        if !self.link_up(port) {
            return refuse(Reject::LinkDown, rest);
        }
        if !endpoint.id_protection_disabled() && !self.requesters.admitted(port) {
            return refuse(Reject::Requester, rest);
        }
        let target = u8::try_from(translated.partition)
            .ok()
            .and_then(Port::new)
            .filter(|target| *target != port)
            .and_then(|target| Some((target, self.endpoint(target)?)));
        let Some((target, peer)) = target else {
            return refuse(Reject::BadPartition, translated.len);
        };
        if !self.link_up(target) {
            return refuse(Reject::TargetLinkDown, translated.len);
        }
        if !peer.function.masters() {
            return refuse(Reject::TargetBusMaster, translated.len);
        }
        if !peer.completes() {
            return refuse(Reject::TargetCompletion, translated.len);
        }
        Route::Memory {
            port: target,
            addr: translated.addr,
            len: translated.len,
        }
    }

    /// A port's own windows may lead elsewhere.
    pub(super) fn windows_changed(&self, port: Port, effects: &mut Vec<Effect>) {
        if self.endpoint(port).is_none() {
            return;
        }
        for bar in Bar::WINDOWS {
            let effect = Effect::Window { port, bar };
            if !effects.contains(&effect) {
                effects.push(effect);
            }
        }
    }

    /// Windows of other ports that lead to this one may have opened or closed.
    pub(super) fn reached_changed(&self, port: Port, effects: &mut Vec<Effect>) {
        for (endpoint, from) in self.endpoints.iter().zip(self.each_port()) {
            for bar in Bar::WINDOWS {
                let leads = endpoint
                    .window(bar)
                    .is_some_and(|window| window.leads_to(port.index() as u32));
                let effect = Effect::Window { port: from, bar };
                if from != port && leads && !effects.contains(&effect) {
                    effects.push(effect);
                }
            }
        }
    }
}
