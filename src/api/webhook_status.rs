//! The status of a `LinktreeWebhook`: what a person reads with `kubectl`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator observed. Counters are brought up to date at most once a minute, or with a transition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinktreeWebhookStatus {
    /// The generation of the spec this status speaks of; -1 before it was first looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The value of the annotation webhooks.linktree-operator.dev/sync-requested-at that was last handled: since it was set,
    /// the account was listed and the url probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_sync_request: Option<String>,
    /// The value of the annotation webhooks.linktree-operator.dev/rotate-secret-requested-at that was last handled: since it
    /// was set, Linktree made a new signing secret, and it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_rotate_secret_request: Option<String>,
    /// Where Linktree delivers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// The subscription at Linktree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionStatus>,
    /// Since when milestones are subscribed to of which none has come; absent once one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited_milestones: Option<AwaitedMilestones>,
    /// The signing keys in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<SigningStatus>,
    /// What a request to the URL, from outside, last got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointStatus>,
    /// What the receiver says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<ReceiverStatus>,
    /// Each sink, as the receiver sees it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sinks: Vec<SinkStatus>,
    /// Where events go, if there is one sink and its address is no secret. For tools that know Knative's sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink_uri: Option<String>,
    /// What the CloudEvents are called that are sent to sinks, for each event type that is subscribed to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ce_attributes: Vec<CloudEventAttributes>,
    /// The last ten intervals in which events may have been lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Ready means: a signed event sent now would be accepted and kept. docs/conditions.md has every reason with its
    /// remedy. Reconciling and Stalled are there only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Where Linktree delivers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The URL registered at Linktree.
    pub url: String,
}

/// The subscription at Linktree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionStatus {
    /// Linktree's id of the subscription; absent until it is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Absent: there is none. Registering: asked for, not yet confirmed. Enabled: Linktree sends. Disabled: it does not.
    pub state: SubscriptionState,
    /// When registration was last begun. Written before Linktree is asked, so that an operator that stopped in between
    /// looks for the subscription first and never makes a second one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_time: Option<Time>,
    /// Since when Linktree's deliveries fail without one success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since_time: Option<Time>,
    /// When Linktree disables the subscription if deliveries go on failing (72 hours after failingSinceTime).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_deadline_time: Option<Time>,
    /// Since when Linktree sends nothing, while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_time: Option<Time>,
    /// How the subscription at Linktree differs from the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["field"]))]
    pub drift: Vec<DriftStatus>,
    /// With managementPolicy Observe: what Manage would do now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlannedAction>,
    /// The attempts to enable the subscription again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryStatus>,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftStatus {
    /// url or events.
    pub field: String,
    /// As the spec asks for it.
    pub desired: String,
    /// As it is at Linktree.
    pub observed: String,
}

/// One thing that would be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedAction {
    /// What would be done.
    pub action: Action,
    /// The fields it would change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// What would be done to the subscription at Linktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    Create,
    Adopt,
    Update,
    Enable,
    RotateSecret,
    Delete,
}

/// Whether Linktree sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubscriptionState {
    Absent,
    Registering,
    Enabled,
    Disabled,
}

/// The attempts to enable a subscription that Linktree had disabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryStatus {
    /// When the last one was made.
    pub last_attempt_time: Time,
    /// What came of it.
    pub last_result: RecoveryResult,
    /// Attempts since the last delivery arrived; each doubles the time to the next.
    pub attempts: i64,
    /// When the 24 hours began that attemptsToday counts in.
    pub day_start_time: Time,
    /// Attempts in those 24 hours.
    pub attempts_today: i64,
    /// When the next attempt may be made, while it has to wait for its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
}

/// What came of an attempt to enable the subscription again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecoveryResult {
    Succeeded,
    Failed,
}

/// Milestones (analytics.milestone) that are waited for in vain. Their thresholds are set in Linktree's dashboard under
/// Analytics, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwaitedMilestones {
    /// Since when Linktree sends them if there are any. Time in which the subscription is disabled does not count.
    pub since_time: Time,
    /// When the Event NoMilestonesSeen said so, 14 days later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_time: Option<Time>,
}

/// An interval in which events may have been lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    pub start_time: Time,
    /// Absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    /// Why.
    pub reason: GapReason,
}

/// Why events may have been lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GapReason {
    /// Linktree had disabled the subscription.
    SubscriptionDisabled,
}

/// The signing keys in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SigningStatus {
    /// The first of the keys: the one deliveries are expected to be signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_key: Option<String>,
    /// The key that verified the last accepted delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified_key: Option<String>,
    /// For each key a keyed digest, which changes when the secret changes and says nothing about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub key_digests: BTreeMap<String, String>,
}

/// What a request to the URL, from outside, last got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// When the URL was last tried. It is tried every minute; the time is brought up to date only when something else in
    /// this status changes, too.
    pub last_probe_time: Time,
    /// What came of it; the condition EndpointReachable has the words.
    pub last_probe_result: ProbeResult,
    /// When the certificate ends that the URL's host last showed. Not known where the operator reaches the host through an
    /// HTTP proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expiration_time: Option<Time>,
}

/// What a request to the URL got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProbeResult {
    Succeeded,
    DNSFailed,
    ConnectionFailed,
    CertificateExpired,
    CertificateNameMismatch,
    CertificateUntrusted,
    TLSFailed,
    UnexpectedResponse,
}

/// What the receiver says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverStatus {
    /// Pods that accept deliveries.
    pub ready_replicas: i64,
    /// When anything that looks like a delivery last came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_received_time: Option<Time>,
    /// When a delivery was last accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified_time: Option<Time>,
    /// When a milestone (analytics.milestone) was last accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_milestone_time: Option<Time>,
    /// Events that some sink still lacks.
    #[serde(default)]
    pub backlog: i64,
    /// What became of the last hour's deliveries.
    #[serde(default)]
    pub last_hour: DeliveryCounts,
}

/// What became of deliveries, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryCounts {
    /// Accepted and kept.
    pub verified: i64,
    /// Had been accepted before.
    pub duplicate: i64,
    /// The delivery id had come before with another body: kept, and worth a look.
    pub conflict: i64,
    /// Signature or timestamp header missing (401).
    pub rejected_missing_header: i64,
    /// Signed by none of the keys (403).
    pub rejected_signature: i64,
    /// Signed too long ago, or in the future (403).
    pub rejected_stale: i64,
    /// Could not be kept (503); Linktree sends it again.
    pub unavailable: i64,
    /// Accepted by a sink.
    pub forwarded: i64,
    /// Given up for a sink; kept in the journal.
    pub dead_lettered: i64,
}

/// One sink, as the receiver sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SinkStatus {
    /// The sink's name in the spec.
    pub name: String,
    /// Healthy: the last attempt succeeded, or none was made. Failing: the last attempts failed.
    /// Unresolved: something that the sink refers to is missing, and its events wait.
    pub state: SinkState,
    /// When the sink last accepted an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success_time: Option<Time>,
    /// Why an event was last not taken, or could not be sent. Stays after a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// Failed attempts since then.
    pub consecutive_failures: i64,
    /// Events waiting for this sink.
    pub backlog: i64,
    /// Events given up; they stay in the journal.
    pub dead_lettered: i64,
}

/// What CloudEvents are called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudEventAttributes {
    /// Their attribute `type`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Their attribute `source`.
    pub source: String,
}

/// Whether a sink takes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SinkState {
    Healthy,
    Failing,
    Unresolved,
}
