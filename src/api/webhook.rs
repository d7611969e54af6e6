//! `LinktreeWebhook`: the promise to an app team: these events reach these sinks.

#![allow(clippy::duplicated_attributes, reason = "printcolumn is given once per column")]

use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    LocalObjectReference, SecretKeyReference, endpoint::Endpoint, sink::Sink, subscription::Subscription,
    webhook_status::LinktreeWebhookStatus,
};

/// Linktree events, delivered: the operator keeps a subscription at Linktree, runs a receiver that verifies and keeps
/// every delivery, and forwards the events to the sinks.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "webhooks.linktree-operator.dev",
    version = "v1alpha1",
    kind = "LinktreeWebhook",
    plural = "linktreewebhooks",
    shortname = "ltw",
    category = "linktree",
    category = "sources",
    namespaced,
    status = "LinktreeWebhookStatus",
    derive = "PartialEq",
    doc = "Linktree events, delivered: the operator keeps a subscription at Linktree, runs a receiver that verifies and keeps every delivery, and forwards the events to the sinks.",
    validation = Rule::new("size(self.metadata.name) <= 50")
        .message("metadata.name must be at most 50 characters: the names of the receiver's objects are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be lower case letters, digits and '-', starting with a letter: the receiver's Service is named after it"),
    validation = Rule::new("self.spec.endpoint.type != 'External' || !has(self.spec.sinks) || size(self.spec.sinks) == 0")
        .message("spec.sinks goes with endpoint.type Managed: your own receiver passes events on by itself; leave sinks out"),
    validation = Rule::new("self.spec.endpoint.type != 'External' || !has(self.spec.signing.keys) || size(self.spec.signing.keys) == 0")
        .message("spec.signing.keys goes with endpoint.type Managed: your own receiver verifies by itself; leave keys out"),
    validation = Rule::new("self.spec.endpoint.type != 'External' || self.spec.pause != 'Forwarding'")
        .message("pause Forwarding goes with endpoint.type Managed: your own receiver forwards by itself; write None or Reconciliation"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.subscription.state"),
    printcolumn(name = "Last-Event", type_ = "date", json_path = ".status.receiver.lastVerifiedTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "ID", type_ = "string", json_path = ".status.subscription.id", priority = 1),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.address.url", priority = 1),
    printcolumn(name = "Deadline", type_ = "string", json_path = ".status.subscription.disableDeadlineTime", priority = 1),
    printcolumn(name = "Backlog", type_ = "integer", json_path = ".status.receiver.backlog", priority = 1),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.conditions[?(@.type=='Ready')].lastTransitionTime", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct LinktreeWebhookSpec {
    /// The LinktreeConnection, in this namespace, whose account sends the events.
    pub connection_ref: LocalObjectReference,

    /// The event types to subscribe to, such as link.created. Known: link.created, link.updated, link.deleted,
    /// profile.updated, analytics.milestone. Another type is passed on to Linktree as it is. Milestones come only once
    /// thresholds are set in Linktree's dashboard under Analytics.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 128), pattern(r"^[a-z][a-z0-9_]*([.][a-z0-9_]+)+$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub events: Vec<String>,

    /// Where Linktree delivers to.
    pub endpoint: Endpoint,

    /// How deliveries are verified.
    #[serde(default)]
    pub signing: Signing,

    /// What the operator may do to the subscription at Linktree.
    #[serde(default)]
    pub subscription: Subscription,

    /// The receiver that the operator runs.
    #[serde(default)]
    pub receiver: Receiver,

    /// Where verified events go, each on its own. None means that events are only kept in the receiver's journal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub sinks: Vec<Sink>,

    /// What is held back for now. None: nothing. Reconciliation: nothing is changed at Linktree nor in the cluster, and
    /// the status goes on saying what is so; a deletion still takes place. Forwarding: the receiver goes on verifying,
    /// keeping and answering 200, and sends nothing to the sinks; what waits goes out in order once this is None again.
    #[serde(default)]
    pub pause: Pause,
}

/// What is held back for now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Pause {
    #[default]
    None,
    Reconciliation,
    Forwarding,
}

