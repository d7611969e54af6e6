//! Prometheus gauges that are updated periodically, so that no delivery waits for their measurement.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{
    labels::{KeyLabel, SinkLabel},
    measured::Measured,
    snapshot::StatsSnapshot,
};
use crate::{
    receiver::journal::{Backlog, inspect::Inventory},
    route::status::{JournalUsage, RemovedSink},
};

/// Handles to all gauges.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    backlog: Family<SinkLabel, Gauge>,
    oldest: Family<SinkLabel, Gauge>,
    dead_letters: Family<SinkLabel, Gauge>,
    dropped: Family<SinkLabel, Counter>,
    failures: Family<SinkLabel, Gauge>,
    held: Family<SinkLabel, Gauge>,
    last_success: Family<SinkLabel, Gauge>,
    last_verified: Family<KeyLabel, Gauge>,
    clock_offset: Gauge,
    events: Measured,
    identities: Measured,
    bytes: Measured,
    capacity: Measured,
    full_time: Measured,
}

impl Gauges {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let gauges = Gauges::default();
        let Gauges {
            backlog,
            oldest,
            dead_letters,
            dropped,
            failures,
            held,
            last_success,
            last_verified,
            clock_offset,
            events,
            identities,
            bytes,
            capacity,
            full_time,
        } = gauges.clone();
        registry.register(
            "backlog",
            "Events not yet delivered to the sink, including those that wait for a retry",
            backlog,
        );
        registry.register(
            "oldest_undelivered_seconds",
            "Age in seconds of the oldest event not yet delivered to the sink",
            oldest,
        );
        registry.register(
            "stored_dead_letters",
            "Dead letters in the journal, also those of sinks that were removed",
            dead_letters,
        );
        registry.register("dropped", "Events given up for want of room, by sinks with DropOldest", dropped);
        registry.register("sink_consecutive_failures", "Failed attempts since the last delivered event", failures);
        registry.register("sink_held", "1 while the sink is held: it gets one event from time to time", held);
        registry.register(
            "sink_last_success_timestamp_seconds",
            "Unix time of the last event delivered to the sink",
            last_success,
        );
        let last = "Unix time of the last verified delivery, by the name of the key that verified it";
        registry.register("last_verified_timestamp_seconds", last, last_verified);
        let offset = "Seconds by which this clock is ahead of the signed timestamps; 0 while deliveries do not agree";
        registry.register("clock_offset_seconds", offset, clock_offset);
        registry.register("journal_events", "Events in the journal, including delivered ones", events);
        registry.register("journal_identities", "Identities stored for deduplication", identities);
        registry.register("journal_bytes", "Bytes used by the journal, without its write-ahead log", bytes);
        registry.register("journal_capacity_bytes", "Limit of the bytes used by the journal", capacity);
        let full = "Unix time when undelivered events fill the journal, if that is forecast";
        registry.register("journal_full_timestamp_seconds", full, full_time);
        gauges
    }

    /// Updates the gauges of a journal that is this full.
    pub fn set_usage(&self, usage: &JournalUsage) {
        self.capacity.set(Some(signed(usage.capacity_bytes)));
        self.full_time.set(usage.full_time);
    }

    /// Updates all gauges, as of `now` (seconds since the epoch).
    pub fn set(&self, backlog: &[Backlog], inventory: &Inventory, stats: &StatsSnapshot, now: i64) {
        let families =
            [&self.backlog, &self.oldest, &self.dead_letters, &self.failures, &self.held, &self.last_success];
        for family in families {
            family.clear();
        }
        for Backlog { sink, waiting, dead_lettered } in backlog {
            let label = SinkLabel { sink: sink.clone() };
            let health = stats.sinks.get(sink).cloned().unwrap_or_default();
            let age = inventory.oldest.get(sink).map_or(0, |oldest| now.saturating_sub(*oldest).max(0));
            self.backlog.get_or_create(&label).set(signed(*waiting));
            self.dead_letters.get_or_create(&label).set(signed(*dead_lettered));
            self.oldest.get_or_create(&label).set(age);
            self.failures.get_or_create(&label).set(signed(health.consecutive_failures));
            self.held.get_or_create(&label).set(health.held.is_some().into());
            if let Some(last) = health.last_success {
                self.last_success.get_or_create(&label).set(last);
            }
        }
        for (sink, dropped) in &inventory.dropped {
            let counter = self.dropped.get_or_create(&SinkLabel { sink: sink.clone() });
            counter.inc_by(dropped.saturating_sub(counter.get()));
        }
        for RemovedSink { name, backlog: _, dead_lettered } in &inventory.removed {
            self.dead_letters.get_or_create(&SinkLabel { sink: name.clone() }).set(signed(*dead_lettered));
        }
        self.last_verified.clear();
        if let (Some(key), Some(last)) = (&stats.last_key, stats.last_verified) {
            self.last_verified.get_or_create(&KeyLabel { key: key.clone() }).set(last);
        }
        self.clock_offset.set(stats.clock_skew.estimate().unwrap_or(0));
        let Inventory { events, identities, bytes, .. } = inventory;
        for (gauge, value) in [(&self.events, events), (&self.identities, identities), (&self.bytes, bytes)] {
            gauge.set(Some(signed(*value)));
        }
    }

    /// Removes the gauges of a journal that cannot be read.
    pub fn forget_journal(&self) {
        for family in [&self.backlog, &self.oldest, &self.dead_letters] {
            family.clear();
        }
        for gauge in [&self.events, &self.identities, &self.bytes, &self.capacity, &self.full_time] {
            gauge.set(None);
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
