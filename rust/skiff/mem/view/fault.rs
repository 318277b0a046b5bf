// SPDX-License-Identifier: GPL-2.0

//! Faults: where pages of a view come from when a program touches them.

use super::{
    Inner,
    Source,
    State,
    View, //
};
use crate::mem::map::{
    Map,
    MapMode, //
};
use skiff_ext::vma::{
    Caching,
    Fault,
    Outcome, //
};

/// Pages that one fault brings in, if they lie together.
const AROUND: usize = 64;

impl View {
    /// A program touched a page of `map` that is not there.
    pub(in crate::mem) fn fault(&self, map: &Map, fault: &mut Fault<'_>) -> Outcome {
        let inner = self.inner.lock();
        match inner.state {
            State::Live => self.fill(&inner, map, fault),
            State::Suspended | State::Lost => self.fill_lost(map, fault),
        }
    }

    /// Brings the touched page in, and those around it.
    fn fill(&self, inner: &Inner, map: &Map, fault: &mut Fault<'_>) -> Outcome {
        let touched = fault.page();
        let outcome = self.insert(inner, map, fault, touched);
        if outcome == Outcome::Done {
            for page in fault.around(AROUND) {
                if page != touched && self.insert(inner, map, fault, page) != Outcome::Done {
                    break;
                }
            }
        }
        outcome
    }

    /// Brings one page in.
    fn insert(&self, inner: &Inner, map: &Map, fault: &mut Fault<'_>, file_page: u64) -> Outcome {
        let frame = map.page(file_page).and_then(|page| match &self.source {
            Source::Remote(remote) => remote.frame(&inner.maps.get(&map.id)?.slots, page),
            Source::Local(_) => {
                let page = usize::try_from(page).ok()?;
                Some(inner.memory.as_ref()?.run_at(page)?.frame)
            }
        });
        let caching = match map.mode {
            MapMode::WriteBack => Caching::WriteBack,
            MapMode::WriteCombining => Caching::WriteCombining,
            MapMode::Uncached => Caching::Uncached,
        };
        match frame {
            Some(frame) => fault.insert(file_page, frame, caching),
            None => Outcome::Sigbus,
        }
    }

    /// Brings in what stands for the touched page while the memory cannot be reached: a place of the window that leads nowhere,
    /// where stores vanish; once there is no window, a page of ones.
    fn fill_lost(&self, map: &Map, fault: &mut Fault<'_>) -> Outcome {
        let Some(ones) = map.ones() else {
            return Outcome::Sigbus;
        };
        let page = fault.page();
        if map.page(page).is_none() {
            return Outcome::Sigbus;
        }
        let void = match &self.source {
            Source::Remote(remote) => remote.adapter.void_frame().and_then(|frame| {
                let bus = remote.adapter.bus();
                bus.while_open(|| fault.insert(page, frame, Caching::Uncached))
            }),
            Source::Local(_) => None,
        };
        void.unwrap_or_else(|| fault.insert(page, ones, Caching::WriteBack))
    }
}
