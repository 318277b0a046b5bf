// SPDX-License-Identifier: GPL-2.0

//! MSI and MSI-X: hard handlers that do no more than to wake somebody, and threads.
//!
//! [`Messages`] are the vectors of a bridge: the [`Registration`] is what the bridge itself has to say, a [`Direct`] is for
//! others to raise. [`Vectors`] are those of a function that somebody else drives, where
//! a handler needs to know which one came. All must go before the function's driver is unbound. The kernel crate's registration differs between 7.2 and 7.3, and its vectors are bound to its own `pci::Driver`.
//!
//! C header: [`include/linux/interrupt.h`](srctree/include/linux/interrupt.h)

mod aim;
mod direct;

pub use self::direct::{
    Called,
    Direct,
    Message,
    Place, //
};

use self::aim::Aimed;
use crate::{
    errno::Errno,
    pci::Device,
    work::{
        Work,
        Worker, //
    }, //
};
use core::{
    ffi::c_void,
    ops::Deref, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::Arc, //
};

/// Who is told of an interrupt.
pub trait Handler: Send + Sync + 'static {
    /// An interrupt came. Called in hard interrupt context: no sleeping, no lock that is taken elsewhere with interrupts on.
    fn interrupt(&self);
}

impl<W: Work> Handler for Worker<W> {
    fn interrupt(&self) {
        self.kick();
    }
}

/// Who is told of the interrupts of several vectors.
pub trait VectorHandler: Send + Sync + 'static {
    /// An interrupt of vector `index` came, counted from 0. Called as [`Handler::interrupt`] is; those of different vectors
    /// on several CPUs at a time.
    fn interrupt(&self, index: u32);
}

/// MSI or MSI-X on.
///
/// # Invariants
///
/// The vectors were allocated by this object.
struct Allocated(Device);

impl Allocated {
    /// Turns MSI or MSI-X on, as `kinds` (`PCI_IRQ_*`) allows, with `1..=most` vectors; returns their number.
    fn new(dev: &Device, most: u32, kinds: u32) -> Result<(Self, u32)> {
        // SAFETY:
        // - `dev` is valid.
        let vectors = unsafe { bindings::pci_alloc_irq_vectors(dev.as_raw(), 1, most, kinds) };

        match u32::try_from(vectors) {
            Ok(0) => Err(ENOSPC),
            // INVARIANT: Just allocated.
            Ok(vectors) => Ok((Self(dev.clone()), vectors)),
            Err(_) => Err(Error::from_errno(vectors)),
        }
    }

    /// Linux's number for the interrupt of a vector.
    fn irq(&self, vector: u32) -> Result<u32> {
        // SAFETY:
        // - The function is valid; there is an answer for any number.
        let irq = unsafe { bindings::pci_irq_vector(self.0.as_raw(), vector) };

        u32::try_from(irq).map_err(|_| ENODEV)
    }
}

impl Drop for Allocated {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant this undoes this object's own call, and the handlers are gone.
        unsafe { bindings::pci_free_irq_vectors(self.0.as_raw()) }
    }
}

/// The vectors of a function: those of MSI-X, or else its one MSI.
pub struct Messages {
    allocated: Allocated,
    count: u32,
}

impl Messages {
    /// Gives the function up to `most` vectors, which is more than none. The function must be enabled.
    pub fn new(dev: &Device, most: u32) -> Result<Arc<Self>> {
        let (allocated, count) = match Allocated::new(dev, most, bindings::PCI_IRQ_MSIX) {
            Ok(several) => several,
            Err(_) => Allocated::new(dev, 1, bindings::PCI_IRQ_MSI)?,
        };

        Ok(Arc::new(Self { allocated, count }, GFP_KERNEL)?)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Linux's number for the interrupt of vector `index`.
    fn irq(&self, index: u32) -> Result<u32> {
        self.allocated.irq(index)
    }
}

/// A handler that is called for each interrupt of a function's first vector. Dropping it waits for a handler that runs.
///
/// # Invariants
///
/// `handler` was given to request_threaded_irq() for `irq`.
pub struct Registration<H: Handler> {
    irq: u32,
    // Both after the interrupt was freed in drop().
    handler: Arc<H>,
    _messages: Arc<Messages>,
}

impl<H: Handler> Registration<H> {
    /// Calls `handler` for each interrupt of the first vector, which no other object may use.
    pub fn new(messages: &Arc<Messages>, name: &'static CStr, handler: Arc<H>) -> Result<Self> {
        let irq = messages.irq(0)?;

        // SAFETY:
        // - The function is that of `H`, and `handler` lives until drop() has freed the interrupt.
        // - `name` lives for ever.
        to_result(unsafe {
            bindings::request_threaded_irq(
                irq,
                Some(hard::<H>),
                None,
                0,
                name.as_char_ptr(),
                Arc::as_ptr(&handler).cast_mut().cast(),
            )
        })?;
        // INVARIANT: Just requested.
        Ok(Self {
            irq,
            handler,
            _messages: messages.clone(),
        })
    }
}

impl<H: Handler> Deref for Registration<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.handler
    }
}

