// SPDX-License-Identifier: GPL-2.0
//! The objects that an actor holds, under their names.
//!
//! # Locking
//! The table has one lock, which is not held while an object is used: a step that waits for a peer holds a reference.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::anyhow;
use anyhow::Context as _;
use anyhow::Result;
use nix::errno::Errno;
use nix::sys::eventfd::EventFd;
use nix::time::clock_gettime;
use nix::time::ClockId;
use nix::unistd::geteuid;
use serde_json::json;
use serde_json::Value;
use skiff::Adapter;
use skiff::Borrowed;
use skiff::ConnectOptions;
use skiff::Containment;
use skiff::Context;
use skiff::DeviceMap;
use skiff::Event;
use skiff::Iommu;
use skiff::LocalSegment;
use skiff::Map;
use skiff::MapOptions;
use skiff::Node;
use skiff::RemoteSegment;
use skiff::Removal;
use skiff::SegmentOptions;

use super::nvme::Hammer;
use super::nvme::Nvme;
use super::pages::physical;
use super::pages::PAGE;
use super::scattered::scattered;
use super::step::Connect;
use super::step::Create;
use super::step::MapStep;
use super::traffic::Traffic;

/// The errno of an error of the library.
pub fn errno(error: &skiff::Error) -> Errno {
    Errno::from_raw(error.errno())
}

/// A thing with a name.
#[derive(Debug)]
pub enum Object {
    /// A local segment.
    Local(Arc<LocalSegment>),
    /// A connection.
    Remote(Arc<RemoteSegment>),
    /// A map of either.
    Map(Arc<Map>),
    /// Many local segments.
    Locals(Vec<LocalSegment>),
    /// Many connections with a map each.
    Remotes(Vec<(RemoteSegment, Map)>),
    /// A thread that uses a map.
    Traffic(Traffic),
    /// A borrowed device.
    Borrowed(Arc<Borrowed>),
    /// What is mapped for one.
    DeviceMap(DeviceMap),
    /// What a vector of one signals.
    Eventfd(Arc<EventFd>),
    /// A borrowed NVMe controller that runs.
    Nvme(Arc<Nvme>),
    /// Threads that use one.
    Hammer(Hammer),
}

/// A segment of this node or a connection.
#[derive(Debug)]
pub enum Segment {
    /// Of this node.
    Local(Arc<LocalSegment>),
    /// A connection.
    Remote(Arc<RemoteSegment>),
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Local(segment) => segment.as_fd(),
            Self::Remote(segment) => segment.as_fd(),
        }
    }
}

/// All of them, and the context that made them.
#[derive(Debug)]
pub struct Objects {
    pub(super) context: Context,
    table: Mutex<BTreeMap<String, Object>>,
}

fn adapter(number: Option<u32>) -> Adapter {
    number.map_or(Adapter::Any, Adapter::Number)
}

fn node(number: Option<u32>) -> Node {
    number.map_or(Node::Local, Node::Number)
}

