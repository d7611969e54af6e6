//! The status of a `LinktreeWebhook`, as `kubectl` shows it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    journal_status::JournalStatus,
    sink_status::{RemovedSinkStatus, SinkStatus},
};

/// The observed state. Counters are updated at most once a minute, or together with another change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinktreeWebhookStatus {
    /// The generation of the spec that this status describes; -1 before the first reconciliation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last handled value of the annotation webhooks.linktree-operator.dev/sync-requested-at. The operator has
    /// listed the account and probed the url since that value was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_sync_request: Option<String>,
    /// The last handled value of the annotation webhooks.linktree-operator.dev/rotate-secret-requested-at. Linktree has
    /// created a new signing secret since that value was set, and the operator has stored it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_rotate_secret_request: Option<String>,
    /// The last handled value of the annotation webhooks.linktree-operator.dev/redrive-requested, at most 257 characters
    /// of it. lastRedrive has the result. The value is "SINK TIME", where TIME is any text that makes it unique. The
    /// receiver sends the dead letters of sink SINK again, or with "* TIME" those of all sinks. "OLD:NEW TIME" sends
    /// the dead letters of sink OLD, which may have been removed or renamed, to sink NEW.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_redrive_request: Option<String>,
    /// The result of the request in lastHandledRedriveRequest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_redrive: Option<RedriveStatus>,
    /// The address that Linktree delivers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// The account that the subscription is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<SubscriptionAccount>,
    /// The subscription at Linktree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionStatus>,
    /// The wait for the first milestone: present while milestones are subscribed to and none has arrived yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited_milestones: Option<AwaitedMilestones>,
    /// The signing keys in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<SigningStatus>,
    /// The result of the last probe of the public URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointStatus>,
    /// The state that the receiver reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<ReceiverStatus>,
    /// The state of each sink, as the receiver reports it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sinks: Vec<SinkStatus>,
    /// Sinks that were removed from the spec, or renamed, and still have events in the journal; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub removed_sinks: Vec<RemovedSinkStatus>,
    /// The sink's address, if there is exactly one sink and its address is not secret. For tools that use Knative
    /// sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink_uri: Option<String>,
    /// The type and source of the CloudEvents sent to sinks, for each subscribed event type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ce_attributes: Vec<CloudEventAttributes>,
    /// The last ten intervals in which events may have been lost: the subscription was disabled, or undelivered events
    /// were given up. An interval of the second kind ends with the last of them, and is closed ten minutes later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Ready is True if a signed event sent now would be accepted and stored. docs/conditions.md lists every reason
    /// with its remedy. Reconciling and Stalled are present only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The result of a request to send dead letters again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedriveStatus {
    /// Accepted: the receiver sends the dead letters again. Rejected: the request cannot be performed, and is not tried
    /// again; set the annotation to another value.
    pub result: RedriveResult,
    /// How many dead letters an accepted request selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<i64>,
    /// Why the request was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether a request to send dead letters again was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RedriveResult {
    Accepted,
    Rejected,
}

/// The address that Linktree delivers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The URL registered at Linktree.
    pub url: String,
}

/// The account that a subscription is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionAccount {
    /// Linktree's id of the account; absent if its API does not return one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A digest of the API token with which the operator last found the subscription.
    pub token_digest: String,
}

/// The state of the subscription at Linktree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionStatus {
    /// Linktree's id of the subscription; absent until registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Absent: there is no subscription. Registering: requested, not yet confirmed. Enabled: Linktree sends events.
    /// Disabled: it does not.
    pub state: SubscriptionState,
    /// When registration last began. It is recorded before the request to Linktree, after a list without this URL. An
    /// operator that stopped in between searches for the subscription first, adopts one that is not older than this, and
    /// never creates a second one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_time: Option<Time>,
    /// The start of the current series of failed deliveries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since_time: Option<Time>,
    /// When Linktree disables the subscription if deliveries keep failing (72 hours after failingSinceTime).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_deadline_time: Option<Time>,
    /// When Linktree disabled the subscription; absent while it is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_time: Option<Time>,
    /// The fields of the subscription at Linktree that differ from the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["field"]))]
    pub drift: Vec<DriftStatus>,
    /// With managementPolicy Observe: the changes that Manage would make now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlannedAction>,
    /// The attempts to re-enable the subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryStatus>,
}

/// One field of the subscription whose value at Linktree differs from the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftStatus {
    /// The name of the field: url or events.
    pub field: String,
    /// The value in the spec.
    pub desired: String,
    /// The value at Linktree.
    pub observed: String,
}

/// A change that the operator would make to the subscription at Linktree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedAction {
    /// The kind of change.
    pub action: Action,
    /// The fields of the subscription that the operator would change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// A kind of change to the subscription at Linktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    Create,
    Adopt,
    Update,
    Enable,
    RotateSecret,
    Delete,
}

