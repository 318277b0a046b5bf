// SPDX-License-Identifier: GPL-2.0

//! Who does what only the owner of a controller may do, for this node.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use skiff_nvme_model::{
    identify::Namespace,
    protocol::{
        Answer,
        Limits,
        Pair,
        Request, //
    }, //
};

use crate::{
    owner::Owner,
    remote::Remote,
    server::Server, //
};

/// Who it is.
pub(crate) enum Role {
    /// This node, by this number, which has the device alone.
    Alone(Arc<Owner>, u32),
    /// This node, by this number, and others may share the controller.
    Lender(Arc<Owner>, u32, Arc<Server>),
    /// The lender.
    Remote(Arc<Remote>),
}

/// What becomes of a reset.
pub(crate) enum Reset {
    /// It is over.
    Done,
    /// The owner tells when it is over.
    Coming,
}

impl Role {
    /// How the controller is shared.
    pub(crate) fn limits(&self) -> Limits {
        match self {
            Self::Alone(owner, _) | Self::Lender(owner, ..) => owner.limits(),
            Self::Remote(remote) => remote.limits(),
        }
    }

    /// The start of the controller that was heard of last.
    pub(crate) fn generation(&self) -> u32 {
        match self {
            Self::Alone(owner, _) | Self::Lender(owner, ..) => owner.generation(),
            Self::Remote(remote) => remote.generation(),
        }
    }

    /// Whether what the owner tells may get lost.
    pub(crate) fn is_far(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// Makes a pair of queues known to the controller in this start of it: its number and its vector. `EAGAIN` if that start is over.
    /// Process context.
    pub(crate) fn create(&self, pair: &Pair, start: u32) -> Result<(u16, u16)> {
        match self {
            Self::Alone(owner, node) | Self::Lender(owner, node, _) => {
                owner.create(*node, pair, start)
            }
            Self::Remote(remote) => match remote.ask(Request::CreateQueue(*pair), start)? {
                Answer::Queue { queue, vector } => Ok((queue, vector)),
                _ => Err(EIO),
            },
        }
    }

    /// The active namespace with the lowest number above `after`. Process context.
    pub(crate) fn namespace(&self, after: u32) -> Result<Option<Namespace>> {
        match self {
            Self::Alone(owner, _) | Self::Lender(owner, ..) => owner.namespace(after),
            Self::Remote(remote) => {
                match remote.ask(Request::Namespace { after }, remote.generation())? {
                    Answer::Namespace(namespace) if namespace.id() > after => Ok(Some(namespace)),
                    Answer::Done => Ok(None),
                    _ => Err(EIO),
                }
            }
        }
    }

    /// Asks the controller to abort a command of this start of it. `EAGAIN` if that is over. Process context.
    pub(crate) fn abort(&self, queue: u16, command: u16, start: u32) -> Result {
        match self {
            Self::Alone(owner, node) | Self::Lender(owner, node, _) => {
                owner.abort(*node, queue, command, start)
            }
            Self::Remote(remote) => {
                let request = Request::Abort { queue, command };

                remote.ask(request, start).map(|_| ())
            }
        }
    }

    /// Resets the controller, unless it is in another start than this one: all queues are gone. Process context.
    pub(crate) fn reset(&self, start: u32) -> Result<Reset> {
        match self {
            Self::Alone(owner, _) => owner.reset().map(|()| Reset::Done),
            Self::Lender(_, _, server) => {
                server.call_reset();
                Ok(Reset::Coming)
            }
            Self::Remote(remote) => match remote.ask(Request::Reset, start) {
                // Somebody else was faster.
                Err(error) if error != EAGAIN => Err(error),
                Ok(_) | Err(_) => Ok(Reset::Coming),
            },
        }
    }

    /// Somebody else who had borrowed the device is gone without having returned it. Does not sleep for long.
    pub(crate) fn sharer_gone(&self) {
        if let Self::Lender(_, _, server) = self {
            server.call_missing();
        }
    }

    /// Nobody here uses the controller any more: its queues are given up, and if it is ours it is stopped; nobody is asked for
    /// anything once the borrow has `ended`. Process context.
    pub(crate) fn stop(&self, ended: bool) {
        if let Self::Lender(_, _, server) = self {
            server.stop();
        }
        if ended {
            return;
        }
        match self {
            Self::Alone(owner, _) | Self::Lender(owner, ..) => owner.stop(),
            Self::Remote(remote) => {
                if let Err(error) = remote.ask(Request::Detach, remote.generation()) {
                    pr_warn!("the owner keeps our queues: {:?}\n", error);
                }
            }
        }
    }
}
