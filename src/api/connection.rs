//! The `LinktreeConnection` resource: an account at Linktree, its token and its request budget.

#![allow(clippy::duplicated_attributes, reason = "printcolumn is given once per column")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An account at Linktree: the URL of its API, the API token, and the request budget that all webhooks of the account
/// share. Linktree counts requests per token: connections with the same token share one budget, the smallest of theirs.
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
    doc = "An account at Linktree: the URL of its API, the API token, and the request budget that all webhooks of the account share.",
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
    /// Base URL of Linktree's API, without a path. It must be https; plain http is allowed only for a host inside the
    /// cluster (ending in .svc or .svc.cluster.local), such as the bundled simulator, or on loopback.
    #[serde(rename = "baseURL", default = "default_base_url")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new(r"self.matches('^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?$') || self.matches('^http://([a-z0-9.-]+[.]svc([.]cluster[.]local)?|localhost|127[.]0[.]0[.]1)(:[0-9]{1,5})?/?$')")
            .message("baseURL must be https://HOST without a path; http://HOST is allowed only for a host ending in .svc or .svc.cluster.local, or on loopback")
    )]
    pub base_url: String,

    /// The Secret key that holds the API token.
    pub token_secret_ref: TokenSecretReference,

    /// The number of requests to Linktree's management API that this connection may make.
    #[serde(default)]
    pub request_budget: RequestBudget,

    /// Interval between two lists of the account's subscriptions, in seconds. One paged list serves every webhook of
    /// this connection. A subscription that was disabled by Linktree, or changed by hand, is noticed within one period.
    #[serde(default = "default_sync_period_seconds")]
    #[schemars(range(min = 10, max = 86400))]
    pub sync_period_seconds: i64,
}

/// A reference to the Secret key that holds the API token.
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
    /// Requests per minute, shared by all webhooks of this connection and of other connections with the same token.
    /// Linktree allows 10 webhook-management requests per minute and token; set less if another client uses the token
    /// too.
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

/// The default, 8 minutes. A thousand subscriptions (a list of ten pages, at 10 requests a minute) then cost 0.09
/// requests each per hour.
fn default_sync_period_seconds() -> i64 {
    480
}

/// The observed state of the account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinktreeConnectionStatus {
    /// The generation of the spec that this status describes; -1 before the first reconciliation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last handled value of the annotation webhooks.linktree-operator.dev/sync-requested-at. The operator has
    /// tried to list the account since that value was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_sync_request: Option<String>,
    /// The account that the token belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountStatus>,
    /// The API calls that this Linktree is known to support. Only registration is documented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<CapabilityStatus>,
    /// The remaining request budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_budget: Option<RequestBudgetStatus>,
    /// Counts of the account's subscriptions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<SubscriptionCounts>,
    /// Subscriptions of the account that belong to no LinktreeWebhook of this connection; the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub unmanaged_subscriptions: Vec<UnmanagedSubscription>,
    /// Ready, TokenAccepted and QuotaAvailable; Reconciling and Stalled are present only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The account that the token belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// Linktree's id of the account.
    pub id: String,
    /// The account's plan. Not every plan includes webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

/// The remaining request budget. The operator reserves a few requests at a time before it makes them, so that its
/// successor knows how many may have been made. The periodic lists are not counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestBudgetStatus {
    /// Lower bound of the requests that may still be made before resetTime.
    pub remaining: i64,
    /// When the whole budget is available again; absent while no request is reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_time: Option<Time>,
}

/// Counts of the account's subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionCounts {
    /// Subscriptions that belong to a LinktreeWebhook of this connection.
    pub managed: i64,
    /// Subscriptions of the account that belong to no LinktreeWebhook of this connection.
    pub unmanaged: i64,
    /// Unmanaged subscriptions with the same url as a managed one.
    pub duplicate: i64,
    /// Unmanaged subscriptions whose url this operator generated, of no LinktreeWebhook of this connection: left
    /// behind by a deletion that exceeded its deadline, or owned by another cluster.
    pub orphaned: i64,
}

/// A subscription that belongs to no LinktreeWebhook of this connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnmanagedSubscription {
    /// Linktree's id of the subscription.
    pub id: String,
    /// The URL that Linktree sends its events to.
    pub url: String,
    /// Whether Linktree sends events to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<UnmanagedState>,
}

/// Whether Linktree sends events to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnmanagedState {
    Enabled,
    Disabled,
}

/// The API calls that this Linktree is known to support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapabilityStatus {
    /// List the account's subscriptions. Without it, the operator reads each known subscription by id.
    pub list: Capability,
    /// Read one subscription by id.
    pub get: Capability,
    /// Change the url or events of a subscription.
    pub update: Capability,
    /// Re-enable a disabled subscription. Without it, the operator deletes and registers the subscription again.
    pub reenable: Capability,
    /// Delete one subscription.
    pub delete: Capability,
    /// Rotate the signing secret of a subscription.
    pub rotate_secret: Capability,
}

/// Unknown: the operator has not made this call yet. Supported: Linktree has answered it. Unsupported: Linktree
/// answered that the call does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Capability {
    Unknown,
    Supported,
    Unsupported,
}
