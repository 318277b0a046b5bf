// SPDX-License-Identifier: GPL-2.0
//! Transaction counters of one port: exact, monotonic between two resets, with names that tests and benchmarks rely on.
//!
//! The live counters are relaxed atomics, so that any thread may count without the switch's lock; a snapshot of several
//! counters is therefore not one instant.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// A counter that is being counted.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Counts `n` at once.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count since the last reset.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The live counters of one port.
        #[derive(Debug, Default)]
        pub struct PortCounters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl PortCounters {
            /// The counts as they are now.
            pub fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.get(),)* }
            }

            /// Starts all counts at zero again.
            pub fn reset(&self) {
                $(self.$name.reset();)*
            }
        }

        /// The counts of one port at one time, as the control socket gives them out.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Every counter by its name, in a fixed order.
            pub fn named(&self) -> Vec<(String, u64)> {
                vec![$((stringify!($name).replace('_', "-"), self.$name),)*]
            }

            /// What was counted since `earlier`; a counter that was reset in between gives 0.
            #[must_use]
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name),)* }
            }
        }
    };
}

counters! {
    /// Writes into a trapped window, by the node at this port.
    posted_writes,
    /// Bytes of those writes.
    posted_write_bytes,
    /// Reads from a trapped window, by the node at this port.
    non_posted_reads,
    /// Bytes of those reads.
    non_posted_read_bytes,
    /// Reads of this port that were forwarded to another node's devices.
    device_reads,
    /// Writes of this port that were forwarded to another node's devices.
    device_writes,
    /// Forwarded reads that were completed with all ones because the other node did not answer in time.
    completion_timeouts,
    /// Forwarded reads that were completed with all ones because nodes were waiting for each other in a circle.
    read_cycles_broken,
    /// Forwarded writes that were dropped because the other node did not take them.
    dropped_writes,
    /// Accesses of this port that nobody answers: empty slots, limits, links that are down, unmapped addresses.
    unsupported_requests,
    /// Writes through this port's windows that became an interrupt of another node.
    interrupt_writes,
    /// Writes to an interrupt address that the other node had not allowed.
    interrupt_writes_refused,
    /// Doorbell requests of this port.
    doorbells_sent,
    /// Doorbell requests that arrived at this port.
    doorbells_received,
    /// Messages that this port sent and another one took.
    messages_sent,
    /// Messages that arrived at this port.
    messages_received,
    /// Messages of this port that an injected fault swallowed.
    messages_lost,
    /// Translation changes of this port's windows.
    slot_programmings,
    /// Times that this port's mapped window was changed through the helper.
    view_updates,
    /// Pieces that those changes consisted of.
    view_pieces,
    /// Register reads by this port.
    register_reads,
    /// Register writes by this port.
    register_writes,
    /// Configuration space reads by this port.
    config_reads,
    /// Configuration space writes by this port.
    config_writes,
    /// Interrupts of the NTB function that were signalled to the node at this port.
    interrupts_raised,
    /// Ranges that the node at this port made known for device access.
    dma_maps,
    /// Ranges that it took back.
    dma_unmaps,
    /// Changes of this port's own link.
    link_events,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_json_keys_in_the_same_order() {
        let live = PortCounters::default();
        live.posted_writes.one();
        live.link_events.add(7);
        let counts = live.snapshot();
        let json = serde_json::to_value(counts).unwrap();
        let keys = json.as_object().unwrap();
        let named = counts.named();
        assert_eq!(keys.len(), named.len());
        for (name, value) in named {
            assert_eq!(keys[&name], value, "{name}");
        }
        assert_eq!(keys["link-events"], 7);
        live.reset();
        assert_eq!(live.snapshot(), Counters::default());
    }
}
