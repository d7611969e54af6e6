//! Policies for the subscription at Linktree: management, adoption, drift, deletion and recovery.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Policies for the subscription at Linktree.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.adoptionPolicy != 'ByID' || has(self.id)")
        .message("subscription.id is missing: with adoptionPolicy ByID write the id of the subscription to adopt"),
    validation = Rule::new("self.adoptionPolicy == 'ByID' || !has(self.id)")
        .message("subscription.id goes with adoptionPolicy ByID: set that, or leave id out")
)]
pub struct Subscription {
    /// Manage: the operator registers, corrects, enables and deletes the subscription. Observe: it changes nothing at
    /// Linktree, and status.subscription.plan lists the changes that it would make.
    #[serde(default)]
    pub management_policy: ManagementPolicy,
    /// How to treat an existing subscription that this webhook did not create. IfURLMatches: adopt the one with this
    /// webhook's url once three probes in a row have proven that the url leads to this webhook's receiver; an external
    /// receiver cannot prove it. Never: leave it unchanged and report a conflict. ByID: adopt the one with the given id,
    /// whatever its url, unless another webhook owns it.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,
    /// Linktree's id of the subscription to adopt, for adoptionPolicy ByID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub id: Option<String>,
    /// How to treat url or events at Linktree that differ from this object. Correct: update the subscription. Report:
    /// only list the differences in status.subscription.drift.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// Whether the subscription is deleted with this object. Delete: it is deleted at Linktree too. Retain: it stays,
    /// and Linktree continues to send to its url.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Time, in seconds, that a deletion waits while Linktree is unreachable or rejects the token. After that, or
    /// immediately if Linktree's API does not support deletion, the operator removes the finalizer and publishes an
    /// Event that names the subscription left behind. If the namespace is being deleted, Events cannot be created, and
    /// only the operator's log names it. Other connections to the account count it as orphaned.
    #[serde(default = "default_deletion_deadline_seconds")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub deletion_deadline_seconds: i64,
    /// When to re-enable a subscription that Linktree disabled.
    #[serde(default)]
    pub recovery: Recovery,
}

/// When to re-enable a subscription that Linktree disabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// WhenHealthy: once the receiver is ready, has its signing keys and is reachable at its public url. Never: only
    /// report it.
    #[serde(default)]
    pub policy: RecoveryPolicy,
    /// Minimum delay between two attempts, in seconds. It doubles after each attempt that is not followed by a
    /// delivery.
    #[serde(default = "default_cooldown_seconds")]
    #[schemars(range(min = 60, max = 86_400))]
    pub cooldown_seconds: i64,
    /// Maximum number of attempts in any 24 hours.
    #[serde(default = "default_attempts_per_day")]
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts_per_day: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ManagementPolicy {
    #[default]
    Manage,
    Observe,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdoptionPolicy {
    #[default]
    #[serde(rename = "IfURLMatches")]
    IfUrlMatches,
    Never,
    #[serde(rename = "ByID")]
    ById,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    #[default]
    Correct,
    Report,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    #[default]
    Delete,
    Retain,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecoveryPolicy {
    #[default]
    WhenHealthy,
    Never,
}

impl Default for Subscription {
    fn default() -> Self {
        Subscription {
            management_policy: ManagementPolicy::default(),
            adoption_policy: AdoptionPolicy::default(),
            id: None,
            drift_policy: DriftPolicy::default(),
            deletion_policy: DeletionPolicy::default(),
            deletion_deadline_seconds: default_deletion_deadline_seconds(),
            recovery: Recovery::default(),
        }
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Recovery {
            policy: RecoveryPolicy::default(),
            cooldown_seconds: default_cooldown_seconds(),
            max_attempts_per_day: default_attempts_per_day(),
        }
    }
}

fn default_deletion_deadline_seconds() -> i64 {
    3600
}

fn default_cooldown_seconds() -> i64 {
    900
}

fn default_attempts_per_day() -> i64 {
    6
}
