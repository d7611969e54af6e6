//! The `LinktreeWebhook` resource: which events of an account are delivered to which sinks.

#![allow(clippy::duplicated_attributes, reason = "printcolumn is given once per column")]

use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    endpoint::Endpoint,
    reference::{LocalObjectReference, SecretKeyReference},
    sink::Sink,
    subscription::Subscription,
    webhook_status::LinktreeWebhookStatus,
};

/// A subscription to a Linktree account's events: the operator manages the subscription at Linktree and runs a receiver
/// that verifies and stores every delivery and forwards the events to the sinks.
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
    doc = "A subscription to a Linktree account's events: the operator manages the subscription at Linktree and runs a receiver that verifies and stores every delivery and forwards the events to the sinks.",
    validation = Rule::new("size(self.metadata.name) <= 50")
        .message("metadata.name must be at most 50 characters: the names of the receiver's objects are made from it"),
    validation = Rule::new("self.spec.endpoint.type == 'External' || size(self.metadata.name) <= 43")
        .message("metadata.name must be at most 43 characters with endpoint.type Managed: the names and labels of the receiver's pod are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be lower case letters, digits and '-', starting with a letter: the receiver's Service is named after it"),
    validation = Rule::new("self.spec.endpoint.type != 'External' || !has(self.spec.sinks) || size(self.spec.sinks) == 0")
        .message("spec.sinks goes with endpoint.type Managed: your own receiver forwards events itself; leave sinks out"),
    validation = Rule::new("self.spec.endpoint.type != 'External' || !has(self.spec.signing.keys) || size(self.spec.signing.keys) == 0")
        .message("spec.signing.keys goes with endpoint.type Managed: your own receiver verifies deliveries itself; leave keys out"),
    validation = Rule::new("self.spec.endpoint.type != 'External' || self.spec.pause != 'Forwarding'")
        .message("pause Forwarding goes with endpoint.type Managed: your own receiver forwards events itself; write None or Reconciliation"),
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
    /// The LinktreeConnection in this namespace whose account sends the events. It cannot be changed: the subscription
    /// would stay active in the first account.
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("connectionRef cannot be changed: delete this LinktreeWebhook, which deletes its subscription, and create it with another connectionRef")
    )]
    pub connection_ref: LocalObjectReference,

    /// The event types to subscribe to. Known types: link.created, link.updated, link.deleted, profile.updated,
    /// analytics.milestone. Other types are sent to Linktree unchanged. Linktree sends milestones only if you set
    /// thresholds in its dashboard under Analytics.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 128), pattern(r"^[a-z][a-z0-9_]*([.][a-z0-9_]+)+$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub events: Vec<String>,

    /// The endpoint that Linktree delivers to.
    pub endpoint: Endpoint,

    /// How deliveries are verified.
    #[serde(default)]
    pub signing: Signing,

    /// Policies for the subscription at Linktree.
    #[serde(default)]
    pub subscription: Subscription,

    /// The receiver that the operator runs.
    #[serde(default)]
    pub receiver: Receiver,

    /// Destinations for verified events, independent of each other. Without sinks, events are only stored in the
    /// receiver's journal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub sinks: Vec<Sink>,

    /// Pauses parts of the operator's work. None: nothing is paused. Reconciliation: make no changes to Linktree or the
    /// cluster, but keep updating the status; deletion still works. Forwarding: the receiver continues to verify, store
    /// and acknowledge deliveries, but sends nothing to the sinks; waiting events are sent in order once this is None
    /// again.
    #[serde(default)]
    pub pause: Pause,
}

/// The part of the operator's work that is paused.
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
    /// Signing secrets, the current one first. A delivery is accepted if any of them verifies it. If omitted, the
    /// secret that Linktree's API returns is stored in key secret of Secret NAME-signing, and the one before it in key
    /// previous. Changes take effect within seconds, without a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub keys: Vec<SigningKey>,
    /// Largest accepted difference between a delivery's timestamp and now, in seconds, in the past or in the future.
    #[serde(default = "default_timestamp_tolerance_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub timestamp_tolerance_seconds: i64,
    /// How to treat a correctly signed delivery that is older than the tolerance. Reject: reject it. AcceptOnce: accept
    /// it, unless it is a duplicate or older than the deduplication window minus the tolerance. Use AcceptOnce if
    /// Linktree sends retries with their original timestamp, because retries after the tolerance would otherwise be
    /// lost. The cost: an attacker who captured a delivery that never arrived can still deliver it.
    #[serde(default)]
    pub stale_delivery_policy: StaleDeliveryPolicy,
}

/// How a delivery that is older than the tolerance is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StaleDeliveryPolicy {
    #[default]
    Reject,
    AcceptOnce,
}

