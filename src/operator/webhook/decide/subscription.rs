//! The rules for the subscription at Linktree: there must be exactly one, it must match the spec, and it must be
//! enabled.

use jiff::Timestamp;

use self::outcome::{Health, Subscription};
use super::journal;
use crate::{
    api::{condition::ConditionType, subscription::ManagementPolicy, webhook_status::SubscriptionStatus},
    linktree::event::EventType,
    operator::webhook::{
        observed::{Connection, Observed},
        ownership::{self, Ownership},
        spec::Spec,
    },
};

mod absent;
mod observe_only;
pub(super) mod outcome;
mod present;
mod recovery;
mod unowned;

pub(super) use absent::list_after;

pub(super) fn decide(spec: &Spec, observed: &Observed, health: &Health<'_>, now: Timestamp) -> Subscription {
    let Connection::Listed { snapshot, in_cluster, capabilities, .. } = &observed.connection else {
        return unlisted(observed);
    };
    let decided = match ownership::find(spec, observed, snapshot) {
        Ownership::Ours(known) => present::decide(spec, observed, known, *capabilities, health, now),
        Ownership::Foreign(known) => unowned::foreign(observed, known),
        Ownership::Unproven(known) => unowned::unproven(spec, observed, known),
        Ownership::OtherWebhook(webhook) => unowned::url_conflict(observed, webhook),
        Ownership::OtherOwner(webhook) => unowned::id_conflict(webhook),
        Ownership::OtherAccount => unowned::other_account(observed, snapshot),
        Ownership::Absent => absent::decide(spec, observed, snapshot, *in_cluster, health, now),
    };
    match spec.policies.management {
        ManagementPolicy::Manage => decided,
        ManagementPolicy::Observe => observe_only::decide(decided),
    }
}

/// The result while there is no list of the account: the last known state, from the status.
fn unlisted(observed: &Observed) -> Subscription {
    Subscription {
        status: observed.status.subscription.clone(),
        registered: observed.carry_over(ConditionType::Registered),
        up_to_date: observed.carry_over(ConditionType::UpToDate),
        enabled: observed.carry_over(ConditionType::SubscriptionEnabled),
        at_risk: journal::last_reported(observed),
        steps: Vec::new(),
    }
}

/// Whether the subscription's events differ from the spec and do not include this event type.
pub(super) fn lacks(subscription: &SubscriptionStatus, event_type: &EventType) -> bool {
    let mut drift = subscription.drift.iter().filter(|drift| drift.field == outcome::EVENTS);
    drift.any(|drift| !drift.observed.contains(event_type.as_str()))
}
