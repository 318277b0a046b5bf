// SPDX-License-Identifier: GPL-2.0
//! Loads and stores, over and over, while something else happens.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::anyhow;
use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use serde_json::Value;
use skiff::Map;

use super::objects::Object;
use super::objects::Objects;
use super::pages::PAGE;
use super::probe;

/// Word of each page that traffic uses; tests leave it alone.
const PLACE: usize = PAGE - 4;

/// Between one round over all pages and the next: the node has one CPU and the machine few, and others have work to do.
const PAUSE: Duration = Duration::from_millis(1);

/// What traffic saw.
#[derive(Debug, Default, Serialize)]
struct Seen {
    /// Accesses that went well.
    good: u64,
    /// Loads that gave neither what was stored nor all ones.
    wrong: u64,
    /// Loads of all ones.
    ones: u64,
    /// Accesses that raised SIGBUS: the last one, where there is one.
    refused: u64,
}

/// A thread that loads and stores.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

fn run(map: &Map, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut value = 0_u32;
    // One round at least: who stops at once wants to know whether accesses go well.
    loop {
        for at in (0..map.len()).step_by(PAGE) {
            value = value.wrapping_add(1) & 0x7fff_ffff;
            let place = map.as_ptr().wrapping_add(at + PLACE).cast::<u32>();
            // SAFETY: The map is whole pages, may be read and written, and the word is aligned.
            let stored = unsafe { probe::store(place, value) };
            map.flush();
            // SAFETY: As above.
            let loaded = unsafe { probe::load(place) };
            match (stored, loaded) {
                (Ok(()), Ok(there)) if there == value => seen.good += 1,
                (Ok(()), Ok(u32::MAX)) => seen.ones += 1,
                (Ok(()), Ok(_)) => seen.wrong += 1,
                _ => {
                    seen.refused += 1;
                    return seen;
                }
            }
        }
        if stop.load(Ordering::Relaxed) {
            return seen;
        }
        thread::sleep(PAUSE);
    }
}

impl Objects {
    /// See [`super::step::Step::Traffic`].
    pub fn traffic(&self, name: &str, map: &str) -> Result<Value> {
        let map = self.map_of(map)?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = thread::spawn(move || run(&map, &flag));
        self.put(name, Object::Traffic(Traffic { stop, thread }))
    }

    /// See [`super::step::Step::Calm`].
    pub fn calm(&self, name: &str) -> Result<Value> {
        let traffic = self.take(name)?;
        let Object::Traffic(Traffic { stop, thread }) = traffic else {
            return Err(anyhow!("{name} is no traffic"));
        };
        stop.store(true, Ordering::Relaxed);
        let seen = thread.join().map_err(|_| anyhow!("the thread panicked"))?;
        Ok(json!(seen))
    }
}
