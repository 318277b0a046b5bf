// SPDX-License-Identifier: GPL-2.0

//! A controller that this node has borrowed, from probe to unbind.

use kernel::{
    device,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};
use skiff_client::{
    node,
    Borrowed,
    Share,
    DEFAULT_TIMEOUT, //
};
use skiff_nvme_model::{
    doorbell::Stride,
    PAGE, //
};

use crate::{
    attachment::{
        Attachment,
        Wishes, //
    },
    bells::Bells,
    ears::Ears,
    owner::{
        span,
        Owner, //
    },
    registers::Registers,
    remote::{
        Found,
        Remote, //
    },
    role::Role,
    server::Server, //
};

/// Class, subclass and programming interface of NVMe controllers.
const CLASS: u32 = 0x01_08_02;

/// Vectors that are asked for, at most.
const VECTORS: u32 = 64;

/// The controller.
pub(crate) struct Controller {
    attachment: Arc<Attachment>,
    role: Arc<Role>,
    ears: Arc<Ears>,
}

impl Controller {
    /// Borrows a device and makes disks of it; `ENODEV` if it is no NVMe controller. Process context.
    pub(crate) fn start(fdid: u32, parent: ARef<device::Device>, wishes: Wishes) -> Result<Self> {
        let info = skiff_client::device(fdid)?;

        if info.class_code != CLASS {
            return Err(ENODEV);
        }

        let ears = Ears::new()?;
        let node = node()?;
        // The lender owns what it lends, unless nobody does there.
        let remote = match info.node == node {
            true => None,
            false => match Remote::find(fdid, info.node, &ears)? {
                Found::Owner(remote) => Some(remote),
                Found::Nobody => None,
            },
        };
        let share = match info.node != node && remote.is_none() {
            true => Share::Exclusive,
            false => Share::Shared,
        };
        let device = Borrowed::new(fdid, share, ears.clone(), DEFAULT_TIMEOUT)?;
        let vectors = device.vectors(VECTORS.min(info.vectors))?;
        let vectors = u16::try_from(vectors)?;
        let registers = map(&device, info.bars[0], remote.as_deref())?;
        let bells = Arc::new(
            match share {
                Share::Exclusive if wishes.shadows => Bells::with_shadows(registers, &device)?,
                Share::Exclusive | Share::Shared => Bells::new(registers),
            },
            GFP_KERNEL,
        )?;
        let role = match remote {
            Some(remote) => Role::Remote(remote),
            None => {
                let owner = Owner::start(&device, bells.clone(), vectors)?;

                match info.node == node {
                    true => {
                        let server = Server::start(fdid, &owner, &ears)?;

                        Role::Lender(owner, node, server)
                    }
                    false => Role::Alone(owner, node),
                }
            }
        };
        let role = Arc::new(role, GFP_KERNEL)?;
        let attachment = Attachment::start(&device, &ears, &role, &bells, wishes, parent);
        let attachment = attachment.inspect_err(|_| role.stop(ears.ended()))?;

        Ok(Self {
            attachment,
            role,
            ears,
        })
    }
}

impl Drop for Controller {
    /// Removes the disks and gives the controller back. Process context; waits for requests.
    fn drop(&mut self) {
        self.attachment.stop();
        self.role.stop(self.ears.ended());
    }
}

/// Maps BAR 0, of so many bytes, for all queues.
fn map(device: &Arc<Borrowed>, bar: u64, remote: Option<&Remote>) -> Result<Arc<Registers>> {
    let stride = match remote {
        Some(remote) => remote.limits().stride,
        None => {
            let page = Registers::map(device, Stride::of(0), PAGE as usize)?;

            page.capabilities()?.stride
        }
    };
    let registers = Registers::map(device, stride, span(stride, bar)?)?;

    Ok(Arc::new(registers, GFP_KERNEL)?)
}
