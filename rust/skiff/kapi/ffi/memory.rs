// SPDX-License-Identifier: GPL-2.0

//! Functions about memory that devices reach.

use kernel::prelude::*;

use super::{
    declared,
    handle::object, //
};
use crate::kapi::{
    header::{
        skiff_borrowed,
        skiff_dma,
        skiff_dma__bindgen_ty_1,
        skiff_place,
        skiff_place_SKIFF_PLACE_CPU as CPU,
        skiff_place_SKIFF_PLACE_DEVICE as DEVICE, //
    },
    memory::{
        Dma,
        Place, //
    },
};

declared!(skiff_dma_alloc, skiff_dma_free);

/// What C sees of memory, and what keeps it.
#[repr(C)]
struct Shown {
    // C has a pointer to this, which is one to the whole.
    seen: skiff_dma,
    _dma: Dma,
}

impl Shown {
    /// What C is to see.
    fn new(dma: Dma, place: skiff_place) -> Result<KBox<Self>> {
        let (address, bytes) = dma.kernel();
        let seen = skiff_dma {
            __bindgen_anon_1: skiff_dma__bindgen_ty_1 { memory: address },
            address: dma.address(),
            // CAST: Both are 64 bits wide.
            bytes: bytes as u64,
            place,
        };

        Ok(KBox::new(Self { seen, _dma: dma }, GFP_KERNEL)?)
    }
}

/// `skiff_dma_alloc()`.
///
/// # Safety
///
/// - `borrowed` was given to the caller, and is not returned before what this gives is freed.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_dma_alloc(
    borrowed: *mut skiff_borrowed,
    bytes: u64,
    place: skiff_place,
    timeout_ms: u32,
) -> *mut skiff_dma {
    let wanted = match place {
        CPU => Place::Cpu,
        DEVICE => Place::Device,
        _ => return EINVAL.to_ptr(),
    };
    // SAFETY:
    // - By this function's own condition.
    let device = unsafe { object(borrowed) }.into();
    let shown = Dma::new(&device, bytes, wanted, timeout_ms);

    match shown.and_then(|dma| Shown::new(dma, place)) {
        Ok(shown) => KBox::into_raw(shown).cast(),
        Err(error) => error.to_ptr(),
    }
}

/// `skiff_dma_free()`.
///
/// # Safety
///
/// - `dma` was given to the caller, who uses neither it nor the memory any more.
#[no_mangle]
pub(crate) unsafe extern "C" fn skiff_dma_free(dma: *mut skiff_dma) {
    // SAFETY:
    // - By this function's own condition it is the first field of what skiff_dma_alloc() has made.
    drop(unsafe { KBox::from_raw(dma.cast::<Shown>()) });
}
