// SPDX-License-Identifier: GPL-2.0

//! The owner of a controller serves other nodes over a channel.
//!
//! What they ask for takes admin commands, which the channel's callback must not wait for: it puts the request aside for the
//! server's own thread.
//!
//! # Locking
//!
//! The mutex of the requests is held to note them and to take them out; nothing is locked inside of it. That of the sharers is
//! also held while they are sent events, which locks inside of skiff.ko.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        Mutex, //
    }, //
};
use skiff_client::{
    Channel,
    ChannelHandler,
    Work,
    Worker, //
};
use skiff_nvme_model::{
    protocol::{
        channel,
        Answer,
        Body,
        Event,
        Message,
        Refusal,
        Request,
        Token, //
    },
    registers::State, //
};

use crate::{
    ears::Ears,
    owner::Owner, //
};

/// Requests that may wait; who asks for more hears nothing. A node asks for one thing at a time.
const WAITING: usize = 128;

/// Nodes that may share a controller.
const SHARERS: usize = 64;

/// Pairs of queues that another node may have.
const SHARE: u16 = 16;

/// Requests that have come.
#[pin_data]
struct Inbox {
    fdid: u32,
    #[pin]
    waiting: Mutex<KVec<(u32, u32, Token, Request)>>,
    worker: Arc<Worker<Server>>,
}

impl ChannelHandler for Inbox {
    fn message(&self, node: u32, bytes: &[u8]) {
        let Ok(message) = Message::decode(bytes) else {
            return;
        };
        let Body::Request(token, request) = message.body else {
            return;
        };

        if message.fdid != self.fdid {
            return;
        }

        let mut waiting = self.waiting.lock();

        if waiting.len() < WAITING
            && waiting
                .push((node, message.generation, token, request), GFP_KERNEL)
                .is_ok()
        {
            self.worker.kick();
        }
    }

    fn refused(&self, _node: u32) {}
}

/// The server.
#[pin_data]
pub(crate) struct Server {
    /// First: no callback comes once it is closed.
    channel: Channel,
    inbox: Arc<Inbox>,
    owner: Arc<Owner>,
    ears: Arc<Ears>,
    reset: Atomic<bool>,
    /// Somebody is gone without a word.
    missing: Atomic<bool>,
    /// Nodes that share the controller, this one left out.
    #[pin]
    sharers: Mutex<KVec<u32>>,
}

impl Server {
    /// Begins to serve. `EBUSY` if somebody on this node does. Process context.
    pub(crate) fn start(fdid: u32, owner: &Arc<Owner>, ears: &Arc<Ears>) -> Result<Arc<Self>> {
        let worker = Worker::new(c"skiff_nvme_own", kernel::static_lock_class!())?;
        let inbox = Arc::pin_init(
            pin_init!(Inbox {
                fdid,
                waiting <- new_mutex!(KVec::new(), "Inbox::waiting"),
                worker,
            }),
            GFP_KERNEL,
        )?;
        let channel = Channel::open(channel(fdid), inbox.clone())?;
        let this = Arc::pin_init(
            pin_init!(Self {
                channel,
                inbox,
                owner: owner.clone(),
                ears: ears.clone(),
                reset: Atomic::new(false),
                missing: Atomic::new(false),
                sharers <- new_mutex!(KVec::new(), "Server::sharers"),
            }),
            GFP_KERNEL,
        )?;

        this.inbox.worker.start(this.clone());
        // What came before has waited.
        this.inbox.worker.kick();
        Ok(this)
    }

    /// Serves nobody any more: who shares the controller is told that it is gone. Process context.
    pub(crate) fn stop(&self) {
        self.tell(Event::Gone);
        self.inbox.worker.stop();
    }

    /// Has the controller reset. Any context that may sleep.
    pub(crate) fn call_reset(&self) {
        self.reset.store(true, Relaxed);
        self.inbox.worker.kick();
    }

    /// Somebody who had borrowed the device is gone without a word. Any context that may sleep.
    pub(crate) fn call_missing(&self) {
        self.missing.store(true, Relaxed);
        self.inbox.worker.kick();
    }

    fn send(&self, node: u32, body: Body) -> Result {
        let message = Message {
            fdid: self.inbox.fdid,
            generation: self.owner.generation(),
            body,
        };
        let (bytes, length) = message.encode();

        self.channel
            .send(node, bytes.get(..length).unwrap_or_default())
    }

