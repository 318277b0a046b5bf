// SPDX-License-Identifier: GPL-2.0

//! The owner of a controller on another node, asked over a channel.
//!
//! # Locking
//!
//! One thing is asked at a time: `asking` is held while the answer is waited for. `state` is taken inside of it, and by the
//! channel's callbacks; nothing is locked inside of it.

use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        CondVar,
        CondVarTimeoutResult,
        Mutex, //
    },
    time::msecs_to_jiffies, //
};
use skiff_client::{
    Channel,
    ChannelHandler, //
};
use skiff_nvme_model::protocol::{
    channel,
    Answer,
    Body,
    Event,
    Limits,
    Message,
    Refusal,
    Request,
    Token, //
};

use crate::ears::Ears;

/// Milliseconds that an answer may take: an admin command or two, and whoever asked before.
const LIMIT_MS: u32 = 15_000;

/// Milliseconds that a reset may take.
pub(crate) const RESET_MS: u32 = 60_000;

/// What is heard of the owner.
#[pin_data]
pub(crate) struct Replies {
    fdid: u32,
    /// The node of the owner.
    node: u32,
    ears: Arc<Ears>,
    /// The controller's start that was heard of last.
    generation: Atomic<u32>,
    #[pin]
    state: Mutex<State>,
    #[pin]
    arrived: CondVar,
}

struct State {
    /// The token of what is asked.
    token: u32,
    answer: Option<Reply>,
}

/// What came of what was asked.
#[derive(Clone, Copy)]
enum Reply {
    Answer(Answer),
    /// Nobody there has the channel open.
    Nobody,
}

impl Replies {
    fn arrived(&self, token: Option<Token>, reply: Reply) {
        let mut state = self.state.lock();

        if token.is_none_or(|token| token.0 == state.token) && state.answer.is_none() {
            state.answer = Some(reply);
            self.arrived.notify_all();
        }
    }

    /// The owner has named the controller's start: whoever did not hear of it does so now.
    fn heard(&self, start: u32) {
        if self.generation.xchg(start, Relaxed) != start {
            self.ears.told(Event::Restarted, start);
        }
    }
}

impl ChannelHandler for Replies {
    fn message(&self, node: u32, bytes: &[u8]) {
        // Nonsense is left alone: whoever waits for something else waits.
        let Ok(message) = Message::decode(bytes) else {
            return;
        };

        if node != self.node || message.fdid != self.fdid {
            return;
        }
        match message.body {
            Body::Answer(token, answer) => {
                match answer {
                    Answer::Attached(_) => self.generation.store(message.generation, Relaxed),
                    // Before whoever has asked goes on. The owner is not in the middle of a reset when it answers.
                    _ => self.heard(message.generation),
                }
                self.arrived(Some(token), Reply::Answer(answer));
            }
            Body::Event(Event::Restarted) => self.heard(message.generation),
            Body::Event(event) => self.ears.told(event, message.generation),
            // This node owns nothing.
            Body::Request(..) => {}
        }
    }

    fn refused(&self, node: u32) {
        if node == self.node {
            self.arrived(None, Reply::Nobody);
        }
    }
}

/// The owner.
#[pin_data]
pub(crate) struct Remote {
    /// First: no callback comes once it is closed.
    channel: Channel,
    replies: Arc<Replies>,
    limits: Limits,
    #[pin]
    asking: Mutex<()>,
}

/// What comes of asking for an owner.
pub(crate) enum Found {
    /// It is there.
    Owner(Arc<Remote>),
    /// No skiff_nvme has the device there.
    Nobody,
}

impl Remote {
    /// Asks `node` to share a device that it owns. `ETIMEDOUT`, `EINTR`, `EIO` if it speaks another
    /// language, or what the channel says. Process context.
    pub(crate) fn find(fdid: u32, node: u32, ears: &Arc<Ears>) -> Result<Found> {
        let state = State {
            token: 0,
            answer: None,
        };
        let replies = Arc::pin_init(
            pin_init!(Replies {
                fdid,
                node,
                ears: ears.clone(),
                generation: Atomic::new(0),
                state <- new_mutex!(state, "Replies::state"),
                arrived <- new_condvar!("Replies::arrived"),
            }),
            GFP_KERNEL,
        )?;
        let channel = Channel::open(channel(fdid), replies.clone())?;
        let limits = match ask(&channel, &replies, Request::Attach, 0, LIMIT_MS)? {
            Reply::Nobody | Reply::Answer(Answer::Refused(Refusal::NotOwned)) => {
                return Ok(Found::Nobody);
            }
            Reply::Answer(Answer::Attached(limits)) => limits,
            Reply::Answer(Answer::Refused(_)) => return Err(EBUSY),
            Reply::Answer(_) => return Err(EIO),
        };
        let remote = Arc::pin_init(
            pin_init!(Self {
                channel,
                replies,
                limits,
                asking <- new_mutex!((), "Remote::asking"),
            }),
            GFP_KERNEL,
        )?;

        Ok(Found::Owner(remote))
    }

    /// How the controller is shared.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// The controller's start that was heard of last.
    pub(crate) fn generation(&self) -> u32 {
        self.replies.generation.load(Relaxed)
    }

    /// Asks the owner for something in a start of the controller. `EIO` if it refuses, `EAGAIN` if that start is over, which the
    /// ears have been told of by then, `ENOSPC` if there are no queues left; else as [`Remote::find`]. Process context.
    pub(crate) fn ask(&self, request: Request, start: u32) -> Result<Answer> {
        let limit = match request {
            Request::Reset => RESET_MS,
            _ => LIMIT_MS,
        };
        let _asking = self.asking.lock();

        match ask(&self.channel, &self.replies, request, start, limit)? {
            Reply::Nobody => Err(ENODEV),
            Reply::Answer(Answer::Refused(refusal)) => Err(match refusal {
                Refusal::Stale => EAGAIN,
                Refusal::Exhausted => ENOSPC,
                Refusal::NotYours => ENOENT,
                Refusal::NotOwned => ENODEV,
                Refusal::Failed => EIO,
            }),
            Reply::Answer(answer) => Ok(answer),
        }
    }
}

/// Asks, and waits for the answer.
fn ask(
    channel: &Channel,
    replies: &Replies,
    request: Request,
    generation: u32,
    limit_ms: u32,
) -> Result<Reply> {
    let mut state = replies.state.lock();

    // Never 0.
    state.token = (state.token % (u32::MAX - 1)) + 1;
    state.answer = None;

    let message = Message {
        fdid: replies.fdid,
        generation,
        body: Body::Request(Token(state.token), request),
    };
    let (bytes, length) = message.encode();

    channel.send(replies.node, bytes.get(..length).unwrap_or_default())?;

    let mut left = msecs_to_jiffies(limit_ms);

    loop {
        if let Some(reply) = state.answer.take() {
            return Ok(reply);
        }
        left = match replies.arrived.wait_interruptible_timeout(&mut state, left) {
            CondVarTimeoutResult::Woken { jiffies } => jiffies,
            CondVarTimeoutResult::Signal { .. } => return Err(EINTR),
            CondVarTimeoutResult::Timeout => {
                return state.answer.take().ok_or(ETIMEDOUT);
            }
        };
    }
}
