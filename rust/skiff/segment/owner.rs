// SPDX-License-Identifier: GPL-2.0

//! What the owner of a segment does with it: prepare, make available, remove.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_model::{
    ids::AdapterId,
    wire::Space, //
};

use super::{
    due::Due,
    local::{
        bit,
        Life, //
    },
    EventKind,
    Local,
    Segments, //
};
use crate::fabric::{
    Adapter,
    Fabric, //
};

/// When a segment may be removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Only when it is neither mapped by its owner nor connected.
    Unused,
    /// Always; connections live on.
    Forced,
}

/// Whether an adapter of before still is one. Error: `ENODEV`.
fn still(fabric: &Fabric, adapter: &Arc<Adapter>) -> Result {
    let now = fabric.adapter(adapter.id())?;
    if Arc::ptr_eq(&now, adapter) {
        Ok(())
    } else {
        Err(ENODEV)
    }
}

/// The adapters that are meant. Errors: `ENODEV` when there is none.
fn chosen(fabric: &Fabric, only: Option<AdapterId>) -> Result<KVec<Arc<Adapter>>> {
    let mut adapters = KVec::new();
    match only {
        Some(id) => adapters.push(fabric.adapter(id)?, GFP_KERNEL)?,
        None => {
            for adapter in fabric.adapters() {
                adapters.push(adapter, GFP_KERNEL)?;
            }
        }
    }
    if adapters.is_empty() {
        return Err(ENODEV);
    }
    Ok(adapters)
}

/// The set of these adapters.
fn set(adapters: &[Arc<Adapter>]) -> u32 {
    adapters
        .iter()
        .fold(0, |set, adapter| set | bit(adapter.id()))
}

impl Local {
    /// `EINVAL` if nobody can ever connect to it.
    fn connectable(&self) -> Result {
        self.name.map(|_| ()).ok_or(EINVAL)
    }

    /// Makes its memory reachable through an adapter, or through all of them.
    ///
    /// Errors: `EBUSY` when it is already, `EINVAL` for a private one, `ENODEV`, `ENOSPC`, `ENOMEM`.
    pub(crate) fn prepare(&self, fabric: &Fabric, only: Option<AdapterId>) -> Result {
        self.connectable()?;
        let adapters = chosen(fabric, only)?;
        let mut state = self.state.lock();
        state.alive()?;
        if state.prepared & set(&adapters) != 0 {
            return Err(EBUSY);
        }
        let export = state.usable()?.export.clone();
        let mut done = 0;
        let mut prepare = |adapter| {
            export.prepare(adapter)?;
            done += 1;
            // One that has gone since has asked all segments to let go of it, or will ask this one when the lock is free.
            still(fabric, adapter)
        };
        if let Err(error) = adapters.iter().try_for_each(&mut prepare) {
            // A command that fails leaves nothing changed.
            for adapter in adapters.iter().take(done) {
                export.adapter_gone(adapter.id());
            }
            return Err(error);
        }
        state.prepared |= set(&adapters);
        Ok(())
    }

    /// Lets others connect through an adapter, or through all of them.
    ///
    /// Errors: `EBUSY` when it is not prepared or is available, `EINVAL` for a private one, `ENODEV`.
    pub(crate) fn set_available(&self, fabric: &Fabric, only: Option<AdapterId>) -> Result {
        self.connectable()?;
        let wanted = set(&chosen(fabric, only)?);
        let mut state = self.state.lock();
        state.alive()?;
        if state.prepared & wanted != wanted || state.available & wanted != 0 {
            return Err(EBUSY);
        }
        state.available |= wanted;
        Ok(())
    }

    /// Hides it from new connections through an adapter, or through all of them, and tells those that stand.
    ///
    /// Errors: `EBUSY` when it is not available, `EINVAL` for a private one, `ENODEV`.
    pub(crate) fn set_unavailable(&self, fabric: &Fabric, only: Option<AdapterId>) -> Result {
        self.connectable()?;
        let wanted = set(&chosen(fabric, only)?);
        let mut state = self.state.lock();
        state.alive()?;
        if state.available & wanted != wanted {
            return Err(EBUSY);
        }
        state.available &= !wanted;
        if state.available == 0 {
            let remotes = state.loops.values().map(|entry| &entry.remote);
            for remote in remotes.filter(|remote| remote.space() == Space::Programs) {
                remote.notice(EventKind::Unavailable);
            }
        }
        drop(state);
        self.tell(|lease| {
            if lease.space == Space::Programs && wanted & bit(lease.adapter.id()) != 0 {
                lease.unavailable = Due::Yes;
            }
        });
        Ok(())
    }
}

impl Segments {
    /// Removes a segment: its id is free, connections live on.
    ///
    /// Errors: `EBUSY` when it is used and that is asked for, `ECONNRESET` when it was removed before.
    pub(crate) fn remove(&self, local: &Local, removal: Removal) -> Result {
        let mut registry = self.registry.lock();
        let mut state = local.state.lock();
        state.alive()?;
        if removal == Removal::Unused && (state.connections() > 0 || local.maps() > 0) {
            return Err(EBUSY);
        }
        state.life = Life::Removed;
        state.available = 0;
        for entry in state.loops.values() {
            entry.remote.removed();
        }
        let named = local.name.and_then(|name| registry.locals.remove(&name));
        let parts = state.settle();
        drop(state);
        drop(registry);
        drop(named);
        drop(parts);
        local.tell(|lease| lease.removed = Due::Yes);
        local.events.close();
        Ok(())
    }
}
