//! What the receiver counts for Prometheus. Labels are our own static words and the sinks' names; nothing a sender
//! wrote ever becomes one.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{
    gauges::Gauges,
    labels::{SinkLabel, VerdictLabel},
};

/// From a tenth of a millisecond, a fast disk, to five seconds, a sick one.
const COMMIT_SECONDS: [f64; 12] = [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.25, 1.0, 5.0];

/// Handles to everything that is counted. Cloning one shares it.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub requests: Family<VerdictLabel, Counter>,
    pub commits: Histogram,
    pub forwarded: Family<SinkLabel, Counter>,
    pub failed: Family<SinkLabel, Counter>,
    pub dead_lettered: Family<SinkLabel, Counter>,
    /// Deliveries that wait for the journal.
    pub appending: Gauge,
    pub gauges: Gauges,
}

impl Metrics {
    /// Registers everything with `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("linktree_receiver");
        let metrics = Metrics {
            requests: Family::default(),
            commits: Histogram::new(COMMIT_SECONDS),
            forwarded: Family::default(),
            failed: Family::default(),
            dead_lettered: Family::default(),
            appending: Gauge::default(),
            gauges: Gauges::register(registry),
        };
        let Metrics { requests, commits, forwarded, failed, dead_lettered, appending, gauges: _ } = metrics.clone();
        registry.register("requests", "Requests to the delivery port by what became of them", requests);
        registry.register("journal_commit_seconds", "How long a durable commit of the journal took", commits);
        registry.register("forwarded", "Events that a sink took", forwarded);
        registry.register("forward_failures", "Attempts that a sink did not take", failed);
        registry.register("dead_letters", "Events given up for a sink and kept in the journal", dead_lettered);
        registry.register("journal_queue", "Deliveries that wait for a commit of the journal", appending);
        metrics
    }
}
