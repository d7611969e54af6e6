//! `LinktreeConnection`: the platform team's account at Linktree.

#![allow(clippy::duplicated_attributes, reason = "printcolumn is given once per column")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An account at Linktree: where its API is, the token that opens it, and the request budget that all webhooks of the
/// account share. Linktree counts requests per token: connections with the same token have one budget, the smallest.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "webhooks.linktree-operator.dev",
    version = "v1alpha1",
    kind = "LinktreeConnection",
    plural = "linktreeconnections",
    shortname = "ltconn",
    category = "linktree",
    namespaced,
    status = "LinktreeConnectionStatus",
    derive = "PartialEq",
    doc = "An account at Linktree: where its API is, the token that opens it, and the request budget that all webhooks of the account share.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Account", type_ = "string", json_path = ".status.account.id"),
    printcolumn(name = "Managed", type_ = "integer", json_path = ".status.subscriptions.managed"),
    printcolumn(name = "Unmanaged", type_ = "integer", json_path = ".status.subscriptions.unmanaged"),
    printcolumn(name = "Remaining", type_ = "integer", json_path = ".status.requestBudget.remaining"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct LinktreeConnectionSpec {
    /// Base URL of Linktree's API, without a path. https; plain http only for a host inside the cluster (ending in
    /// .svc or .svc.cluster.local) or on loopback, which is how the bundled simulator is reached.
    #[serde(rename = "baseURL", default = "default_base_url")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new(r"self.matches('^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?$') || self.matches('^http://([a-z0-9.-]+[.]svc([.]cluster[.]local)?|localhost|127[.]0[.]0[.]1)(:[0-9]{1,5})?/?$')")
            .message("baseURL must be https://HOST without a path; http://HOST is allowed only for a host ending in .svc or .svc.cluster.local, or on loopback")
    )]
    pub base_url: String,

    /// The Secret key that holds the API token.
    pub token_secret_ref: TokenSecretReference,

    /// How many requests to Linktree's management API this connection may make.
    #[serde(default)]
    pub request_budget: RequestBudget,

    /// How often the account's subscriptions are listed, in seconds. One paged list serves every webhook of this
    /// connection; a subscription that Linktree disabled, or that somebody changed by hand, is seen within one period.
    #[serde(default = "default_sync_period_seconds")]
    #[schemars(range(min = 10, max = 86400))]
    pub sync_period_seconds: i64,
}

/// Names the Secret key that holds the API token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenSecretReference {
    /// Name of the Secret, in this object's namespace.
    #[schemars(length(min = 1, max = 253), pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key inside the Secret's data.
    #[serde(default = "default_token_key")]
    #[schemars(length(min = 1, max = 253), pattern(r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// The share of Linktree's rate limit that the operator may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestBudget {
    /// Requests per minute, shared by all webhooks of this connection, and of others with the same token. Linktree allows 10 webhook-management requests
    /// per minute and token; set less if something else uses the token too.
    #[serde(default = "default_requests_per_minute")]
    #[schemars(range(min = 1, max = 600))]
    pub requests_per_minute: i64,
}

impl Default for RequestBudget {
    fn default() -> Self {
        RequestBudget { requests_per_minute: default_requests_per_minute() }
    }
}

fn default_base_url() -> String {
    "https://api.linktr.ee".to_owned()
}

fn default_token_key() -> String {
    "token".to_owned()
}

fn default_requests_per_minute() -> i64 {
    10
}

/// With a list of ten pages at 10 requests a minute, a thousand subscriptions then cost 0.09 requests each per hour.
fn default_sync_period_seconds() -> i64 {
    480
}

/// What the operator found out about the account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinktreeConnectionStatus {
    /// The generation of the spec this status speaks of; -1 before it was first looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The value of the annotation webhooks.linktree-operator.dev/sync-requested-at that was last handled: since it was set,
    /// it was tried to list the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_sync_request: Option<String>,
    /// The account the token opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountStatus>,
    /// Which calls this Linktree has been found to offer. Only registration is documented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<CapabilityStatus>,
    /// What is left of the request budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_budget: Option<RequestBudgetStatus>,
    /// The account's subscriptions, counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<SubscriptionCounts>,
    /// Subscriptions of the account that belong to no LinktreeWebhook of this connection; the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub unmanaged_subscriptions: Vec<UnmanagedSubscription>,
    /// Ready, TokenAccepted and QuotaAvailable; Reconciling and Stalled only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The account the token opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// Linktree's id of the account.
    pub id: String,
    /// The account's plan. Not every plan includes webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

/// What is left of the request budget, counted down a few requests at a time before they are made: so that another operator
/// in this one's place knows how much may be gone. The lists of each period are not counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestBudgetStatus {
    /// Requests that are left at least.
    pub remaining: i64,
    /// When all of them may be made again, while some may have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_time: Option<Time>,
}

/// The account's subscriptions, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionCounts {
    /// Subscriptions that belong to a LinktreeWebhook of this connection.
    pub managed: i64,
    /// Subscriptions of the account that belong to none.
    pub unmanaged: i64,
    /// Of those: further subscriptions with the url of one that is managed.
    pub duplicate: i64,
    /// Of those: subscriptions with a url of this operator's making, but of no LinktreeWebhook of this connection. Left
    /// behind by a deletion that could not wait, or another cluster's.
    pub orphaned: i64,
}

/// A subscription that belongs to no LinktreeWebhook of this connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnmanagedSubscription {
    /// Linktree's id of it.
    pub id: String,
    /// Where it delivers to.
    pub url: String,
    /// Whether Linktree sends to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<UnmanagedState>,
}

/// Whether Linktree sends to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnmanagedState {
    Enabled,
    Disabled,
}

/// Which calls this Linktree has been found to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapabilityStatus {
    /// Listing the account's subscriptions. Without it the known ones are read one by one.
    pub list: Capability,
    /// Reading one subscription by its id.
    pub get: Capability,
    /// Changing url or events.
    pub update: Capability,
    /// Enabling a disabled subscription. Without it, it is deleted and registered again.
    pub reenable: Capability,
    /// Deleting a subscription.
    pub delete: Capability,
    /// Having a new signing secret made.
    pub rotate_secret: Capability,
}

/// Unknown: it was not used yet. Supported: it answered. Unsupported: Linktree answered that there is no such call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Capability {
    Unknown,
    Supported,
    Unsupported,
}
