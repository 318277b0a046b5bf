// SPDX-License-Identifier: GPL-2.0

//! What users have of the node's exported kernel memory, and the limit of that.
//!
//! The memory cgroup is charged by the page allocator; this is for what it does not see: the pool, and users without one.
//!
//! # Locking
//!
//! The ledger's mutex is innermost.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use skiff_ext::errno::Errno;
use skiff_model::ids::Uid;

/// Who has how much.
#[pin_data]
pub(super) struct Ledger {
    /// Pages that each user may have.
    limit: usize,
    /// Users that have any.
    #[pin]
    accounts: Mutex<KVec<(Uid, usize)>>,
}

impl Ledger {
    /// A ledger for `limit` pages a user.
    pub(super) fn new(limit: usize) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                limit,
                accounts <- new_mutex!(KVec::new(), "Ledger::accounts"),
            }),
            GFP_KERNEL,
        )
    }

    /// Writes `pages` on `user`'s account; [`Errno::Quota`] when that is too much.
    pub(super) fn charge(self: &Arc<Self>, user: Uid, pages: usize) -> Result<Charge> {
        let mut accounts = self.accounts.lock();
        let index = accounts.iter().position(|(owner, _)| *owner == user);
        let has = index
            .and_then(|index| accounts.get(index))
            .map_or(0, |account| account.1);
        let sum = has
            .checked_add(pages)
            .filter(|sum| *sum <= self.limit)
            .ok_or(Errno::Quota)?;
        match index.and_then(|index| accounts.get_mut(index)) {
            Some(account) => account.1 = sum,
            None => accounts.push((user, sum), GFP_KERNEL)?,
        }
        Ok(Charge {
            ledger: self.clone(),
            user,
            pages,
        })
    }
}

/// Pages on a user's account; taken off when dropped.
pub(super) struct Charge {
    /// Where they are written.
    ledger: Arc<Ledger>,
    /// Whose they are.
    user: Uid,
    /// How many.
    pages: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut accounts = self.ledger.accounts.lock();
        for account in accounts.iter_mut().filter(|account| account.0 == self.user) {
            account.1 = account.1.saturating_sub(self.pages);
        }
        accounts.retain(|account| account.1 != 0);
    }
}
