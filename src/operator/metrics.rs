//! The operator's own metrics. Labels are static words: nothing from outside becomes a label.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Cheap to clone; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    reconciles: Family<ReconcileLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
}

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

impl Metrics {
    #[must_use]
    pub fn registered(registry: &mut Registry) -> Self {
        let metrics = Metrics::default();
        let registry = registry.sub_registry_with_prefix("linktree_operator");
        registry.register("reconciles", "Looks at an object, by kind and result", metrics.reconciles.clone());
        registry.register("linktree_requests", "Calls to Linktree, by call and result", metrics.requests.clone());
        metrics
    }

    pub(super) fn reconciled(&self, kind: &'static str, result: &'static str) {
        self.reconciles.get_or_create(&ReconcileLabels { kind, result }).inc();
    }

    pub(super) fn requested(&self, call: &'static str, result: &'static str) {
        self.requests.get_or_create(&RequestLabels { call, result }).inc();
    }
}
