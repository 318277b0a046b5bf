// SPDX-License-Identifier: GPL-2.0

//! A spinlock that may be taken in any context but NMIs: interrupts of the CPU are off while it is held.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use crate::bindings as helpers;
use kernel::{
    bindings,
    sync::lock::{
        Backend,
        Lock, //
    },
};

/// Makes an initialiser of an [`IrqSpinLock`] with a name and a lock class of its own.
#[macro_export]
macro_rules! new_irq_spinlock {
    ($inner:expr, $name:literal) => {
        $crate::spin::IrqSpinLock::new(
            $inner,
            ::kernel::optional_name!($name),
            ::kernel::static_lock_class!(),
        )
    };
}

/// A spinlock under which interrupts are off.
pub type IrqSpinLock<T> = Lock<T, IrqBackend>;

/// The kernel's `spinlock_t`, taken by `spin_lock_irqsave()`.
pub struct IrqBackend;

// SAFETY: The kernel's lock ensures mutual exclusion, and each guard has the flags that its own locking gave.
unsafe impl Backend for IrqBackend {
    type State = bindings::spinlock_t;
    type GuardState = kernel::ffi::c_ulong;

    unsafe fn init(
        ptr: *mut Self::State,
        name: *const kernel::ffi::c_char,
        key: *mut bindings::lock_class_key,
    ) {
        // SAFETY: By this function's conditions `ptr` can be written, and name and key live for ever.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: By this function's conditions it is an initialised lock.
        unsafe { helpers::spin_lock_irqsave(ptr) }
    }

    unsafe fn unlock(ptr: *mut Self::State, flags: &Self::GuardState) {
        // SAFETY: By this function's conditions the caller holds the lock, and the flags are from taking it.
        unsafe { helpers::spin_unlock_irqrestore(ptr, *flags) }
    }

    unsafe fn try_lock(_: *mut Self::State) -> Option<Self::GuardState> {
        // Nobody needs it; to fail is always right.
        None
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: By this function's conditions it is an initialised lock.
        unsafe { bindings::spin_assert_is_held(ptr) }
    }
}
