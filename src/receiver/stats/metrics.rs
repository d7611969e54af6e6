//! The receiver's Prometheus counters and histograms. Label values are static words and names of sinks; never a
//! sender's input.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{
    gauges::Gauges,
    labels::{SinkLabel, VerdictLabel},
};
use crate::receiver::ingest::verdict::Verdict;

/// The histogram's buckets for the duration of a commit: from 0.1 ms, a fast disk, to 5 s, a failing one.
const COMMIT_SECONDS: [f64; 12] = [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.25, 1.0, 5.0];

/// Handles to all metrics. Cloning it shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub requests: Family<VerdictLabel, Counter>,
    pub unknown_types: Counter,
    pub commits: Histogram,
    pub forwarded: Family<SinkLabel, Counter>,
    pub failed: Family<SinkLabel, Counter>,
    pub dead_lettered: Family<SinkLabel, Counter>,
    /// Number of deliveries that wait until the journal has stored them.
    pub appending: Gauge,
    pub gauges: Gauges,
}

impl Metrics {
    /// Registers all metrics with `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("linktree_receiver");
        let metrics = Metrics {
            requests: Family::default(),
            unknown_types: Counter::default(),
            commits: Histogram::new(COMMIT_SECONDS),
            forwarded: Family::default(),
            failed: Family::default(),
            dead_lettered: Family::default(),
            appending: Gauge::default(),
            gauges: Gauges::register(registry),
        };
        let Metrics { requests, unknown_types, commits, forwarded, failed, dead_lettered, appending, gauges: _ } =
            metrics.clone();
        for verdict in Verdict::ALL {
            drop(requests.get_or_create(&VerdictLabel { verdict: verdict.label() }));
        }
        registry.register("requests", "Requests to the delivery port, by verdict", requests);
        registry.register("unknown_types", "Stored events of a type that this version does not know", unknown_types);
        registry.register("journal_commit_seconds", "Duration of a durable commit of the journal", commits);
        registry.register("forwarded", "Events delivered to the sink", forwarded);
        registry.register("forward_failures", "Failed attempts to deliver an event", failed);
        registry.register("dead_letters", "Events moved to dead letters", dead_lettered);
        registry.register("journal_queue", "Deliveries that wait for a commit of the journal", appending);
        metrics
    }
}
