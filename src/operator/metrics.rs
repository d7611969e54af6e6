//! The operator's own metrics. Labels are static words: nothing from outside becomes a label.

use std::{fmt, sync::Arc};

use jiff::SignedDuration;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};

use super::account::{registry::Accounts, request_queue::Priority};
use crate::clock;

/// Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<ReconcileLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    waits: Family<PriorityLabels, Histogram, fn() -> Histogram>,
}

/// From what is granted at once to the two hours that a thousand requests take.
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PriorityLabels {
    priority: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            reconciles: Family::default(),
            requests: Family::default(),
            waits: Family::new_with_constructor(|| Histogram::new(WAITS)),
        }
    }
}

impl Metrics {
    #[must_use]
    pub fn registered(registry: &mut Registry) -> Self {
        let metrics = Metrics::default();
        let registry = registry.sub_registry_with_prefix("linktree_operator");
        registry.register("reconciles", "Looks at an object, by kind and result", metrics.reconciles.clone());
        registry.register("linktree_requests", "Calls to Linktree, by call and result", metrics.requests.clone());
        let help = "How long a request to Linktree waited for its turn in the budget, in seconds, by priority";
        registry.register("linktree_wait_seconds", help, metrics.waits.clone());
        metrics
    }

    pub(super) fn reconciled(&self, kind: &'static str, result: &'static str) {
        self.reconciles.get_or_create(&ReconcileLabels { kind, result }).inc();
    }

    pub(super) fn requested(&self, call: &'static str, result: &'static str) {
        self.requests.get_or_create(&RequestLabels { call, result }).inc();
    }

    pub(super) fn waited(&self, priority: Priority, waited: SignedDuration) {
        self.waits
            .get_or_create(&PriorityLabels { priority: priority.as_str() })
            .observe(waited.as_secs_f64().max(0.0));
    }
}

/// What the accounts' budgets are like at the moment it is asked for, all accounts together.
#[derive(Debug)]
pub struct Load(pub Arc<Accounts>);

impl Collector for Load {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let loads: Vec<_> = self.0.all().iter().map(|account| account.load(clock::now())).collect();
        let mut gauge = |name: &str, help: &str, value: usize| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let limit = loads.iter().map(|load| load.limit).sum();
        let remaining = loads.iter().map(|load| load.remaining).sum();
        gauge("linktree_operator_budget_requests", "Requests a minute that may be made to Linktree", limit)?;
        gauge("linktree_operator_budget_remaining", "Of those, what is left at the moment", remaining)?;
        let help = "Requests that wait for their turn, by priority";
        let name = "linktree_operator_budget_waiting";
        let mut family = encoder.encode_descriptor(name, help, None, prometheus_client::metrics::MetricType::Gauge)?;
        for (index, priority) in Priority::ALL.into_iter().enumerate() {
            let waiting: usize =
                loads.iter().filter_map(|load| load.waiting.get(index)).map(|(_, waiting)| waiting).sum();
            let gauge = ConstGauge::new(i64::try_from(waiting).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&PriorityLabels { priority: priority.as_str() })?)?;
        }
        Ok(())
    }
}
