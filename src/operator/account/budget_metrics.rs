//! Prometheus metrics of the accounts' request budgets.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};

use super::{registry::Accounts, request_queue::Priority};
use crate::{clock, operator::metrics::PriorityLabels};

/// Collects the request budgets of all accounts at each scrape; the metrics are sums over the accounts.
#[derive(Debug)]
pub struct BudgetCollector(pub Arc<Accounts>);

impl Collector for BudgetCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let loads: Vec<_> = self.0.all().iter().map(|account| account.load(clock::now())).collect();
        let mut gauge = |name: &str, help: &str, value: usize| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let limit = loads.iter().map(|load| load.limit).sum();
        let remaining = loads.iter().map(|load| load.remaining).sum();
        gauge("linktree_operator_budget_requests", "Requests per minute that the request budgets allow", limit)?;
        gauge("linktree_operator_budget_remaining", "Requests that the request budgets allow right now", remaining)?;
        let help = "Requests in the request queues, by priority";
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
