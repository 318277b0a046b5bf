// SPDX-License-Identifier: GPL-2.0

//! How segments are made and get their names.

use kernel::{
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::Arc, //
};
use skiff_ext::errno::Errno;
use skiff_model::{
    access::{
        NodeMask,
        Rights, //
    },
    addr::PAGE,
    ids::{
        Gid,
        SegmentId,
        Uid, //
    },
    ntb::WindowClass,
};

use super::{
    table::{
        Name,
        Registry, //
    },
    Local,
    Segments, //
};
use crate::{
    bus::Memory,
    fabric::Fabric, //
};

/// Where a segment's memory comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// It is allocated.
    Kernel,
    /// It is the caller's, from this address on.
    User(usize),
    /// It was there before: a device's, or for one.
    Given,
}

/// How a segment is named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// It has this id.
    Id(SegmentId),
    /// It gets an id.
    Any,
    /// It has none, and nobody can connect to it.
    Private,
}

/// A segment to be made.
#[derive(Clone, Copy)]
pub(crate) struct Create {
    /// Its name.
    pub(crate) naming: Naming,
    /// Its length, at least 1.
    pub(crate) bytes: u64,
    /// Where its memory comes from.
    pub(crate) source: Source,
    /// Whose it is, and who may connect.
    pub(crate) rights: Rights,
}

/// A name that a segment will have. Dropping it frees the name again.
struct Reserved<'a> {
    segments: &'a Segments,
    /// The name; `None` for a private segment.
    name: Option<Name>,
}

impl Reserved<'_> {
    /// Lets `local` be found by it.
    fn fill(mut self, local: &Arc<Local>) {
        if let Some(name) = self.name.take() {
            let mut registry = self.segments.registry.lock();
            if let Some(entry) = registry.locals.get_mut(&name) {
                *entry = Some(local.clone());
            }
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name {
            self.segments.registry.lock().locals.remove(&name);
        }
    }
}

impl Segments {
    /// Takes a name. Errors: `EADDRINUSE`, `ENOMEM`.
    fn reserve(
        &self,
        choose: impl FnOnce(&mut Registry) -> Result<Option<Name>>,
    ) -> Result<Reserved<'_>> {
        let place = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let mut registry = self.registry.lock();
        let name = choose(&mut registry)?;
        if let Some(name) = name {
            registry.locals.insert(place.into_node(name, None));
        }
        Ok(Reserved {
            segments: self,
            name,
        })
    }

    /// Makes a segment. Errors: `EADDRINUSE`, `ENOMEM`, and those of its memory.
    pub(crate) fn create(&self, fabric: &Fabric, what: &Create) -> Result<Arc<Local>> {
        let pages = usize::try_from(what.bytes.div_ceil(PAGE))?;
        let reserved = self.reserve(|registry| registry.choose(what.naming))?;
        let memory = match what.source {
            Source::Kernel => Memory::kernel(fabric.pool(), pages)?,
            Source::User(address) => Memory::user(address, pages)?,
            Source::Given => return Err(EINVAL),
        };
        let local = Local::new(reserved.name, what, WindowClass::Memory, memory)?;
        reserved.fill(&local);
        Ok(local)
    }

    /// Makes a segment of the kernel of the first `bytes` bytes of `memory`, which others reach through the window of `class`.
    /// Nobody finds it before it is [published](Self::publish), and no program ever does. The register has it until it is
    /// [removed](Self::remove).
    ///
    /// Errors: `EINVAL` when the memory is not as long, in whole pages; `ENOMEM`.
    pub(crate) fn create_of(
        &self,
        memory: &Arc<Memory>,
        bytes: u64,
        class: WindowClass,
    ) -> Result<Arc<Local>> {
        // CAST: Both are 64 bits wide.
        if bytes == 0 || bytes.div_ceil(PAGE) != memory.pages() as u64 {
            return Err(EINVAL);
        }
        let what = Create {
            naming: Naming::Private,
            bytes,
            source: Source::Given,
            rights: Rights {
                uid: Uid::new(0),
                gid: Gid::new(0),
                mode: 0,
                nodes: NodeMask::from_bits(0),
            },
        };
        let reserved = self.reserve(|registry| Ok(Some(registry.new_kernel())))?;
        let local = Local::new(reserved.name, &what, class, memory.clone())?;
        reserved.fill(&local);
        Ok(local)
    }
}

impl Registry {
    /// The name of a program's segment. Error: `EADDRINUSE`.
    fn choose(&mut self, naming: Naming) -> Result<Option<Name>> {
        let id = match naming {
            Naming::Private => return Ok(None),
            Naming::Any => self.new_segment().ok_or(Errno::AddrInUse)?,
            Naming::Id(id) => id,
        };
        let name = Name::Program(id);
        if self.locals.get(&name).is_some() {
            return Err(Errno::AddrInUse.into());
        }
        Ok(Some(name))
    }
}
