//! What a receiver tells the operator: the JSON of `GET /status` on the admin port. Times are seconds since the epoch.

use serde::{Deserialize, Serialize};

/// A receiver's own account of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverStatus {
    /// [`super::Route::digest`] of the route file in use.
    pub route_digest: String,
    pub journal: JournalHealth,
    /// What deliveries are served with, where the receiver ends TLS itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// When a request with delivery headers last came in, verified or not.
    pub last_received_time: Option<i64>,
    pub last_verified_time: Option<i64>,
    /// Which key verified the last accepted delivery.
    pub last_verified_key: Option<String>,
    /// What is known of milestones; `None` from a receiver of an earlier version, and while the journal cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milestones: Option<Milestones>,
    /// Well-formed deliveries that no key verified, counted since the last one that was verified.
    pub unverified_run: Option<UnverifiedRun>,
    /// By how much the receiver's clock is ahead of the timestamps Linktree signs (negative: behind), once the last
    /// deliveries agree on it; `None` while they do not, or it is little.
    pub clock_offset_seconds: Option<i64>,
    pub last_hour: DeliveryCounts,
    /// Events not yet settled, over all sinks.
    pub backlog: u64,
    pub sinks: Vec<SinkStatus>,
}

impl ReceiverStatus {
    /// What a receiver tells that has read this route, and to which nothing has come yet. It has no sinks.
    #[must_use]
    pub fn idle(route_digest: String) -> Self {
        ReceiverStatus {
            route_digest,
            journal: JournalHealth::Healthy,
            certificate: None,
            last_received_time: None,
            last_verified_time: None,
            last_verified_key: None,
            milestones: Some(Milestones { last_time: None }),
            unverified_run: None,
            clock_offset_seconds: None,
            last_hour: DeliveryCounts::default(),
            backlog: 0,
            sinks: Vec::new(),
        }
    }
}

/// Events of the type `analytics.milestone`. They are rare, so the journal remembers that one came for longer than it keeps
/// events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Milestones {
    /// When one was last kept; `None` if that has never been.
    pub last_time: Option<i64>,
}

/// Whether deliveries can be kept. While they cannot, they are answered 503.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum JournalHealth {
    Healthy,
    /// The volume or the configured capacity is used up.
    Full,
    Failed {
        problem: String,
    },
}

/// The certificate that deliveries are served with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// There is one, and it holds. While not, nobody can deliver.
    pub serving: bool,
    /// When the one in use ends to be valid.
    pub expiration_time: Option<i64>,
    /// What is wrong with the files there are now, or with the one in use.
    pub problem: Option<String>,
}

/// Deliveries that were well-formed and recent, but that no key verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnverifiedRun {
    pub since: i64,
    pub count: u64,
}

/// What became of deliveries. One per verdict, so that the sum is what was received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryCounts {
    pub verified: u64,
    pub duplicate: u64,
    /// The delivery id had come before with another body: kept, counted, flagged.
    pub conflict: u64,
    pub rejected_missing_header: u64,
    pub rejected_signature: u64,
    pub rejected_stale: u64,
    /// Answered 503 because it could not be kept.
    pub unavailable: u64,
    pub forwarded: u64,
    pub dead_lettered: u64,
}

/// Failed attempts in a row from which a sink counts as failing.
const FAILURES: u64 = 3;

/// One sink, as the receiver sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkStatus {
    pub name: String,
    pub last_success_time: Option<i64>,
    pub consecutive_failures: u64,
    /// Events waiting for this sink, a retry's delay included.
    pub backlog: u64,
    pub dead_lettered: u64,
    /// What the last failure was, without anything the sink answered.
    pub last_failure: Option<String>,
    /// Attempt after attempt failed: nothing is sent before then.
    pub circuit_open_until: Option<i64>,
}

impl SinkStatus {
    /// Enough attempts in a row have failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.consecutive_failures >= FAILURES
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, to_value};

    use super::*;

    #[test]
    fn versions_that_tell_of_milestones_and_those_that_do_not_understand_each_other() {
        let idle = ReceiverStatus::idle("r1".into());
        let mut told: Value = to_value(&idle).unwrap();
        told["unheardOf"] = 1.into();
        assert_eq!(from_value::<ReceiverStatus>(told.clone()).unwrap(), idle, "a later receiver");
        told.as_object_mut().unwrap().remove("milestones");
        let earlier = ReceiverStatus { milestones: None, ..idle };
        assert_eq!(from_value::<ReceiverStatus>(told).unwrap(), earlier, "that it does not tell is not that none came");
    }
}