/// A named signing secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningKey {
    /// The key's name in the status.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The Secret key that holds the signing secret, exactly as Linktree's dashboard shows it.
    pub secret_ref: SecretKeyReference,
    /// The time when the key expires, to finish a rotation, before the year 3000. If omitted, the key does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(pattern(
        r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
    ))]
    #[x_kube(
        validation = Rule::new("self < timestamp('3000-01-01T00:00:00Z')")
            .message("notAfterTime must be before the year 3000: leave it out for a key that does not expire")
    )]
    pub not_after_time: Option<Time>,
}

/// The receiver that the operator runs: one pod with a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receiver {
    /// Detection of duplicate deliveries.
    #[serde(default)]
    pub deduplication: Deduplication,
    /// The store of accepted events.
    #[serde(default)]
    pub journal: Journal,
    /// Largest accepted delivery, in bytes. A larger one is answered 413. It is at most a thirty-second of
    /// `journal.capacity`, since the journal's write-ahead log has a sixteenth of the volume and must hold two of the
    /// largest deliveries. Where the volume turns out to be smaller than its capacity, the limit is lower as well.
    #[serde(default = "default_max_body_bytes")]
    #[schemars(range(min = 1024, max = 16_777_216))]
    pub max_body_bytes: i64,
    /// Names of JSON fields, at any depth, whose values are replaced by "[redacted]" before an event is stored: neither
    /// the journal nor any sink ever gets the values. Write [] to keep everything. The rest of the body stays unchanged
    /// byte for byte. Deduplication uses the body before redaction. A body that is not JSON is stored unchanged.
    #[serde(default = "default_redact_fields")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 128)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub redact_fields: Vec<String>,
}

/// Detection of duplicate deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deduplication {
    /// Time that a delivery is remembered, in seconds. The default is 7 days. The minimum is twice the largest
    /// `timestampToleranceSeconds`.
    #[serde(default = "default_week_seconds")]
    #[schemars(range(min = 7200, max = 2_592_000))]
    pub window_seconds: i64,
}

/// The store of accepted events. It keeps each event until every sink has it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName)")
        .message("receiver.journal.storageClassName cannot be changed: create a new LinktreeWebhook, or delete this one and its PersistentVolumeClaim and recreate it")
)]
pub struct Journal {
    /// Time that an event is kept after the last sink has settled it, in seconds. An event that a sink has not yet
    /// accepted is kept regardless.
    #[serde(default = "default_week_seconds")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub retention_seconds: i64,
    /// Time that a dead letter is kept after it became one, in seconds, but at least `retentionSeconds`. The default is
    /// 30 days.
    #[serde(default = "default_month_seconds")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub dead_letter_retention_seconds: i64,
    /// Size of the volume. The journal uses the whole volume, whatever its real size is, but not more than this: a
    /// sixteenth, at most 32 MiB, for its write-ahead log, as much for a ballast, and the rest for events. When that is
    /// full, new deliveries are answered 503, so that Linktree retries them; no stored event is dropped, and deliveries
    /// are accepted again as soon as the sinks take their events. It cannot be changed later.
    #[serde(default = "default_capacity")]
    #[x_kube(
        validation = Rule::new("isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('64Mi')) >= 0")
            .message("receiver.journal.capacity must be a quantity of at least 64Mi, such as 1Gi"),
        validation = Rule::new("!isQuantity(string(self)) || !isQuantity(string(oldSelf)) || quantity(string(self)).compareTo(quantity(string(oldSelf))) == 0")
            .message("receiver.journal.capacity cannot be changed: create a new LinktreeWebhook, or delete this one and its PersistentVolumeClaim and recreate it")
    )]
    pub capacity: Quantity,
    /// StorageClass of the volume; if omitted, the cluster's default. It cannot be changed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("receiver.journal.storageClassName cannot be changed: create a new LinktreeWebhook, or delete this one and its PersistentVolumeClaim and recreate it")
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
        Journal {
            retention_seconds: default_week_seconds(),
            dead_letter_retention_seconds: default_month_seconds(),
            capacity: default_capacity(),
            storage_class_name: None,
        }
    }
}

fn default_timestamp_tolerance_seconds() -> i64 {
    300
}

fn default_week_seconds() -> i64 {
    604_800
}

fn default_month_seconds() -> i64 {
    2_592_000
}

fn default_capacity() -> Quantity {
    Quantity("1Gi".to_owned())
}

fn default_max_body_bytes() -> i64 {
    262_144
}

/// The fields that the API's documentation recommends to redact.
fn default_redact_fields() -> Vec<String> {
    ["ip_address", "user_agent", "referrer_url", "geo_city"].map(str::to_owned).into()
}
