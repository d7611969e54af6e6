//! What the operator may do to the subscription at Linktree, parsed.

use jiff::SignedDuration;

use super::{InvalidSpec, invalid};
use crate::{
    api::subscription::{self as api, AdoptionPolicy, DeletionPolicy, DriftPolicy, ManagementPolicy, RecoveryPolicy},
    linktree::wire::SubscriptionId,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    pub management: ManagementPolicy,
    pub adoption: Adoption,
    pub drift: DriftPolicy,
    pub deletion: Deletion,
    pub recovery: Recovery,
}

/// Which subscriptions that the operator did not make it may take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    IfUrlMatches,
    Never,
    ById(SubscriptionId),
}

/// What a deletion does at Linktree. Read on its own, since an object with an invalid spec is deleted too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Whether the subscription is to go: not if it is retained, nor if it was only ever observed.
    pub unsubscribe: bool,
    /// How long an unreachable Linktree may hold the deletion up.
    pub deadline: SignedDuration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    pub policy: RecoveryPolicy,
    pub cooldown: SignedDuration,
    pub max_attempts_per_day: i64,
}

impl Policies {
    pub(super) fn parse(subscription: &api::Subscription) -> Result<Self, InvalidSpec> {
        let api::Subscription {
            management_policy,
            adoption_policy,
            id,
            drift_policy,
            deletion_policy: _,
            deletion_deadline_seconds: _,
            recovery: api::Recovery { policy, cooldown_seconds, max_attempts_per_day },
        } = subscription;
        let adoption = match (adoption_policy, id) {
            (AdoptionPolicy::IfUrlMatches, _) => Adoption::IfUrlMatches,
            (AdoptionPolicy::Never, _) => Adoption::Never,
            (AdoptionPolicy::ById, Some(id)) => Adoption::ById(SubscriptionId(id.clone())),
            (AdoptionPolicy::ById, None) => {
                return Err(invalid("subscription.id", "is missing: write the id to take over"));
            }
        };
        Ok(Policies {
            management: *management_policy,
            adoption,
            drift: *drift_policy,
            deletion: Deletion::of(subscription),
            recovery: Recovery {
                policy: *policy,
                cooldown: SignedDuration::from_secs(*cooldown_seconds),
                max_attempts_per_day: *max_attempts_per_day,
            },
        })
    }
}

impl Deletion {
    #[must_use]
    pub fn of(subscription: &api::Subscription) -> Self {
        let deletes = match subscription.deletion_policy {
            DeletionPolicy::Delete => true,
            DeletionPolicy::Retain => false,
        };
        let manages = match subscription.management_policy {
            ManagementPolicy::Manage => true,
            ManagementPolicy::Observe => false,
        };
        Deletion {
            unsubscribe: deletes && manages,
            deadline: SignedDuration::from_secs(subscription.deletion_deadline_seconds),
        }
    }
}