/// How deliveries are verified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signing {
    /// Signing secrets, the current one first; a delivery that any of them verifies is accepted. Left out: the secret
    /// that Linktree's API returns is kept in the Secret NAME-signing, key secret (and the one before it in key
    /// previous). Changes are taken up within seconds, without a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub keys: Vec<SigningKey>,
    /// A delivery signed longer ago than this, or as far in the future, is refused. In seconds.
    #[serde(default = "default_timestamp_tolerance_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub timestamp_tolerance_seconds: i64,
    /// What becomes of a delivery that one of the keys signed, but longer ago than the tolerance. Reject: it is refused.
    /// AcceptOnce: it is accepted, unless it has come before or is older than the deduplication window less the
    /// tolerance. Write AcceptOnce if Linktree does not sign its retries afresh, or those that come later than the
    /// tolerance are lost; the price is that who captured a delivery that never arrived may still deliver it.
    #[serde(default)]
    pub stale_delivery_policy: StaleDeliveryPolicy,
}

/// What becomes of a delivery that was signed longer ago than the tolerance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StaleDeliveryPolicy {
    #[default]
    Reject,
    AcceptOnce,
}

/// A signing secret and the name it goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SigningKey {
    /// The name the status calls this key by.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The Secret key that holds the signing secret, exactly as Linktree's dashboard shows it.
    pub secret_ref: SecretKeyReference,
    /// From this time on the key verifies nothing any more: for the end of a rotation. Left out: it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_time: Option<Time>,
}

/// The receiver that the operator runs: one pod with a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receiver {
    /// How long a delivery is remembered so that it is not taken twice.
    #[serde(default)]
    pub deduplication: Deduplication,
    /// Where accepted events are kept until every sink has them.
    #[serde(default)]
    pub journal: Journal,
    /// Largest delivery accepted, in bytes. A larger one is answered 413.
    #[serde(default = "default_max_body_bytes")]
    #[schemars(range(min = 1024, max = 16_777_216))]
    pub max_body_bytes: i64,
    /// Names of JSON fields, at any depth, whose values are replaced by "[redacted]" before an event is kept: neither
    /// the journal nor a sink ever has them, in no format. Write [] to keep everything. The rest of the body stays byte
    /// for byte as it came, and deduplication goes by the body as it came. A body that is no JSON is kept as it is.
    #[serde(default = "default_redact_fields")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 128)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub redact_fields: Vec<String>,
}

/// How long a delivery is remembered so that it is not taken twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deduplication {
    /// In seconds. The default is 7 days.
    #[serde(default = "default_week_seconds")]
    #[schemars(range(min = 3600, max = 2_592_000))]
    pub window_seconds: i64,
}

/// Where accepted events are kept until every sink has them.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName)")
        .message("receiver.journal.storageClassName cannot be changed: make a new LinktreeWebhook, or delete and re-create this one")
)]
pub struct Journal {
    /// How long a delivered event is kept, in seconds. An event that a sink still lacks is kept for as long as it takes.
    #[serde(default = "default_week_seconds")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub retention_seconds: i64,
    /// Size of the volume. When it is full, new deliveries are answered 503, so that Linktree sends them again; nothing
    /// is dropped. It cannot be changed later.
    #[serde(default = "default_capacity")]
    #[x_kube(
        validation = Rule::new("isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('64Mi')) >= 0")
            .message("receiver.journal.capacity must be a quantity of at least 64Mi, such as 1Gi"),
        validation = Rule::new("self == oldSelf")
            .message("receiver.journal.capacity cannot be changed: make a new LinktreeWebhook, or delete and re-create this one")
    )]
    pub capacity: Quantity,
    /// StorageClass of the volume; left out, the cluster's default. It cannot be changed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("receiver.journal.storageClassName cannot be changed: make a new LinktreeWebhook, or delete and re-create this one")
    )]
    pub storage_class_name: Option<String>,
}

impl Default for Signing {
    fn default() -> Self {
        Signing {
            keys: Vec::new(),
            timestamp_tolerance_seconds: default_timestamp_tolerance_seconds(),
            stale_delivery_policy: StaleDeliveryPolicy::default(),
        }
    }
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver {
            deduplication: Deduplication::default(),
            journal: Journal::default(),
            max_body_bytes: default_max_body_bytes(),
            redact_fields: default_redact_fields(),
        }
    }
}

impl Default for Deduplication {
    fn default() -> Self {
        Deduplication { window_seconds: default_week_seconds() }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Journal { retention_seconds: default_week_seconds(), capacity: default_capacity(), storage_class_name: None }
    }
}

fn default_timestamp_tolerance_seconds() -> i64 {
    300
}

fn default_week_seconds() -> i64 {
    604_800
}

fn default_capacity() -> Quantity {
    Quantity("1Gi".to_owned())
}

fn default_max_body_bytes() -> i64 {
    262_144
}

/// What the API's documentation asks to be redacted.
fn default_redact_fields() -> Vec<String> {
    ["ip_address", "user_agent", "referrer_url", "geo_city"].map(str::to_owned).into()
}
