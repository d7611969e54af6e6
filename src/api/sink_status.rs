//! The state of a webhook's sinks in its status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of one sink, as the receiver reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SinkStatus {
    /// The sink's name in the spec.
    pub name: String,
    /// Healthy: the sink accepts events, or none was sent to it yet. Failing: the last three attempts or more failed.
    /// Held: the last attempts show that the sink itself fails, so it gets only a probe from time to time, and its
    /// events wait in the journal. Unresolved: an object that the sink refers to is missing, and its events wait.
    pub state: SinkState,
    /// When the sink last accepted an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success_time: Option<Time>,
    /// Why an event was last rejected or could not be sent. It stays after a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// The start of the sink's last response that was not a success: at most 256 bytes, escaped, and without the sink's
    /// credentials. It stays after a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_answer: Option<String>,
    /// Failed attempts since the last success.
    pub consecutive_failures: i64,
    /// The sink's hold; absent while events are sent to it as they arrive. Like a counter, it is updated at most once a
    /// minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<SinkHold>,
    /// Events waiting for this sink.
    pub backlog: i64,
    /// The sink's dead letters; they stay in the journal.
    pub dead_lettered: i64,
    /// Events of this sink that were given up because the journal was full, with backlogPolicy DropOldest. They were
    /// neither accepted nor are they dead letters.
    #[serde(default)]
    pub dropped: i64,
    /// When the operator last saw dropped increase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_drop_time: Option<Time>,
}

/// A sink that was removed from the spec, or renamed, and still has events in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovedSinkStatus {
    /// The sink's name, as it was in the spec.
    pub name: String,
    /// Events that waited for the sink and will become dead letters within seconds.
    pub backlog: i64,
    /// The sink's dead letters. They stay in the journal until they expire, or until you send them to another sink with
    /// the annotation webhooks.linktree-operator.dev/redrive-requested.
    pub dead_lettered: i64,
}

/// Whether a sink accepts events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SinkState {
    Healthy,
    Failing,
    Held,
    Unresolved,
}

/// A hold of a sink: it gets only a probe from time to time, at most a minute apart, until it accepts one. Its events
/// wait in the journal, and failures during the hold use up nothing of their retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SinkHold {
    /// Failures: the last attempts failed, whatever the event. RetryAfter: the sink answered 429 or 503 with
    /// Retry-After, and gets nothing until then.
    pub cause: HoldCause,
    /// When the hold began.
    pub since_time: Time,
}

/// The cause of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HoldCause {
    Failures,
    RetryAfter,
}
