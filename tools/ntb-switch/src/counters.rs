// SPDX-License-Identifier: GPL-2.0
//! Transaction counters of one port: exact, monotonic between two resets, with names that tests and benchmarks rely on.
//!
//! The live counters are relaxed atomics, so that any thread may count without the switch's lock; a snapshot of several
//! counters is therefore not one instant.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::model::Counts;

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
    (
        live { $($(#[$live_doc:meta])* $live:ident,)* }
        model { $($(#[$model_doc:meta])* $model:ident,)* }
    ) => {
        /// The live counters of one port that the server keeps; the model keeps the others.
        #[derive(Debug, Default)]
        pub struct PortCounters {
            $($(#[$live_doc])* pub $live: Counter,)*
        }

        impl PortCounters {
            /// The counts as they are now, together with the model's.
            pub fn snapshot(&self, model: &Counts) -> Counters {
                Counters { $($live: self.$live.get(),)* $($model: model.$model,)* }
            }

            /// Starts the live counts at zero again.
            pub fn reset(&self) {
                $(self.$live.reset();)*
            }
        }

        /// The counts of one port at one time, as the control socket gives them out.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct Counters {
            $($(#[$live_doc])* pub $live: u64,)*
            $($(#[$model_doc])* pub $model: u64,)*
        }

        impl Counters {
            /// Every counter by its name, in a fixed order.
            pub fn named(&self) -> Vec<(String, u64)> {
                vec![
                    $((stringify!($live).replace('_', "-"), self.$live),)*
                    $((stringify!($model).replace('_', "-"), self.$model),)*
                ]
            }

            /// What was counted since `earlier`; a counter that was reset in between gives 0.
            #[must_use]
            pub fn since(&self, earlier: &Self) -> Self {
                Self {
                    $($live: self.$live.saturating_sub(earlier.$live),)*
                    $($model: self.$model.saturating_sub(earlier.$model),)*
                }
            }
        }
    };
}

counters! {
    live {
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
        /// Forwarded reads that were completed with all ones because nodes waited for each other in a circle.
        read_cycles_broken,
        /// Forwarded writes that were dropped because the other node did not take them.
        dropped_writes,
        /// Accesses of this port that nobody answers: empty slots, limits, links that are down, unmapped addresses.
        unsupported_requests,
        /// Writes through this port's windows that became an interrupt of another node.
        interrupt_writes,
        /// Writes to an interrupt address that the other node had not allowed.
        interrupt_writes_refused,
        /// Times that this port's mapped window was changed through the helper.
        view_updates,
        /// Pieces that those changes consisted of.
        view_pieces,
        /// Times that the window could not show all that it should, because a process has only so many mappings.
        view_overflows,
        /// Ranges that the node at this port made known for device access.
        dma_maps,
        /// Ranges that it took back.
        dma_unmaps,
    }
    model {
        /// Doorbell requests of this port.
        doorbells_sent,
        /// Doorbell requests that arrived at this port.
        doorbells_received,
        /// Messages that were accepted from this port.
        messages_sent,
        /// Messages that arrived at this port.
        messages_received,
        /// Messages of this port that were lost after they had been accepted.
        messages_lost,
        /// Translation entries that this port wrote.
        slot_programmings,
        /// Register reads by this port.
        register_reads,
        /// Register writes by this port.
        register_writes,
        /// Configuration space reads by this port.
        config_reads,
        /// Configuration space writes by this port.
        config_writes,
        /// Times the interrupt condition of this port fired.
        interrupts_raised,
        /// Link changes of other ports that were reported to this one.
        link_events,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_json_keys_in_the_same_order() {
        let live = PortCounters::default();
        live.posted_writes.one();
        let model = Counts {
            link_events: 7,
            ..Counts::default()
        };
        let counts = live.snapshot(&model);
        let json = serde_json::to_value(counts).unwrap();
        let keys = json.as_object().unwrap();
        let named = counts.named();
        assert_eq!(keys.len(), named.len());
        for (name, value) in named {
            assert_eq!(keys[&name], value, "{name}");
        }
        assert_eq!(keys["link-events"], 7);
        assert_eq!(keys["posted-writes"], 1);
        live.reset();
        assert_eq!(live.snapshot(&Counts::default()), Counters::default());
    }
}
