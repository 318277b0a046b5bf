// SPDX-License-Identifier: GPL-2.0

//! A segment of this node, and a map of another node's: the kernel's log says what happens to both, and what the map gives then.
//! The test of the crate.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
};
use skiff_client::{
    IoMap,
    Local,
    MapMode,
    Remote,
    Segment,
    SegmentEvent,
    SegmentHandler,
    Work,
    Worker,
    DEFAULT_TIMEOUT, //
};

module! {
    type: Test,
    name: "skiff_client_test",
    authors: ["The Skiff authors"],
    description: "Tells what happens to segments",
    license: "GPL",
    params: {
        own: u32 {
            default: 0,
            description: "Id of the own segment",
        },
        node: u32 {
            default: 0,
            description: "The owner of the other segment",
        },
        far: u32 {
            default: 0,
            description: "Id of the other segment",
        },
    },
}

/// What a parameter says; Linux 7.2 gives a reference.
macro_rules! parameter {
    ($name:ident) => {{
        #[cfg(skiff_v7_2)]
        let value = *module_parameters::$name.value();
        #[cfg(not(skiff_v7_2))]
        let value = module_parameters::$name.value();
        value
    }};
}

/// Bytes of a segment.
const BYTES: usize = 4096;

/// Reads the map, since the segment's handler must not hold it.
struct Reader(IoMap);

impl Work for Reader {
    fn run(this: ArcBorrow<'_, Self>) {
        match this.0.read64(0) {
            Ok(word) => pr_info!("far reads {word:#x}\n"),
            Err(error) => pr_err!("far reads nothing: {error:?}\n"),
        }
    }
}

/// Tells what happens to the own segment.
struct Near;

impl SegmentHandler for Near {
    fn event(&self, event: SegmentEvent, node: u32) {
        pr_info!("own {event:?} of node {node}\n");
    }
}

/// Tells what happens to the other one, and has it read.
struct Far(Arc<Worker<Reader>>);

impl SegmentHandler for Far {
    fn event(&self, event: SegmentEvent, node: u32) {
        pr_info!("far {event:?} of node {node}\n");
        self.0.kick();
    }
}

/// The module.
struct Test {
    worker: Arc<Worker<Reader>>,
    _own: Local,
}

impl kernel::Module for Test {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let segment = Segment {
            id: parameter!(own),
            bytes: BYTES,
            nodes: 0,
            mode: 0o666,
        };
        let own = Local::new(&segment, Arc::new(Near, GFP_KERNEL)?)?;
        let worker = Worker::new(c"skiff_client_test", kernel::static_lock_class!())?;
        let ear = Arc::new(Far(worker.clone()), GFP_KERNEL)?;
        let remote = Remote::connect(parameter!(node), parameter!(far), ear, DEFAULT_TIMEOUT)?;
        let map = remote.map(0, BYTES, MapMode::Combining)?;

        own.offer()?;
        worker.start(Arc::new(Reader(map), GFP_KERNEL)?);
        worker.kick();
        Ok(Self { worker, _own: own })
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        // Drops the map, and with it the connection.
        self.worker.stop();
    }
}
