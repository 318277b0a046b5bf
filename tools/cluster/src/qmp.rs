// SPDX-License-Identifier: GPL-2.0
//! A client of QEMU's monitor protocol (docs/interop/qmp-spec.rst in QEMU's source).
//!
//! A reader thread sorts answers and events into one table; callers wait on it. Events are kept until somebody takes
//! them, so none is missed between a command and the wait for its effect.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{json, Value};

/// Events beyond this number push out the oldest.
const KEPT_EVENTS: usize = 256;

#[derive(Debug, Default)]
struct Inbox {
    greeted: bool,
    answers: Vec<Value>,
    events: Vec<Value>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    changed: Condvar,
}

/// Why the monitor did not do as it was asked.
#[derive(Debug)]
pub(crate) enum QmpError {
    /// It said so.
    Refused(String),
    /// QEMU has closed it.
    Closed,
    /// It did not answer in time.
    Timeout,
}

/// A connection to one QEMU's monitor.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: Mutex<(UnixStream, u64)>,
    shared: Arc<Shared>,
}

impl Qmp {
    /// Starts talking; QEMU may still be starting.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let reader = BufReader::new(stream.try_clone()?);
        let inbox = Arc::clone(&shared);
        thread::Builder::new()
            .name("qmp".to_owned())
            .spawn(move || inbox.fill(reader))?;
        Ok(Qmp {
            stream: Mutex::new((stream, 0)),
            shared,
        })
    }

    /// Waits for QEMU's greeting and leaves negotiation mode.
    pub(crate) fn negotiate(&self, limit: Duration) -> Result<(), QmpError> {
        self.shared
            .wait(limit, |inbox| inbox.greeted.then_some(()))?;
        self.execute("qmp_capabilities", json!({}), limit).map(drop)
    }

    /// Runs one command and returns what it answers.
    pub(crate) fn execute(
        &self,
        command: &str,
        arguments: Value,
        limit: Duration,
    ) -> Result<Value, QmpError> {
        let id = {
            let mut guard = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
            let (stream, last) = &mut *guard;
            *last += 1;
            let line =
                json!({ "execute": command, "arguments": arguments, "id": *last }).to_string();
            tracing::debug!(line, "QMP");
            stream
                .write_all(format!("{line}\n").as_bytes())
                .map_err(|_| QmpError::Closed)?;
            *last
        };
        let mut answer = self.shared.wait(limit, |inbox| {
            let at = inbox.answers.iter().position(|answer| answer["id"] == id)?;
            Some(inbox.answers.swap_remove(at))
        })?;
        match answer["error"]["desc"].as_str() {
            Some(message) => Err(QmpError::Refused(message.to_owned())),
            None => Ok(answer["return"].take()),
        }
    }

    /// Forgets all events so far.
    pub(crate) fn forget_events(&self) {
        self.shared.inbox().events.clear();
    }

    /// Takes the first event of this name for which `matches` holds.
    pub(crate) fn wait_event(
        &self,
        name: &str,
        limit: Duration,
        matches: impl Fn(&Value) -> bool,
    ) -> Result<(), QmpError> {
        self.shared.wait(limit, |inbox| {
            let at = inbox
                .events
                .iter()
                .position(|event| event["event"] == name && matches(&event["data"]))?;
            inbox.events.remove(at);
            Some(())
        })
    }
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, reader: BufReader<UnixStream>) {
        for line in reader.lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else {
                tracing::warn!(line, "QEMU's monitor says something that is not JSON");
                continue;
            };
            let mut inbox = self.inbox();
            if message.get("event").is_some() {
                tracing::debug!(line, "QMP event");
                if inbox.events.len() == KEPT_EVENTS {
                    inbox.events.remove(0);
                }
                inbox.events.push(message);
            } else if message.get("QMP").is_some() {
                inbox.greeted = true;
            } else {
                inbox.answers.push(message);
            }
            self.changed.notify_all();
        }
        self.inbox().closed = true;
        self.changed.notify_all();
    }

    fn wait<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&mut Inbox) -> Option<T>,
    ) -> Result<T, QmpError> {
        let start = Instant::now();
        let mut inbox = self.inbox();
        loop {
            if let Some(found) = look(&mut inbox) {
                return Ok(found);
            }
            if inbox.closed {
                return Err(QmpError::Closed);
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(QmpError::Timeout);
            }
            inbox = self
                .changed
                .wait_timeout(inbox, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A monitor that greets and then answers every line by `answer`.
    fn monitor(answer: impl Fn(&Value) -> Vec<Value> + Send + 'static) -> Qmp {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut out = theirs.try_clone().unwrap();
            writeln!(out, "{}", json!({ "QMP": { "version": {} } })).unwrap();
            for line in BufReader::new(theirs).lines() {
                let request = serde_json::from_str(&line.unwrap()).unwrap();
                for message in answer(&request) {
                    writeln!(out, "{message}").unwrap();
                }
            }
        });
        Qmp::new(ours).unwrap()
    }

    #[test]
    fn answers_and_events_are_told_apart() {
        let qmp = monitor(|request| {
            let event = json!({ "event": "DEVICE_DELETED", "data": { "device": "ntb0" } });
            match request["execute"].as_str() {
                Some("device_del") => vec![event, json!({ "return": {}, "id": request["id"] })],
                _ => vec![json!({ "return": request["arguments"], "id": request["id"] })],
            }
        });
        qmp.negotiate(LIMIT).unwrap();
        qmp.execute("device_del", json!({ "id": "ntb0" }), LIMIT)
            .unwrap();
        assert_eq!(
            qmp.execute("echo", json!({ "a": 1 }), LIMIT).unwrap(),
            json!({ "a": 1 })
        );
        qmp.wait_event("DEVICE_DELETED", LIMIT, |data| data["device"] == "ntb0")
            .unwrap();
        let again = qmp.wait_event("DEVICE_DELETED", Duration::from_millis(10), |_| true);
        assert!(matches!(again, Err(QmpError::Timeout)));
    }

    #[test]
    fn a_refusal_says_why() {
        let qmp = monitor(|request| {
            vec![json!({ "error": { "class": "X", "desc": "no" }, "id": request["id"] })]
        });
        let answer = qmp.execute("stop", json!({}), LIMIT);
        assert!(matches!(answer, Err(QmpError::Refused(why)) if why == "no"));
    }

    #[test]
    fn a_closed_monitor_ends_every_wait() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let qmp = Qmp::new(ours).unwrap();
        drop(theirs);
        assert!(matches!(qmp.negotiate(LIMIT), Err(QmpError::Closed)));
    }
}
