// SPDX-License-Identifier: GPL-2.0

//! Vectors that store elsewhere instead of interrupting this machine: the entry of the MSI-X table is another one for a while.
//!
//! The kernel does not know. It writes the same entry back when the function was reset, for it keeps what was written last; and
//! its own entry when the CPU that is to be interrupted goes offline, after which the vector interrupts this machine again. It is
//! kept from doing so for the sake of balance.

use super::{
    Message,
    Request,
    VectorHandler,
    Vectors, //
};
use crate::{
    bindings as helpers,
    errno::Errno, //
};
use kernel::{
    bindings,
    prelude::*, //
};

/// A vector that stores elsewhere.
pub(super) struct Aimed {
    home: Message,
    away: Message,
}

/// No CPU goes offline, and no message is written because of it.
struct Cpus;

impl Cpus {
    fn new() -> Self {
        // SAFETY:
        // - The caller may sleep.
        unsafe { bindings::cpus_read_lock() };
        Self
    }
}

impl Drop for Cpus {
    fn drop(&mut self) {
        // SAFETY:
        // - By this object, on this thread: it is not sent to others.
        unsafe { bindings::cpus_read_unlock() };
    }
}

impl<H: VectorHandler> Request<H> {
    /// The vector's message.
    fn message(&self) -> Message {
        let (mut address, mut data) = (0, 0);

        // SAFETY:
        // - By the type's invariant it is a message signalled interrupt that was requested; both can be written.
        unsafe { helpers::msi_message(self.irq, &raw mut address, &raw mut data) };
        Message { address, data }
    }

    /// Has the vector send another one.
    fn set_message(&self, message: Message) {
        // SAFETY:
        // - By the type's invariant, as above. Nobody else writes it: no CPU goes offline, and the kernel moves it for no other
        //   reason.
        unsafe { helpers::msi_set_message(self.irq, message.address, message.data) };
    }

    /// Has it store elsewhere.
    fn aim(&mut self, away: Message) {
        self.recall();
        // SAFETY:
        // - By the type's invariant the interrupt was requested.
        unsafe { helpers::irq_stay(self.irq) };
        let cpus = Cpus::new();
        let home = self.message();

        self.set_message(away);
        drop(cpus);
        self.aimed = Some(Aimed { home, away });
    }

    /// Has it interrupt this machine, as it did first.
    pub(super) fn recall(&mut self) {
        let Some(Aimed { home, away }) = self.aimed.take() else {
            return;
        };
        let cpus = Cpus::new();

        // Or the kernel has done it.
        if self.message() == away {
            self.set_message(home);
        }
        drop(cpus);
        // SAFETY:
        // - By the type's invariant the interrupt was requested.
        unsafe { helpers::irq_move(self.irq) };
    }
}

impl<H: VectorHandler> Vectors<H> {
    fn request(&mut self, index: u32) -> Result<&mut Request<H>> {
        let index = usize::try_from(index)?;

        self.requests.get_mut(index).ok_or(ENOENT)
    }

    /// Has vector `index` store `data` at `address` of the function's bus from now on; its handler is called no more, unless the
    /// kernel takes the vector back. May sleep.
    ///
    /// Errors: `EINVAL` if `address` is not a multiple of 4, `ENOENT`; [`Errno::NotSupported`] if it is no vector of MSI-X.
    pub fn aim(&mut self, index: u32, address: u64, data: u32) -> Result {
        // SAFETY:
        // - The function is valid.
        let msix = unsafe { helpers::pci_msix_on(self.allocated.0.as_raw()) };

        if address % 4 != 0 {
            return Err(EINVAL);
        }
        if !msix {
            return Err(Errno::NotSupported.into());
        }
        self.request(index)?.aim(Message { address, data });
        Ok(())
    }

    /// Has vector `index` interrupt this machine again; what it has stored elsewhere has arrived when this returns. May sleep.
    pub fn recall(&mut self, index: u32) {
        if let Ok(request) = self.request(index) {
            request.recall();
        }
    }
}
