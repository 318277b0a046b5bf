// SPDX-License-Identifier: GPL-2.0

//! An open file of `/dev/skiff`: asks about nodes, is told of them, and makes objects.

use kernel::{
    fs::File,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        aref::ARef,
        Arc,
        ArcBorrow, //
    },
    uaccess::UserPtr, //
};
use skiff_ext::{
    anon::create_file,
    chardev::Device,
    fops::FileObject, //
};
use skiff_model::ntb::WindowClass;

use super::{
    arguments,
    command,
    events::tells,
    exchange,
    exchange_file,
    lend,
    local::LocalFile,
    remote::RemoteFile,
    uapi,
    Node, //
};
use crate::{
    fabric::{
        Layout,
        NodeState, //
    },
    segment::EventQueue, //
};

const INFO: u32 = command(uapi::SKIFF_CMD_INFO);
const ADAPTER_INFO: u32 = command(uapi::SKIFF_CMD_ADAPTER_INFO);
const NODE_INFO: u32 = command(uapi::SKIFF_CMD_NODE_INFO);
const CREATE: u32 = command(uapi::SKIFF_CMD_SEGMENT_CREATE);
const CONNECT: u32 = command(uapi::SKIFF_CMD_SEGMENT_CONNECT);
const QUERY: u32 = command(uapi::SKIFF_CMD_SEGMENT_QUERY);

/// A context.
pub(crate) struct Context {
    node: Arc<Node>,
    /// Events of nodes.
    events: Arc<EventQueue>,
    /// The number under which they are told.
    watch: u64,
}

impl Device for Context {
    type Shared = Arc<Node>;

    fn open(shared: &Self::Shared) -> Result<Arc<Self>> {
        let events = Arc::pin_init(EventQueue::new(), GFP_KERNEL)?;
        let watch = shared.segments.watch(events.clone())?;
        let context = Self {
            node: shared.clone(),
            events,
            watch,
        };
        Ok(Arc::new(context, GFP_KERNEL)?)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.node.segments.unwatch(self.watch);
    }
}

impl FileObject for Context {
    fn ioctl(this: ArcBorrow<'_, Self>, _file: &File, command: u32, argument: UserPtr) -> Result {
        match command {
            INFO => exchange(argument, |value| this.info(value)),
            ADAPTER_INFO => exchange(argument, |value| this.adapter_info(value)),
            NODE_INFO => exchange(argument, |value| this.node_info(value)),
            CREATE => exchange_file(argument, |value, number| this.create(value, number)),
            CONNECT => exchange_file(argument, |value, number| this.connect(value, number)),
            QUERY => exchange(argument, |value| this.query(value)),
            _ => lend::ioctl(&this.node, command, argument),
        }
    }

    tells!(this => &this.events);

    fn show_fdinfo(this: ArcBorrow<'_, Self>, out: &SeqFile) {
        let nodes = this.node.fabric.nodes_up();
        seq_print!(out, "skiff:\tcontext\n");
        seq_print!(out, "nodes:\t{:#x}\n", nodes);
    }
}

impl Context {
    /// `SKIFF_IOC_INFO`.
    fn info(&self, value: &mut uapi::skiff_info) -> Result {
        arguments::zero(&[value.__reserved])?;
        let fabric = &self.node.fabric;
        value.flags = if fabric.contained() {
            uapi::skiff_info_flags_SKIFF_INFO_CONTAINED
        } else {
            0
        };
        value.abi_version = uapi::SKIFF_ABI_VERSION;
        value.node = fabric
            .node()
            .map_or(uapi::SKIFF_NODE_LOCAL, |node| node.get());
        value.adapters = fabric
            .adapters()
            .fold(0, |adapters, adapter| adapters | 1 << adapter.id().get());
        value.nodes = fabric.nodes_up();
        value.generation = fabric.generation().get();
        Ok(())
    }

    /// `SKIFF_IOC_ADAPTER_INFO`.
    fn adapter_info(&self, value: &mut uapi::skiff_adapter_info) -> Result {
        let adapter = arguments::adapter(value.adapter)?.ok_or(ENODEV)?;
        let adapter = self.node.fabric.adapter(adapter)?;
        let geometry = adapter.geometry(WindowClass::Memory)?;
        let bus = adapter.bus();
        let stats = bus.stats();
        let mut flags = 0;
        if bus.paging() {
            flags |= uapi::skiff_adapter_flags_SKIFF_ADAPTER_IOMMU;
        }
        if adapter.layout() == Layout::Companion {
            flags |= uapi::skiff_adapter_flags_SKIFF_ADAPTER_COMPANION;
        }
        *value = uapi::skiff_adapter_info {
            size: value.size,
            adapter: value.adapter,
            flags,
            port: adapter.port().get().into(),
            slots: geometry.slots().into(),
            slots_pinned: adapter.slots_pinned(WindowClass::Memory).into(),
            slot_bytes: geometry.slot_bytes().get(),
            window_bytes: stats.window,
            exported_bytes: stats.mapped,
            quarantined_bytes: stats.held,
            ports_up: self.node.segments.ports_up(adapter.id()),
        };
        Ok(())
    }

    /// `SKIFF_IOC_NODE_INFO`.
    fn node_info(&self, value: &mut uapi::skiff_node_info) -> Result {
        let own = self.node.fabric.node();
        let node = uapi::numbers::node(value.node)?.or(own).ok_or(ENXIO)?;
        let info = self.node.fabric.node_info(node)?;
        let (out, inward) = self.node.segments.connections(node);
        *value = uapi::skiff_node_info {
            size: value.size,
            node: node.get(),
            state: match info.state {
                NodeState::Down => uapi::skiff_node_state_SKIFF_NODE_DOWN,
                NodeState::Greeting => uapi::skiff_node_state_SKIFF_NODE_GREETING,
                NodeState::Up => uapi::skiff_node_state_SKIFF_NODE_UP,
            },
            adapters: info.adapters,
            generation: info.generation.map_or(0, |generation| generation.get()),
            connections_out: out,
            connections_in: inward,
        };
        Ok(())
    }

    /// `SKIFF_IOC_SEGMENT_CREATE`.
    fn create(&self, value: &mut uapi::skiff_segment_create, number: i32) -> Result<ARef<File>> {
        let what = arguments::create(value)?;
        let local = self.node.segments.create(&self.node.fabric, &what)?;
        value.id = local.id().map_or(0, |id| id.get());
        value.fd = number;
        let object = LocalFile::new(self.node.clone(), local.clone())?;
        let file = create_file(c"[skiff-local]", object)?;
        local.attach(&file)?;
        Ok(file)
    }

    /// `SKIFF_IOC_SEGMENT_CONNECT`.
    fn connect(&self, value: &mut uapi::skiff_segment_connect, number: i32) -> Result<ARef<File>> {
        let what = arguments::connect(value)?;
        let remote = self.node.segments.connect(&self.node.fabric, &what)?;
        value.adapter = arguments::adapter_number(remote.adapter());
        value.bytes = remote.bytes();
        value.fd = number;
        let object = RemoteFile::new(self.node.clone(), remote.clone())?;
        let file = create_file(c"[skiff-remote]", object)?;
        remote.attach(&file)?;
        Ok(file)
    }

    /// `SKIFF_IOC_SEGMENT_QUERY`.
    fn query(&self, value: &mut uapi::skiff_segment_query) -> Result {
        let what = arguments::query(value)?;
        let found = self.node.segments.query(&self.node.fabric, &what)?;
        value.id = found.segment.get();
        value.bytes = found.bytes;
        value.uid = found.uid.get();
        value.mode = found.mode;
        Ok(())
    }
}
