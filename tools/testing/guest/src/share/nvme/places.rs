// SPDX-License-Identifier: GPL-2.0
//! Where the memory of a driven controller comes from: a new segment here, memory at the lender, or somebody's segment.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use nix::errno::Errno;
use nix::sys::eventfd::EfdFlags;
use nix::sys::eventfd::EventFd;
use skiff::Adapter;
use skiff::Borrowed;
use skiff::DeviceMap;
use skiff::DeviceMemory;
use skiff::Hints;
use skiff::LocalSegment;
use skiff::Map;
use skiff::MapOptions;
use skiff::RemoteSegment;
use skiff::SegmentOptions;

use crate::nvme::Counter;
use crate::nvme::Region;
use crate::nvme::PAGE;
use crate::share::objects::errno;
use crate::share::objects::Objects;

/// Whose memory is used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A new segment of this node.
    Local,
    /// New memory close to the device.
    Device,
    /// New memory of the device, on the node that suits what it is for.
    Hinted,
    /// An object of the actor: a local or a remote segment.
    Object(String),
}

impl FromStr for Place {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "local" => Self::Local,
            "device" => Self::Device,
            "hinted" => Self::Hinted,
            name => Self::Object(name.to_owned()),
        })
    }
}

/// What a controller's memory hangs on.
#[derive(Debug)]
#[expect(dead_code, reason = "it is kept, not used")]
pub enum Kept {
    /// A segment of this node.
    Local(LocalSegment),
    /// A connection.
    Remote(Arc<RemoteSegment>),
}

/// Maps what may be another node's: registers and queues want no combining of stores, and a lost node must not end the process.
pub fn map_remote(segment: &RemoteSegment) -> Result<Map> {
    let options = MapOptions::new().all_ones();
    match segment.map(&options.uncached()) {
        // Of the own node, where memory is mapped as it always is.
        Err(error) if errno(&error) == Errno::EINVAL => Ok(segment.map(&options)?),
        mapped => Ok(mapped?),
    }
}

/// Where memory comes from while a controller is started.
pub struct Places<'a> {
    objects: &'a Objects,
    device: &'a Borrowed,
    /// What is left of named segments.
    rest: BTreeMap<String, Region>,
    maps: Vec<DeviceMap>,
    kept: Vec<Kept>,
    /// Segments that were made close to the device.
    made: u32,
}

impl<'a> Places<'a> {
    /// Nothing is taken yet.
    pub fn new(objects: &'a Objects, device: &'a Borrowed, registers: Kept) -> Self {
        Self {
            objects,
            device,
            rest: BTreeMap::new(),
            maps: Vec::new(),
            kept: vec![registers],
            made: 0,
        }
    }

    /// What was mapped for the device, and what has to be kept as long.
    pub fn into_parts(self) -> (Vec<DeviceMap>, Vec<Kept>) {
        (self.maps, self.kept)
    }

    fn region(&mut self, map: Map, mapped: DeviceMap) -> Region {
        self.maps.push(mapped);
        Region::new(Arc::new(map), mapped.address())
    }

    fn local(&mut self, bytes: usize) -> Result<Region> {
        let options = SegmentOptions::new(bytes as u64);
        let segment = self.objects.context.create(&options)?;
        segment.prepare(Adapter::Any)?;
        let (map, mapped) = (
            segment.map(&MapOptions::new())?,
            self.device.map(&segment, ..)?,
        );
        self.kept.push(Kept::Local(segment));
        Ok(self.region(map, mapped))
    }

    fn device(&mut self, bytes: usize, hints: Hints) -> Result<Region> {
        self.made += 1;
        // Above the ids that tests use.
        let id = 0x1_0000 + self.made;
        self.device
            .create_segment(DeviceMemory::Private, id, bytes as u64, hints)?;
        let segment = self.device.connect_segment(DeviceMemory::Private, id)?;
        let (map, mapped) = (map_remote(&segment)?, self.device.map(&segment, ..)?);
        self.kept.push(Kept::Remote(Arc::new(segment)));
        Ok(self.region(map, mapped))
    }

    fn object(&mut self, name: &str) -> Result<Region> {
        let (map, mapped) = match self.objects.local(name) {
            Ok(segment) => (
                segment.map(&MapOptions::new())?,
                self.device.map(&*segment, ..)?,
            ),
            Err(_) => {
                let segment = self.objects.remote(name)?;
                let both = (map_remote(&segment)?, self.device.map(&*segment, ..)?);
                self.kept.push(Kept::Remote(segment));
                both
            }
        };
        Ok(self.region(map, mapped))
    }

    /// Whole pages for so many bytes, which are read and written as `hints` says.
    pub fn take(&mut self, place: &Place, bytes: usize, hints: Hints) -> Result<Region> {
        let bytes = bytes.next_multiple_of(PAGE);
        match place {
            Place::Local => self.local(bytes),
            Place::Device => self.device(bytes, Hints::new()),
            Place::Hinted => self.device(bytes, hints),
            Place::Object(name) => {
                let whole = match self.rest.remove(name) {
                    Some(rest) => rest,
                    None => self.object(name)?,
                };
                let (now, rest) = whole
                    .split(bytes)
                    .with_context(|| format!("{name} is too short"))?;
                self.rest.insert(name.clone(), rest);
                Ok(now)
            }
        }
    }
}

/// Eventfds for so many vectors of a device, which may have fewer.
pub fn counters(device: &Borrowed, wanted: u32) -> Result<Vec<Counter>> {
    let count = device.vectors(wanted)?;
    ensure!(count == wanted, "{count} vectors, not {wanted}");
    (0..count)
        .map(|index| {
            let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
            let eventfd = EventFd::from_value_and_flags(0, flags)?;
            device.vector(index, Some(eventfd.as_fd()))?;
            Ok(Counter::new(File::from(OwnedFd::from(eventfd))))
        })
        .collect()
}