impl Objects {
    /// Opens /dev/skiff.
    pub fn open() -> Result<Self> {
        Ok(Self {
            context: Context::open()?,
            table: Mutex::default(),
        })
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a thing a name that is not taken.
    pub fn put(&self, name: &str, object: Object) -> Result<Value> {
        let mut table = self.table();
        anyhow::ensure!(!table.contains_key(name), "{name} is taken");
        table.insert(name.to_owned(), object);
        Ok(Value::Null)
    }

    /// Takes a thing out of the table.
    pub fn take(&self, name: &str) -> Result<Object> {
        let object = self.table().remove(name);
        object.with_context(|| format!("there is no {name}"))
    }

    fn find<T>(&self, name: &str, pick: impl Fn(&Object) -> Option<T>) -> Result<T> {
        let table = self.table();
        let object = table
            .get(name)
            .with_context(|| format!("there is no {name}"))?;
        pick(object).with_context(|| format!("{name} is not of that kind"))
    }

    pub(super) fn local(&self, name: &str) -> Result<Arc<LocalSegment>> {
        self.find(name, |object| match object {
            Object::Local(segment) => Some(Arc::clone(segment)),
            _ => None,
        })
    }

    pub(super) fn remote(&self, name: &str) -> Result<Arc<RemoteSegment>> {
        self.find(name, |object| match object {
            Object::Remote(segment) => Some(Arc::clone(segment)),
            _ => None,
        })
    }

    /// A local segment or a connection.
    pub(super) fn segment(&self, name: &str) -> Result<Segment> {
        self.find(name, |object| match object {
            Object::Local(segment) => Some(Segment::Local(Arc::clone(segment))),
            Object::Remote(segment) => Some(Segment::Remote(Arc::clone(segment))),
            _ => None,
        })
    }

    pub(super) fn borrowed(&self, name: &str) -> Result<Arc<Borrowed>> {
        self.find(name, |object| match object {
            Object::Borrowed(device) => Some(Arc::clone(device)),
            _ => None,
        })
    }

    pub(super) fn eventfd(&self, name: &str) -> Result<Arc<EventFd>> {
        self.find(name, |object| match object {
            Object::Eventfd(eventfd) => Some(Arc::clone(eventfd)),
            _ => None,
        })
    }

    pub(super) fn nvme(&self, name: &str) -> Result<Arc<Nvme>> {
        self.find(name, |object| match object {
            Object::Nvme(nvme) => Some(Arc::clone(nvme)),
            _ => None,
        })
    }

    pub(super) fn device_map(&self, name: &str) -> Result<DeviceMap> {
        self.find(name, |object| match object {
            Object::DeviceMap(mapped) => Some(*mapped),
            _ => None,
        })
    }

    /// A map by its name.
    pub fn map_of(&self, name: &str) -> Result<Arc<Map>> {
        self.find(name, |object| match object {
            Object::Map(map) => Some(Arc::clone(map)),
            _ => None,
        })
    }

    /// Drops a thing.
    pub fn forget(&self, name: &str) -> Result<Value> {
        self.take(name).map(|_| Value::Null)
    }

    /// See [`super::step::Step::Now`].
    pub fn now(&self) -> Result<Value> {
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
        Ok(json!(u64::try_from(now.as_nanos())?))
    }

    /// See [`super::step::Step::Status`].
    pub fn status(&self) -> Result<Value> {
        let info = self.context.info()?;
        let adapters: Result<Vec<Value>> = info
            .adapters
            .iter()
            .map(|number| {
                let adapter = self.context.adapter(number)?;
                Ok(json!({
                    "port": adapter.port,
                    "iommu": adapter.iommu == Iommu::Paging,
                    "slots": adapter.slots,
                    "slots_pinned": adapter.slots_pinned,
                    "slot_bytes": adapter.slot_bytes,
                    "window_bytes": adapter.window_bytes,
                    "exported_bytes": adapter.exported_bytes,
                    "quarantined_bytes": adapter.quarantined_bytes,
                    "ports_up": adapter.ports_up.bits(),
                }))
            })
            .collect();
        Ok(json!({
            "node": info.node,
            "generation": info.generation,
            "nodes": info.nodes.bits(),
            "contained": info.containment == Containment::Contained,
            "adapters": adapters?,
        }))
    }

    /// See [`super::step::Step::Node`].
    pub fn node(&self, number: u32) -> Result<Value> {
        let node = self.context.node(number)?;
        Ok(json!({
            "state": format!("{:?}", node.state),
            "generation": node.generation,
            "connections_out": node.connections_out,
            "connections_in": node.connections_in,
        }))
    }

    /// See [`super::step::Step::Create`].
    pub fn create(&self, create: Create) -> Result<Value> {
        let mode = u32::from_str_radix(&create.mode, 8)?;
        let mut options = SegmentOptions::new(create.bytes).mode(mode);
        options = match create.id {
            Some(id) => options.id(id),
            None => options.private(),
        };
        if !create.node.is_empty() {
            options = options.nodes(&create.node);
        }
        let (segment, pages) = if create.user {
            // The segment keeps the pages, and its maps show them, when the buffer is gone.
            let memory = scattered(usize::try_from(create.bytes)?)?;
            let segment = self.context.create(&options.buffer(&memory))?;
            // They stay where they are from here on. Only root is told where.
            let count = memory.len() / PAGE;
            let pages = match geteuid().is_root() {
                true => physical(memory.as_ptr() as usize, count)?,
                false => Vec::new(),
            };
            (segment, pages)
        } else {
            (self.context.create(&options)?, Vec::new())
        };
        if create.share {
            segment.prepare(Adapter::Any)?;
            segment.set_available(Adapter::Any)?;
        }
        self.put(&create.name, Object::Local(Arc::new(segment)))?;
        Ok(json!(pages))
    }

    /// See [`super::step::Step::Prepare`].
    pub fn prepare(&self, name: &str, number: Option<u32>) -> Result<Value> {
        self.local(name)?.prepare(adapter(number))?;
        Ok(Value::Null)
    }

    /// See [`super::step::Step::Available`].
    pub fn available(&self, name: &str, number: Option<u32>) -> Result<Value> {
        self.local(name)?.set_available(adapter(number))?;
        Ok(Value::Null)
    }

    /// See [`super::step::Step::Unavailable`].
    pub fn unavailable(&self, name: &str) -> Result<Value> {
        self.local(name)?.set_unavailable(Adapter::Any)?;
        Ok(Value::Null)
    }

    /// See [`super::step::Step::Remove`].
    pub fn remove(&self, name: &str, force: bool) -> Result<Value> {
        let removal = if force {
            Removal::Force
        } else {
            Removal::IfIdle
        };
        self.local(name)?.remove(removal)?;
        Ok(Value::Null)
    }

    /// See [`super::step::Step::Revoke`].
    pub fn revoke(&self, name: &str, number: Option<u32>) -> Result<Value> {
        let revoked = self.local(name)?.revoke(node(number), None)?;
        Ok(json!({ "revoked": revoked.revoked, "unconfirmed": revoked.unconfirmed }))
    }

    /// See [`super::step::Step::Connect`].
    pub fn connect(&self, connect: Connect) -> Result<Value> {
        let timeout = Duration::from_millis(connect.timeout.into());
        let mut options = ConnectOptions::new()
            .adapter(adapter(connect.adapter))
            .timeout(timeout);
        if connect.read_only {
            options = options.read_only();
        }
        let segment = self
            .context
            .connect(node(connect.node), connect.id, &options)?;
        let bytes = segment.info()?.bytes;
        self.put(&connect.name, Object::Remote(Arc::new(segment)))?;
        Ok(json!(bytes))
    }

    /// See [`super::step::Step::Disconnect`].
    pub fn disconnect(&self, name: &str) -> Result<Value> {
        self.remote(name)?.disconnect()?;
        Ok(Value::Null)
    }

    /// See [`super::step::Step::Query`].
    pub fn query(&self, number: u32, from: u32) -> Result<Value> {
        let options = ConnectOptions::new();
        let found = self.context.query(number, from, &options)?;
        let found = found.ok_or(Errno::ENOENT)?;
        Ok(json!({ "id": found.id, "bytes": found.bytes, "uid": found.uid, "mode": found.mode }))
    }

    /// See [`super::step::Step::Map`].
    pub fn map(&self, step: MapStep) -> Result<Value> {
        let mut options = MapOptions::new().offset(step.offset);
        if let Some(length) = step.length {
            options = options.len(usize::try_from(length)?);
        }
        if step.uncached {
            options = options.uncached();
        }
        if step.all_ones {
            options = options.all_ones();
        }
        if step.read_only {
            options = options.read_only();
        }
        let map = match self.local(&step.object) {
            Ok(segment) => segment.map(&options)?,
            Err(_) => self.remote(&step.object)?.map(&options)?,
        };
        self.put(&step.name, Object::Map(Arc::new(map)))
    }

    /// See [`super::step::Step::Info`].
    pub fn info(&self, name: &str) -> Result<Value> {
        if let Ok(segment) = self.local(name) {
            let info = segment.info()?;
            return Ok(json!({
                "id": info.id,
                "bytes": info.bytes,
                "connections": info.connections,
                "extents": info.extents,
            }));
        }
        let info = self.remote(name)?.info()?;
        Ok(json!({
            "node": match info.node {
                Node::Number(node) => Some(node),
                Node::Local => None,
            },
            "state": format!("{:?}", info.state),
            "bytes": info.bytes,
            "maps": info.maps,
            "slots": info.slots,
        }))
    }

    /// See [`super::step::Step::Event`].
    pub fn event(&self, name: Option<&str>, timeout: u64) -> Result<Value> {
        let limit = Some(Duration::from_millis(timeout));
        let event: Option<Event> = match name {
            None => self.context.next_event(limit)?,
            Some(name) => match (self.borrowed(name), self.local(name)) {
                (Ok(device), _) => device.next_event(limit)?,
                (_, Ok(segment)) => segment.next_event(limit)?,
                _ => self.remote(name)?.next_event(limit)?,
            },
        };
        let at = self.now()?;
        let event = event.ok_or_else(|| anyhow!("no event within {timeout} ms"))?;
        Ok(json!({ "kind": format!("{:?}", event.kind), "node": event.node, "at": at }))
    }
}
