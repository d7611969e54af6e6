//! What a `LinktreeWebhook` lets the operator do to the subscription at Linktree.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator may do to the subscription at Linktree.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.adoptionPolicy != 'ByID' || has(self.id)")
        .message("subscription.id is missing: with adoptionPolicy ByID write the id of the subscription to take over"),
    validation = Rule::new("self.adoptionPolicy == 'ByID' || !has(self.id)")
        .message("subscription.id goes with adoptionPolicy ByID: set that, or leave id out")
)]
pub struct Subscription {
    /// Manage: the operator registers, corrects, enables and deletes. Observe: it changes nothing at Linktree, and
    /// status.subscription.plan says what it would do.
    #[serde(default)]
    pub management_policy: ManagementPolicy,
    /// What to do where the account has a subscription that the operator did not make. IfURLMatches: take over one with
    /// this webhook's url. Never: leave it alone and report a conflict. ByID: take over the one with this id, whatever
    /// its url.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,
    /// Linktree's id of the subscription to take over, for adoptionPolicy ByID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub id: Option<String>,
    /// What to do where url or events at Linktree differ from this object. Correct: set them right. Report: say so in
    /// status.subscription.drift.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// What becomes of the subscription when this object is deleted. Delete: it is deleted too. Retain: it stays, and
    /// Linktree goes on sending to its url.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// How long a deletion waits for a Linktree that cannot be reached or that refuses the token, in seconds. After that,
    /// or at once where Linktree's API offers no deletion, this object is let go, with an Event that names the
    /// subscription left behind. Where its namespace is deleted there can be no Event any more: the operator's log then
    /// names it. Another connection to the account counts it as orphaned.
    #[serde(default = "default_deletion_deadline_seconds")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub deletion_deadline_seconds: i64,
    /// When a subscription that Linktree disabled is enabled again.
    #[serde(default)]
    pub recovery: Recovery,
}

/// When a subscription that Linktree disabled is enabled again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// WhenHealthy: as soon as the receiver, its keys and its public url are proven to work. Never: only reported.
    #[serde(default)]
    pub policy: RecoveryPolicy,
    /// How long after an attempt the next one may come, in seconds; doubled with each attempt after which no delivery
    /// arrived.
    #[serde(default = "default_cooldown_seconds")]
    #[schemars(range(min = 60, max = 86_400))]
    pub cooldown_seconds: i64,
    /// Attempts in any 24 hours.
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
