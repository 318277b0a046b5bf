// SPDX-License-Identifier: GPL-2.0

//! The driver of the devices that skiff.ko shows on the auxiliary bus.
//!
//! A controller may be somebody else's when its device appears: a program's, or that of a lender who is about to share it.
//! Then it is asked for again and again, as nobody tells when that has changed.
//!
//! # Locking
//!
//! The mutex of a [`Claim`] is held to look and to put the controller there. Nothing is locked inside of it.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        ArcBorrow,
        Mutex, //
    }, //
};
use skiff_client::{
    Driver,
    Work,
    Worker,
    DEVICE_NAME, //
};

use crate::{
    controller::Controller,
    wishes, //
};

/// Milliseconds after which a controller that somebody else has is asked for again.
const AGAIN_MS: u32 = 1000;

/// The driver.
pub(crate) struct NvmeDriver;

/// What waits for a controller, then holds it.
#[pin_data]
pub(crate) struct Claim {
    fdid: u32,
    parent: ARef<Device>,
    worker: Arc<Worker<Claim>>,
    #[pin]
    controller: Mutex<Option<Controller>>,
}

impl Claim {
    fn start(&self) -> Result {
        let controller = Controller::start(self.fdid, self.parent.clone(), wishes())?;

        *self.controller.lock() = Some(controller);
        Ok(())
    }
}

impl Work for Claim {
    fn run(this: ArcBorrow<'_, Self>) {
        match this.start() {
            Ok(()) => {}
            Err(error) if is_passing(error) => this.worker.kick_after(AGAIN_MS),
            Err(error) => dev_err!(this.parent, "no disks of it: {:?}\n", error),
        }
    }
}

/// Whether what went wrong is over when others have let go of the controller, or are ready to share it.
fn is_passing(error: Error) -> bool {
    error == EBUSY || error == EAGAIN
}

/// A device that this driver is bound to. Dropping it removes the disks and gives the controller back.
pub(crate) struct Claimed(Arc<Claim>);

impl Drop for Claimed {
    fn drop(&mut self) {
        // First: nobody puts one there any more.
        self.0.worker.stop();
        let controller = self.0.controller.lock().take();

        drop(controller);
    }
}

impl Driver for NvmeDriver {
    const NAME: &'static CStr = DEVICE_NAME;

    type Data = KBox<Claimed>;

    fn probe(id: u32, device: &Device<Bound>) -> Result<KBox<Claimed>> {
        let worker = Worker::new(c"skiff_nvme_claim", kernel::static_lock_class!())?;
        let claim = Arc::pin_init(
            pin_init!(Claim {
                fdid: id,
                parent: device.into(),
                worker,
                controller <- new_mutex!(None, "Claim::controller"),
            }),
            GFP_KERNEL,
        )?;
        let claimed = KBox::new(Claimed(claim.clone()), GFP_KERNEL)?;

        claim.worker.start(claim.clone());
        match claim.start() {
            Ok(()) => {}
            Err(error) if is_passing(error) => {
                dev_info!(device, "somebody else has it: waiting\n");
                claim.worker.kick_after(AGAIN_MS);
            }
            Err(error) => return Err(error),
        }
        Ok(claimed)
    }
}
