//! Prometheus metrics of reconciliations, of requests to Linktree and of the watched namespaces. Label values are
//! constants or part of the configuration: no other input becomes one.

use jiff::SignedDuration;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Counters of reconciliations and of requests to Linktree, shared by all clones.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<ReconcileLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    waits: Family<PriorityLabels, Histogram, fn() -> Histogram>,
    readable: Family<NamespaceLabels, Gauge>,
}

/// Buckets of the histogram of queue waits, in seconds: from no wait to the two hours that a thousand queued requests
/// take.
const WAITS: [f64; 10] = [0.001, 1.0, 6.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    call: &'static str,
    result: &'static str,
}

/// The watched namespace; empty for all namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NamespaceLabels {
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PriorityLabels {
    pub(super) priority: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            reconciles: Family::default(),
            requests: Family::default(),
            waits: Family::new_with_constructor(|| Histogram::new(WAITS)),
            readable: Family::default(),
        }
    }
}

impl Metrics {
    /// Creates the metrics and registers them.
    #[must_use]
    pub fn registered(registry: &mut Registry) -> Self {
        let metrics = Metrics::default();
        let registry = registry.sub_registry_with_prefix("linktree_operator");
        registry.register("reconciles", "Reconciliations by kind and result", metrics.reconciles.clone());
        registry.register("linktree_requests", "Requests to Linktree by call and result", metrics.requests.clone());
        let help = "Seconds that a request to Linktree waited in the request queue, by priority";
        registry.register("linktree_wait_seconds", help, metrics.waits.clone());
        let help = "1 if the API server lets the operator read a watched namespace, or else 0";
        registry.register("namespace_readable", help, metrics.readable.clone());
        metrics
    }

    /// The gauge that says whether a watched namespace can be read.
    pub(super) fn readable(&self, namespace: &str) -> Gauge {
        self.readable.get_or_create(&NamespaceLabels { namespace: namespace.to_owned() }).clone()
    }

    /// Counts a reconciliation of this kind by its result.
    pub(super) fn reconciled(&self, kind: &'static str, result: &'static str) {
        self.reconciles.get_or_create(&ReconcileLabels { kind, result }).inc();
    }

    /// Counts a request to Linktree by call and result.
    pub(super) fn requested(&self, call: &'static str, result: &'static str) {
        self.requests.get_or_create(&RequestLabels { call, result }).inc();
    }

    /// Records how long a request to Linktree waited in the request queue.
    pub(super) fn waited(&self, priority: &'static str, wait: SignedDuration) {
        self.waits.get_or_create(&PriorityLabels { priority }).observe(wait.as_secs_f64().max(0.0));
    }
}
