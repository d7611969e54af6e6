//! The policies in `spec.subscription`, parsed.

use jiff::SignedDuration;

use super::invalid::{InvalidSpec, invalid};
use crate::{
    api::subscription::{self as api, AdoptionPolicy, DeletionPolicy, DriftPolicy, ManagementPolicy, RecoveryPolicy},
    linktree::wire::SubscriptionId,
};

/// The policies for changes to the subscription at Linktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    pub management: ManagementPolicy,
    pub adoption: Adoption,
    pub drift: DriftPolicy,
    pub deletion: Deletion,
    pub recovery: Recovery,
}

/// Whether the webhook may adopt a subscription that the operator did not create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    IfUrlMatches,
    Never,
    ById(SubscriptionId),
}

/// The policies for deleting a webhook. Parsed separately, since a webhook with an invalid spec can be deleted, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Whether to delete the subscription at Linktree: not if the policy is to retain or only observe it.
    pub unsubscribe: bool,
    /// How long after the deletion the finalizer stays while the subscription cannot be deleted.
    pub deadline: SignedDuration,
}

/// The policy and limits for re-enabling a subscription that Linktree disabled.
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
                return Err(invalid("subscription.id", "is missing: write the id of the subscription to adopt"));
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
    /// The terms if the policies cannot be read: the finalizer is removed at once, and an Event names the subscription,
    /// which may or may not have been meant to stay at Linktree.
    pub const UNREADABLE: Deletion = Deletion { unsubscribe: true, deadline: SignedDuration::ZERO };

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
