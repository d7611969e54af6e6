//! A gauge that has no value while the source of its measurement cannot be read. A 0 would be a false statement.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric, gauge::ConstGauge},
};

/// A gauge with or without a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured(Arc<Mutex<Option<i64>>>);

impl Measured {
    pub(super) fn set(&self, value: Option<i64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

impl TypedMetric for Measured {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for Measured {
    fn encode(&self, encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let value = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        value.map_or(Ok(()), |value| ConstGauge::new(value).encode(encoder))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    #[test]
    fn a_gauge_without_a_value_has_no_sample() {
        let (mut registry, gauge) = (Registry::default(), Measured::default());
        registry.register("bytes", "Bytes", gauge.clone());
        let encoded = || {
            let mut encoded = String::new();
            text::encode(&mut encoded, &registry).unwrap();
            encoded
        };
        assert!(!encoded().contains("\nbytes"));
        gauge.set(Some(3));
        assert!(encoded().contains("\nbytes 3\n"));
        gauge.set(None);
        assert!(!encoded().contains("\nbytes"));
    }
}
