//! The delivery statistics at one moment. No IO. Times are seconds since the epoch.

use std::collections::BTreeMap;

use super::{clock_skew::ClockSkew, last_hour::LastHour};
use crate::route::status::{DeliveryCounts, SinkHold, UnverifiedRun};

/// The delivery statistics at one moment.
#[derive(Clone, Debug, Default)]
pub struct StatsSnapshot {
    pub last_received: Option<i64>,
    pub last_verified: Option<i64>,
    /// The name of the key that verified the last delivery.
    pub last_key: Option<String>,
    pub unverified_run: Option<UnverifiedRun>,
    pub clock_skew: ClockSkew,
    pub sinks: BTreeMap<String, SinkHealth>,
    pub(super) last_hour: LastHour,
}

/// The result of the latest attempts at one sink.
#[derive(Clone, Debug, Default)]
pub struct SinkHealth {
    pub last_success: Option<i64>,
    pub consecutive_failures: u64,
    pub last_failure: Option<String>,
    /// The start of the sink's response to the last failed attempt, if it had one.
    pub last_answer: Option<String>,
    /// The hold of the sink; `None` while it gets events.
    pub held: Option<SinkHold>,
}

impl StatsSnapshot {
    /// The counts of the hour that ends at `now`.
    #[must_use]
    pub fn last_hour(&self, now: i64) -> DeliveryCounts {
        self.last_hour.sum(now)
    }
}
