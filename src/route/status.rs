//! A receiver's status: the JSON of `GET /status` on the admin port. Times are seconds since the epoch.

use serde::{Deserialize, Serialize};

/// The state that a receiver reports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverStatus {
    /// The digest of the route file in use, from `Route::digest`.
    pub route_digest: String,
    pub journal: JournalHealth,
    /// The TLS certificate of the port for deliveries, if the receiver terminates TLS itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// When a request with delivery headers last arrived, whether verified or not.
    pub last_received_time: Option<i64>,
    pub last_verified_time: Option<i64>,
    /// The name of the key that verified the last accepted delivery.
    pub last_verified_key: Option<String>,
    /// The last milestone event; `None` from a receiver of an earlier version, and while the journal cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milestones: Option<Milestones>,
    /// Recent deliveries that no key verified, since the last verified one.
    pub unverified_run: Option<UnverifiedRun>,
    /// Offset of the receiver's clock from the timestamps that Linktree signs; positive if the clock is ahead. `None`
    /// if the last deliveries do not agree on it, or the offset is small.
    pub clock_offset_seconds: Option<i64>,
    pub last_hour: DeliveryCounts,
    /// How full the journal is; `None` from a receiver of an earlier version, and while the journal cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_usage: Option<JournalUsage>,
    /// Events that wait for a sink, summed over all sinks; `None` while the journal cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u64>,
    pub sinks: Vec<SinkStatus>,
    /// Sinks that have left the route and still have dead letters, by name; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_sinks: Vec<RemovedSink>,
    /// The id of the last accepted request to send events again, see [`super::redrive`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_redrive: Option<String>,
}

impl ReceiverStatus {
    /// The status of a receiver that has loaded this route, which has no sinks, and received nothing yet.
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
            journal_usage: None,
            backlog: Some(0),
            sinks: Vec::new(),
            removed_sinks: Vec::new(),
            last_handled_redrive: None,
        }
    }
}

/// The last event of type `analytics.milestone`. Such events are rare, so the journal keeps this time for longer than
/// it keeps events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Milestones {
    /// When a milestone was last stored; `None` if none ever was.
    pub last_time: Option<i64>,
}

/// Whether deliveries can be stored. While they cannot, they are answered 503.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum JournalHealth {
    Healthy,
    /// The volume or the configured capacity is exhausted.
    Full,
    Failed {
        problem: String,
    },
}

/// How full the journal is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalUsage {
    pub events: u64,
    pub bytes: u64,
    /// The limit: the lesser of the configured capacity and the room of the volume.
    pub capacity_bytes: u64,
    /// When the journal is full if undelivered events go on growing as they do; `None` if they do not grow.
    pub full_time: Option<i64>,
    /// The sink whose undelivered events use the most; `None` without any.
    pub filled_by: Option<String>,
}

/// The TLS certificate of the port for deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Whether the receiver serves a valid certificate. Without one, no delivery can arrive.
    pub serving: bool,
    /// When the certificate in use expires.
    pub expiration_time: Option<i64>,
    /// The problem with the current files or with the certificate in use.
    pub problem: Option<String>,
}

/// A series of recent deliveries that no key verified: their signature is wrong, or has another form than ours, such as
/// the length of another algorithm.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnverifiedRun {
    pub since: i64,
    pub count: u64,
}

/// Counts of deliveries by result. Each verdict counts in exactly one field; `unknown_type`, `forwarded` and
/// `dead_lettered` count events, not verdicts. A receiver of an earlier version reports no `default` field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryCounts {
    pub verified: u64,
    pub duplicate: u64,
    /// The delivery id had already been used with another body; the delivery is stored and flagged.
    pub conflict: u64,
    /// Stored events of a type that this version does not know.
    #[serde(default)]
    pub unknown_type: u64,
    pub rejected_missing_header: u64,
    /// The signature or the timestamp is malformed or repeated.
    #[serde(default)]
    pub rejected_malformed: u64,
    /// No key verifies the signature.
    pub rejected_signature: u64,
    pub rejected_stale: u64,
    /// The request was answered 408, 413, 415, 431 or 501, or its body broke off.
    #[serde(default)]
    pub rejected_request: u64,
    /// The delivery was answered 503 because it could not be stored.
    pub unavailable: u64,
    pub forwarded: u64,
    pub dead_lettered: u64,
}

/// Number of consecutive failed attempts at which a sink counts as failing.
const FAILURES: u64 = 3;
/// Seconds for which a sink's own `Retry-After` may hold it before it counts as held: a sink that limits its rate is
/// healthy.
const LONG_RETRY_AFTER: i64 = 300;

/// The state of one sink.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkStatus {
    pub name: String,
    pub last_success_time: Option<i64>,
    pub consecutive_failures: u64,
    /// Events waiting for this sink, including those that wait for a retry; `None` while the journal cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u64>,
    /// `None` while the journal cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_lettered: Option<u64>,
    /// The last failure, with the response's status but no text of the sink's response.
    pub last_failure: Option<String>,
    /// The start of the sink's response to the last failed attempt, escaped and redacted, at most 256 bytes; `None` if
    /// that attempt had no response, or the response no body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_answer: Option<String>,
    /// The sink is held: it gets no events except for a probe from time to time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<SinkHold>,
    /// Events given up by `BacklogPolicy::DropOldest`, since the journal was made.
    #[serde(default)]
    pub dropped: u64,
}

/// A sink that has left the route. The events that it was waiting for become dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemovedSink {
    pub name: String,
    /// Its events that are not dead letters yet; 0 within seconds.
    pub backlog: u64,
    pub dead_lettered: u64,
}

/// A sink that gets no events except for a probe from time to time, until it accepts one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkHold {
    pub cause: HoldCause,
    pub since_time: i64,
    /// When the next probe may be sent.
    pub next_attempt_time: i64,
}

/// Why a sink is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HoldCause {
    /// The last attempts failed in a way that suspects the sink.
    Failures,
    /// The sink answered 429 or 503 with `Retry-After`.
    RetryAfter,
}

impl SinkStatus {
    /// Whether the sink counts as failing: enough consecutive attempts have failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.consecutive_failures >= FAILURES
    }

    /// Whether the sink counts as held at `now`, in seconds since the epoch: its failures hold it, or its `Retry-After`
    /// has held it for long.
    #[must_use]
    pub fn is_held(&self, now: i64) -> bool {
        self.held.is_some_and(|hold| match hold.cause {
            HoldCause::Failures => true,
            HoldCause::RetryAfter => now.saturating_sub(hold.since_time) >= LONG_RETRY_AFTER,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, to_value};

    use super::*;

    #[test]
    fn versions_with_and_without_milestones_understand_each_other() {
        let idle = ReceiverStatus::idle("r1".into());
        let mut reported: Value = to_value(&idle).unwrap();
        reported["unknownField"] = 1.into();
        assert_eq!(from_value::<ReceiverStatus>(reported.clone()).unwrap(), idle, "a later receiver");
        reported.as_object_mut().unwrap().remove("milestones");
        let earlier = ReceiverStatus { milestones: None, ..idle };
        assert_eq!(
            from_value::<ReceiverStatus>(reported).unwrap(),
            earlier,
            "no report does not mean that none arrived"
        );
    }
}
