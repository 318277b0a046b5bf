// SPDX-License-Identifier: GPL-2.0

//! What borrowers of a device ask for: it waits in a queue for the device's worker.
//!
//! # Locking
//!
//! `Lent::state` has the queue, and is not held while a job is done.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_model::{
    access::{
        check,
        Caller, //
    },
    ids::{
        BorrowId,
        Gid,
        RequestId,
        Uid, //
    },
    wire::{
        Access,
        DeviceOp,
        Message,
        Raw,
        Share, //
    },
};

use super::{
    lent::{
        Borrow,
        Lent, //
    },
    net::{
        denied,
        refused,
        Way, //
    },
};

/// Things that one node may have asked for of a device and not got yet.
const JOBS_MAX: usize = 64;

/// Something that a borrower wants.
pub(super) enum Job {
    /// To borrow it.
    Borrow {
        way: Way,
        request: RequestId,
        uid: Uid,
        gid: Gid,
        share: Share,
        raw: Raw,
    },
    /// Something of the device.
    Serve {
        way: Way,
        request: RequestId,
        borrow: BorrowId,
        op: DeviceOp,
    },
}

impl Job {
    /// Who wants it.
    fn way(&self) -> &Way {
        match self {
            Self::Borrow { way, .. } | Self::Serve { way, .. } => way,
        }
    }
}

impl Lent {
    /// Somebody wants to borrow it.
    pub(super) fn borrow_wanted(
        &self,
        way: &Way,
        request: RequestId,
        (uid, gid): (Uid, Gid),
        share: Share,
        raw: Raw,
    ) {
        let node = way.node();

        if node.is_some_and(|node| !self.net().sees(node)) {
            let granted = Err(refused(ENOENT));

            self.net()
                .send(way, &Message::BorrowReply { request, granted });
            return;
        }
        let job = Job::Borrow {
            way: way.clone(),
            request,
            uid,
            gid,
            share,
            raw,
        };

        if self.push(job).is_err() {
            let granted = Err(refused(EBUSY));

            self.net()
                .send(way, &Message::BorrowReply { request, granted });
        }
    }

    /// A borrower wants something.
    pub(super) fn op_wanted(&self, way: &Way, request: RequestId, borrow: BorrowId, op: DeviceOp) {
        let job = Job::Serve {
            way: way.clone(),
            request,
            borrow,
            op,
        };
        let theirs = self.state().lock().borrowers.check(borrow, way.end());

        if let Err(error) = theirs.map_err(denied).and_then(|()| self.push(job)) {
            let done = Err(refused(error));

            self.net()
                .send(way, &Message::DeviceReply { request, done });
        }
    }

    fn push(&self, job: Job) -> Result {
        let mut state = self.state().lock();
        let end = job.way().end();
        let theirs = state.jobs.iter().filter(|job| job.way().end() == end);

        if theirs.count() >= JOBS_MAX {
            return Err(EBUSY);
        }
        state.jobs.push(job, GFP_KERNEL)?;
        drop(state);
        self.worker.kick();
        Ok(())
    }

    /// Makes a borrow.
    fn grant(&self, way: &Way, (uid, gid): (Uid, Gid), share: Share, raw: Raw) -> Result<BorrowId> {
        let caller = match way {
            Way::Own => Caller::local(uid, gid),
            Way::Peer(_, _, node) => Caller::remote(*node, uid, gid, self.trust),
        };

        check(&self.rights, &caller, Access::ReadWrite).map_err(|_| EACCES)?;
        let mut state = self.state().lock();
        let hardware = state.hardware.clone().ok_or(EBUSY)?;

        if !hardware.contained() && raw == Raw::No {
            return Err(EPERM);
        }
        state.borrows.reserve(1, GFP_KERNEL)?;
        let admission = match state.admission {
            Some(_) => None,
            None => Some(hardware.admit(&self.net().fabric)?),
        };
        // What has ended and is not cleaned up yet is in the way: the device is about to be reset.
        let id = state.borrowers.borrow(way.end(), share).map_err(denied)?;
        let borrow = Borrow {
            id,
            way: way.clone(),
            ended: None,
            parts: KVVec::new(),
            mappings: KVVec::new(),
            aimed: KVec::new(),
            last_map: 0,
        };

        state.borrows.push(borrow, GFP_KERNEL)?;
        if admission.is_some() {
            state.admission = admission;
        }
        Ok(id)
    }

    /// Lets others borrow it as well. Error: EBUSY when it was not borrowed exclusively.
    pub(super) fn release_exclusive(&self, id: BorrowId) -> Result {
        self.state()
            .lock()
            .borrowers
            .release_exclusive(id)
            .map_err(denied)?;
        self.announce();
        Ok(())
    }

    /// Resets it on behalf of who has it alone. Errors: EBUSY, EIO.
    pub(super) fn reset(&self, id: BorrowId) -> Result {
        let state = self.state().lock();

        state.borrowers.check_exclusive(id).map_err(denied)?;
        let hardware = state.hardware()?;

        drop(state);
        hardware.dev().clear_master();
        self.try_reset(&hardware)
    }

    /// Does one thing that somebody wants; false if there is none.
    pub(super) fn work_one(self: &Arc<Self>) -> bool {
        let mut state = self.state().lock();

        if state.jobs.is_empty() {
            return false;
        }
        let Ok(job) = state.jobs.remove(0) else {
            return false;
        };

        match job {
            Job::Borrow {
                way,
                request,
                uid,
                gid,
                share,
                raw,
            } => {
                drop(state);
                let granted = self.grant(&way, (uid, gid), share, raw);

                if granted.is_ok() {
                    self.announce();
                }
                let granted = granted.map_err(refused);

                self.net()
                    .send(&way, &Message::BorrowReply { request, granted });
            }
            Job::Serve {
                way,
                request,
                borrow: id,
                op,
            } => {
                let theirs = state.borrowers.check(id, way.end()).map_err(denied);

                drop(state);
                let done = theirs.and_then(|()| self.serve(&way, id, op));
                let done = done.map_err(refused);

                self.net()
                    .send(&way, &Message::DeviceReply { request, done });
            }
        }
        true
    }
}