impl<H: Handler> Drop for Registration<H> {
    fn drop(&mut self) {
        // SAFETY:
        // - By the type's invariant the interrupt was requested with this cookie; no lock that the handler takes is held.
        unsafe {
            bindings::free_irq(
                self.irq,
                Arc::as_ptr(&self.handler).cast_mut().cast::<c_void>(),
            )
        };
    }
}

/// What a handler of [`Vectors`] is called with.
struct Cookie<H: VectorHandler> {
    handler: Arc<H>,
    index: u32,
}

/// A handler that is called for each interrupt of a vector. Dropping it waits for a handler that runs.
///
/// # Invariants
///
/// `cookie` was given to request_threaded_irq() for `irq`.
struct Request<H: VectorHandler> {
    irq: u32,
    // Its place does not change, and it goes after the interrupt was freed in drop().
    cookie: KBox<Cookie<H>>,
    /// While it stores elsewhere.
    aimed: Option<Aimed>,
}

impl<H: VectorHandler> Request<H> {
    fn new(irq: u32, name: &'static CStr, handler: &Arc<H>, index: u32) -> Result<Self> {
        let cookie = KBox::new(
            Cookie {
                handler: handler.clone(),
                index,
            },
            GFP_KERNEL,
        )?;

        // SAFETY:
        // - The function is that of a `Cookie<H>`, and this one lives until drop() has freed the interrupt.
        // - `name` lives for ever.
        to_result(unsafe {
            bindings::request_threaded_irq(
                irq,
                Some(hard_vector::<H>),
                None,
                0,
                name.as_char_ptr(),
                (&raw const *cookie).cast_mut().cast(),
            )
        })?;
        // INVARIANT: Just requested.
        Ok(Self {
            irq,
            cookie,
            aimed: None,
        })
    }
}

impl<H: VectorHandler> Drop for Request<H> {
    fn drop(&mut self) {
        self.recall();
        // SAFETY:
        // - By the type's invariant the interrupt was requested with this cookie; no lock that the handler takes is held.
        unsafe {
            bindings::free_irq(
                self.irq,
                (&raw const *self.cookie).cast_mut().cast::<c_void>(),
            )
        };
    }
}

/// The vectors of a function, MSI-X or else MSI, with a handler that is called for each. Dropping it waits for handlers that
/// run and turns the vectors off.
pub struct Vectors<H: VectorHandler> {
    // Before `allocated`.
    requests: KVec<Request<H>>,
    allocated: Allocated,
}

impl<H: VectorHandler> Vectors<H> {
    /// Vectors that an object can have.
    pub const MAX: u32 = 64;

    /// Gives the function up to `most` (1 to [`Vectors::MAX`]) vectors, and calls `handler` for each interrupt. The function must
    /// be enabled. [`Errno::NotSupported`] if it has neither MSI-X nor MSI, `ENOSPC` if the machine has no vector left.
    pub fn new(dev: &Device, name: &'static CStr, most: u32, handler: &Arc<H>) -> Result<Self> {
        if most == 0 || most > Self::MAX {
            return Err(EINVAL);
        }
        if dev.vectors_max() == 0 {
            return Err(Errno::NotSupported.into());
        }
        let kinds = bindings::PCI_IRQ_MSIX | bindings::PCI_IRQ_MSI;
        let (allocated, count) = Allocated::new(dev, most, kinds)?;
        // CAST: At most 64.
        let mut requests = KVec::with_capacity(count as usize, GFP_KERNEL)?;

        for index in 0..count {
            let request = Request::new(allocated.irq(index)?, name, handler, index)?;
            requests.push(request, GFP_KERNEL)?;
        }
        Ok(Self {
            requests,
            allocated,
        })
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        // CAST: At most 64.
        self.requests.len() as u32
    }
}

#[cfg(skiff_v7_2)]
const HANDLED: bindings::irqreturn_t = bindings::irqreturn_IRQ_HANDLED;
#[cfg(not(skiff_v7_2))]
const HANDLED: bindings::irqreturn_t = bindings::irqreturn::IRQ_HANDLED;

/// What C calls.
///
/// # Safety
///
/// - `handler` points to an `H`.
unsafe extern "C" fn hard<H: Handler>(_: c_int, handler: *mut c_void) -> bindings::irqreturn_t {
    // SAFETY:
    // - The cookie is a handler of this type that lives until the interrupt is freed.
    unsafe { &*handler.cast::<H>() }.interrupt();
    HANDLED
}

/// What C calls for [`Vectors`].
///
/// # Safety
///
/// - `cookie` points to a `Cookie<H>`.
unsafe extern "C" fn hard_vector<H: VectorHandler>(
    _: c_int,
    cookie: *mut c_void,
) -> bindings::irqreturn_t {
    // SAFETY:
    // - The cookie is one of this type that lives until the interrupt is freed.
    let cookie = unsafe { &*cookie.cast::<Cookie<H>>() };

    cookie.handler.interrupt(cookie.index);
    HANDLED
}