    /// Tells all sharers; who cannot be reached finds out by itself.
    fn tell(&self, event: Event) {
        for node in self.sharers.lock().iter() {
            let _ = self.send(*node, Body::Event(event));
        }
    }

    fn shares(&self, node: u32) -> bool {
        self.sharers.lock().iter().any(|sharer| *sharer == node)
    }

    fn forget(&self, node: u32) {
        self.sharers.lock().retain(|sharer| *sharer != node);
        if self.owner.delete_all(node).is_err() {
            // What the controller still knows may lead to memory that is somebody else's.
            let _ = self.restart();
        }
    }

    fn attach(&self, node: u32) -> Answer {
        self.forget(node);

        let mut sharers = self.sharers.lock();

        if sharers.len() >= SHARERS || sharers.push(node, GFP_KERNEL).is_err() {
            return Answer::Refused(Refusal::Exhausted);
        }
        drop(sharers);
        pr_info!("node {} shares the controller\n", node);

        let mut limits = self.owner.limits();

        limits.queues = limits.queues.min(SHARE);
        Answer::Attached(limits)
    }

    /// What becomes of a request of another node.
    fn serve(&self, node: u32, generation: u32, request: Request) -> Answer {
        let done = |result: Result| match result {
            Ok(()) => Answer::Done,
            Err(error) => refused(error),
        };

        if request == Request::Attach {
            return self.attach(node);
        }
        if !self.shares(node) {
            return Answer::Refused(Refusal::NotYours);
        }
        if request == Request::Detach {
            self.forget(node);
            return Answer::Done;
        }
        if generation != self.owner.generation() {
            return Answer::Refused(Refusal::Stale);
        }
        match request {
            Request::CreateQueue(pair) => {
                if self.owner.pairs(node) >= SHARE.into() {
                    return Answer::Refused(Refusal::Exhausted);
                }
                match self.owner.create(node, &pair, generation) {
                    Ok((queue, vector)) => Answer::Queue { queue, vector },
                    Err(error) => refused(error),
                }
            }
            Request::Namespace { after } => match self.owner.namespace(after) {
                Ok(Some(namespace)) => Answer::Namespace(namespace),
                Ok(None) => Answer::Done,
                Err(error) => refused(error),
            },
            Request::Abort { queue, command } => {
                done(self.owner.abort(node, queue, command, generation))
            }
            Request::Reset => done(self.restart()),
            Request::Attach | Request::Detach => Answer::Refused(Refusal::NotYours),
        }
    }

    /// Resets the controller, with everybody told before and after.
    fn restart(&self) -> Result {
        self.tell(Event::Stopped);
        self.ears.told(Event::Stopped, self.owner.generation());

        let reset = self.owner.reset();
        let event = match reset {
            Ok(()) => Event::Restarted,
            Err(_) => Event::Gone,
        };

        // Whoever asked for one meanwhile has got it.
        self.reset.store(false, Relaxed);
        pr_warn!("the controller was reset: {:?}\n", reset);
        self.tell(event);
        self.ears.told(event, self.owner.generation());
        reset
    }

    /// Finds out who is gone.
    fn look_for_missing(&self) {
        let mut gone = KVec::new();

        for node in self.sharers.lock().iter() {
            if self.send(*node, Body::Event(Event::Nothing)).is_err() {
                // Without memory it is found when it comes again.
                let _ = gone.push(*node, GFP_KERNEL);
            }
        }
        for node in &gone {
            pr_info!("node {} is gone, and its queues\n", *node);
            self.forget(*node);
        }
        // The controller may have stumbled over memory that is gone.
        if self.owner.state() == State::Failed {
            let _ = self.restart();
        }
    }
}

fn refused(error: Error) -> Answer {
    Answer::Refused(match error {
        error if error == ENOSPC => Refusal::Exhausted,
        error if error == ENOENT => Refusal::NotYours,
        error if error == EAGAIN => Refusal::Stale,
        _ => Refusal::Failed,
    })
}

impl Work for Server {
    fn run(this: ArcBorrow<'_, Self>) {
        if this.missing.xchg(false, Relaxed) {
            this.look_for_missing();
        }
        if this.reset.xchg(false, Relaxed) {
            let _ = this.restart();
        }

        let waiting = core::mem::take(&mut *this.inbox.waiting.lock());

        for (node, generation, token, request) in waiting {
            let answer = this.serve(node, generation, request);

            // Who cannot be reached does not wait for it.
            let _ = this.send(node, Body::Answer(token, answer));
        }
    }
}
