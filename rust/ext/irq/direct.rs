// SPDX-License-Identifier: GPL-2.0

//! Interrupts whose message is told to somebody else, who sends it by a write of his own.

use super::Messages;
use crate::bindings as helpers;
use core::ffi::c_void;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::Arc, //
};

/// Who is told of an interrupt, on a thread of its own.
pub trait Called: Send + Sync + 'static {
    /// An interrupt came, or several did. Called on a kernel thread, which may sleep; one call at a time for each interrupt.
    fn called(&self);
}

/// The write that raises an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Physical address, a multiple of four.
    pub address: u64,
    /// The 32 bits.
    pub data: u32,
}

/// Where an interrupt is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On any CPU: the message is that of an entry of the interrupt remapping, which the kernel changes instead.
    Remapped,
    /// On CPU 0, which cannot be taken offline: the message names a CPU, and must not change.
    Fixed,
}

/// A vector whose handler runs on a thread, with a message that stays. Dropping it waits for a handler that runs.
///
/// # Invariants
///
/// `handler` was given to request_threaded_irq() for `irq`.
pub struct Direct {
    irq: u32,
    message: Message,
    // Its place does not change, and it goes after the interrupt was freed in drop().
    handler: KBox<Arc<dyn Called>>,
    _messages: Arc<Messages>,
}

impl Direct {
    /// Calls `handler` whenever the message of vector `index` comes, which no other object may use. May sleep.
    pub fn new(
        messages: &Arc<Messages>,
        index: u32,
        name: &'static CStr,
        place: Place,
        handler: Arc<dyn Called>,
    ) -> Result<Self> {
        let irq = messages.irq(index)?;
        let handler = KBox::new(handler, GFP_KERNEL)?;

        if place == Place::Fixed {
            // Before it is requested: it is then that the kernel chooses the CPU for good.
            // SAFETY:
            // - `irq` is allocated, and there is a CPU 0.
            to_result(unsafe { helpers::irq_use_first_cpu(irq) })?;
        }
        // SAFETY:
        // - The function is that of an `Arc<dyn Called>`, and `handler` lives until drop() has freed the interrupt.
        // - `name` lives for ever.
        to_result(unsafe {
            bindings::request_threaded_irq(
                irq,
                None,
                Some(thread),
                // CAST: Widening.
                (bindings::IRQF_ONESHOT | bindings::IRQF_NOBALANCING) as c_ulong,
                name.as_char_ptr(),
                (&raw const *handler).cast_mut().cast(),
            )
        })?;
        let (mut address, mut data) = (0, 0);

        // SAFETY:
        // - `irq` is that of a vector of MSI-X or MSI. Both are valid for writing.
        unsafe { helpers::msi_message(irq, &raw mut address, &raw mut data) };
        // INVARIANT: Just requested.
        Ok(Self {
            irq,
            message: Message { address, data },
            handler,
            _messages: messages.clone(),
        })
    }

    /// What raises it.
    pub fn message(&self) -> Message {
        self.message
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant the interrupt was requested with this cookie; no lock that the handler takes is held.
        unsafe {
            bindings::free_irq(
                self.irq,
                (&raw const *self.handler).cast_mut().cast::<c_void>(),
            )
        };
    }
}

/// What C calls.
///
/// # Safety
///
/// - `handler` points to an `Arc<dyn Called>`.
unsafe extern "C" fn thread(_: c_int, handler: *mut c_void) -> bindings::irqreturn_t {
    // SAFETY:
    // - The cookie is one of this type that lives until the interrupt is freed.
    unsafe { &*handler.cast::<Arc<dyn Called>>() }.called();
    super::HANDLED
}