/// The state of the subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubscriptionState {
    Absent,
    Registering,
    Enabled,
    Disabled,
}

/// The attempts to re-enable a subscription that Linktree disabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryStatus {
    /// When the last attempt was made.
    pub last_attempt_time: Time,
    /// The result of the last attempt.
    pub last_result: RecoveryResult,
    /// Attempts since the last delivery arrived; each doubles the delay before the next.
    pub attempts: i64,
    /// The start of the 24 hours that attemptsToday counts.
    pub day_start_time: Time,
    /// Attempts in the 24 hours from dayStartTime.
    pub attempts_today: i64,
    /// When the next attempt may be made; absent while nothing delays it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
}

/// The result of an attempt to re-enable the subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecoveryResult {
    Succeeded,
    Failed,
}

/// The wait for the first milestone (analytics.milestone). You can set the thresholds only in Linktree's dashboard,
/// under Analytics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwaitedMilestones {
    /// When the wait began. It begins again when a disabled subscription is re-enabled.
    pub since_time: Time,
    /// When the Event NoMilestonesSeen was published, 14 days after sinceTime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_time: Option<Time>,
}

/// An interval in which events may have been lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// When the interval began.
    pub start_time: Time,
    /// When the interval ended; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    /// The cause.
    pub reason: GapReason,
}

/// The cause of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GapReason {
    /// The subscription was disabled.
    SubscriptionDisabled,
    /// The journal was full, and undelivered events of sinks with backlogPolicy DropOldest were given up.
    EventsDropped,
}

/// The signing keys in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SigningStatus {
    /// The name of the first key, which Linktree is expected to sign with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_key: Option<String>,
    /// The name of the key that verified the last accepted delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified_key: Option<String>,
    /// A keyed digest of each key's secret, by the key's name. It changes with the secret and does not reveal it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub key_digests: BTreeMap<String, String>,
}

/// The result of the last probe of the public URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// When the URL was last probed. The operator probes it every minute, but updates the time only together with
    /// another change of this status.
    pub last_probe_time: Time,
    /// The result of the probe; the condition EndpointReachable has the details.
    pub last_probe_result: ProbeResult,
    /// When the certificate that the host last served expires. Absent if the operator reaches the host through an HTTP
    /// proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expiration_time: Option<Time>,
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProbeResult {
    Succeeded,
    DNSFailed,
    ConnectionFailed,
    AddressDenied,
    CertificateExpired,
    CertificateNameMismatch,
    CertificateUntrusted,
    TLSFailed,
    UnexpectedResponse,
}

/// The state that the receiver reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverStatus {
    /// Pods that accept deliveries.
    pub ready_replicas: i64,
    /// When a request with delivery headers last arrived, whether verified or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_received_time: Option<Time>,
    /// When a delivery was last accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified_time: Option<Time>,
    /// When a milestone (analytics.milestone) was last accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_milestone_time: Option<Time>,
    /// Events that wait for a sink, summed over all sinks.
    #[serde(default)]
    pub backlog: i64,
    /// How full the journal is; absent until the receiver has reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalStatus>,
    /// Counts of the last hour's deliveries.
    #[serde(default)]
    pub last_hour: DeliveryCounts,
}

/// Counts of deliveries by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryCounts {
    /// Deliveries accepted and stored.
    pub verified: i64,
    /// Duplicates of accepted deliveries.
    pub duplicate: i64,
    /// Accepted deliveries whose id had already been used with another body: stored, and worth investigating.
    pub conflict: i64,
    /// Accepted events of a type that this version does not know; `verified` and `conflict` include them.
    #[serde(default)]
    pub unknown_type: i64,
    /// Deliveries rejected because the signature or timestamp header is missing (401).
    pub rejected_missing_header: i64,
    /// Deliveries rejected because the signature or timestamp header is malformed or repeated (403).
    #[serde(default)]
    pub rejected_malformed: i64,
    /// Deliveries rejected because no key verifies the signature (403).
    pub rejected_signature: i64,
    /// Deliveries rejected because the timestamp is too old or in the future (403).
    pub rejected_stale: i64,
    /// Requests rejected because they cannot be read: the body is late (408), incomplete (400), too large (413) or
    /// encoded (415, 501), or the header is too large (431).
    #[serde(default)]
    pub rejected_request: i64,
    /// Deliveries answered 503 because they could not be stored; Linktree retries them.
    pub unavailable: i64,
    /// Events accepted by a sink.
    pub forwarded: i64,
    /// Events that became dead letters of a sink; they stay in the journal.
    pub dead_lettered: i64,
}

/// Attributes of the CloudEvents of one event type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudEventAttributes {
    /// The CloudEvents attribute `type`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The CloudEvents attribute `source`.
    pub source: String,
}
