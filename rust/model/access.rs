// SPDX-License-Identifier: GPL-2.0
//! Who may connect to a segment: owner, group and mode as for files, and a list of nodes.

use crate::ids::Gid;
use crate::ids::NodeId;
use crate::ids::Uid;
use crate::wire::Access;
use crate::wire::MODE_BITS;

/// The user and group that a peer's root is taken for: "nobody".
pub const OVERFLOW_ID: u32 = 65534;

/// Permission bits of one class of users, as the low three of a mode.
const READ: u32 = 4;
const WRITE: u32 = 2;

/// Nodes: bit n is node n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeMask(u64);

impl NodeMask {
    /// The nodes whose bits are set; 0 stands for all of them, as in the ABI.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// As [`NodeMask::from_bits`] takes them.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether `node` is one of them.
    pub const fn contains(self, node: NodeId) -> bool {
        match 1_u64.checked_shl(node.get()) {
            Some(bit) => self.0 == 0 || self.0 & bit != 0,
            None => false,
        }
    }
}

/// Whose a segment is and who else may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Its owner.
    pub uid: Uid,
    /// Its group.
    pub gid: Gid,
    /// Its permission bits.
    pub mode: u32,
    /// Nodes that may; the own one always may.
    pub nodes: NodeMask,
}

/// What to make of a peer's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootTrust {
    /// It is nobody here.
    Squash,
    /// It is root here.
    Trust,
}

/// Who wants to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// From which node; `None` from the own one.
    node: Option<NodeId>,
    uid: Uid,
    gid: Gid,
}

impl Caller {
    /// A program of the own node.
    pub const fn local(uid: Uid, gid: Gid) -> Self {
        Self {
            node: None,
            uid,
            gid,
        }
    }

    /// A program of node `node`, which says who it is. Its root and root's group are squashed unless they are trusted.
    pub fn remote(node: NodeId, uid: Uid, gid: Gid, trust: RootTrust) -> Self {
        let (uid, gid) = match trust {
            RootTrust::Trust => (uid, gid),
            RootTrust::Squash => (Uid::new(squash(uid.get())), Gid::new(squash(gid.get()))),
        };
        Self {
            node: Some(node),
            uid,
            gid,
        }
    }
}

fn squash(id: u32) -> u32 {
    match id {
        0 => OVERFLOW_ID,
        other => other,
    }
}

/// Whether `caller` may connect. As for files, the first class that fits decides, and root may all.
pub fn check(rights: &Rights, caller: &Caller, access: Access) -> Result<(), Denied> {
    if let Some(node) = caller.node {
        if !rights.nodes.contains(node) {
            return Err(Denied);
        }
    }
    if caller.uid.get() == 0 {
        return Ok(());
    }
    let shift = if caller.uid == rights.uid {
        6
    } else if caller.gid == rights.gid {
        3
    } else {
        0
    };
    let granted = (rights.mode & MODE_BITS) >> shift;
    let wanted = match access {
        Access::ReadWrite => READ | WRITE,
        Access::ReadOnly => READ,
    };
    if granted & wanted == wanted {
        Ok(())
    } else {
        Err(Denied)
    }
}

/// The segment's owner, mode or list of nodes does not allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied;
