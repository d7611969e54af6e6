//! The subscription at Linktree: that there is exactly one, that it is as the spec says, that Linktree sends to it.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::signing::kept;
use crate::{
    api::{
        condition::ConditionType,
        subscription::ManagementPolicy,
        webhook_status::{SubscriptionState, SubscriptionStatus},
    },
    linktree::{event::EventType, wire},
    operator::{
        account::Snapshot,
        kubernetes::{conditions::Finding, object_key::Key},
        webhook::{
            observed::{Connection, Observed},
            plan::Step,
            spec::{Adoption, Spec},
        },
    },
};

mod absent;
mod observe_only;
mod present;
mod recovery;

pub(super) use absent::list_after;
pub(in crate::operator::webhook) use recovery::attempted;

/// What the rules on the subscription found out.
pub(super) struct Subscription {
    pub(super) status: Option<SubscriptionStatus>,
    pub(super) registered: Finding,
    pub(super) up_to_date: Finding,
    pub(super) enabled: Finding,
    pub(super) at_risk: Finding,
    pub(super) steps: Vec<Step>,
}

impl Subscription {
    /// Linktree's own word that its deliveries do not arrive.
    pub(super) fn failing(&self) -> bool {
        self.at_risk.holds()
    }

    /// Linktree still sends to another url.
    pub(super) fn moves(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.drift.iter().any(|drift| drift.field == present::URL))
    }
}

/// What must be in order before Linktree is told to send.
pub(super) enum Health<'a> {
    Bundled {
        receiver: &'a Finding,
        endpoint: &'a Finding,
        keys: &'a Finding,
    },
    /// All that is known of somebody's own receiver is that it answers.
    External {
        endpoint: &'a Finding,
    },
}

impl<'a> Health<'a> {
    /// The first that is not in order.
    fn ill(&self) -> Option<&'a Finding> {
        let needed = match self {
            Health::Bundled { receiver, endpoint, keys } => vec![*receiver, *endpoint, *keys],
            Health::External { endpoint } => vec![*endpoint],
        };
        needed.into_iter().find(|finding| !finding.holds())
    }

    /// Whether deliveries can come in. The keys may only come with the registration.
    fn answers(&self) -> bool {
        match self {
            Health::Bundled { receiver, endpoint, keys: _ } => receiver.holds() && endpoint.holds(),
            Health::External { endpoint } => endpoint.holds(),
        }
    }
}

pub(super) fn decide(spec: &Spec, observed: &Observed, health: &Health<'_>, now: Timestamp) -> Subscription {
    let Connection::Listed { snapshot, in_cluster, capabilities } = &observed.connection else {
        return unseen(observed);
    };
    let decided = match find(spec, observed, snapshot) {
        Found::Ours(known) => present::decide(spec, observed, known, *capabilities, health, now),
        Found::Foreign(known) => absent::foreign(observed, known),
        Found::Taken(webhook) => absent::taken(observed, webhook),
        Found::Nothing => absent::decide(spec, observed, snapshot, *in_cluster, health, now),
    };
    match spec.policies.management {
        ManagementPolicy::Manage => decided,
        ManagementPolicy::Observe => observe_only::decide(decided),
    }
}

/// What the account has for a webhook.
enum Found<'a> {
    /// The subscription we made, or may take over.
    Ours(&'a wire::Subscription),
    /// One with our url that we neither made nor may take over.
    Foreign(&'a wire::Subscription),
    /// One that another webhook has.
    Taken(&'a Key),
    Nothing,
}

/// Whether Linktree does not send to the webhook's subscription.
pub(in crate::operator::webhook) fn is_disabled(spec: &Spec, observed: &Observed) -> bool {
    let Connection::Listed { snapshot, .. } = &observed.connection else { return false };
    match find(spec, observed, snapshot) {
        Found::Ours(known) => known.status == Some(wire::SubscriptionStatus::Disabled),
        Found::Foreign(_) | Found::Taken(_) | Found::Nothing => false,
    }
}

/// By its id where we know one, else by url: the url is the webhook's identity at Linktree.
fn find<'a>(spec: &Spec, observed: &'a Observed, snapshot: &'a Arc<Snapshot>) -> Found<'a> {
    let status = observed.status.subscription.as_ref();
    let by_id = |id: &str| snapshot.subscriptions.iter().find(|known| known.id.0 == id);
    let by_url = || snapshot.subscriptions.iter().find(|known| known.url == spec.url.as_str());
    if let Some(known) = status.and_then(|status| status.id.as_deref()).and_then(by_id) {
        return Found::Ours(known);
    }
    if let Some(other) = &observed.url_taken_by {
        return Found::Taken(other);
    }
    // A registration of ours may have taken effect without our seeing its answer.
    let begun = status.is_some_and(|status| status.registration_time.is_some());
    match (&spec.policies.adoption, by_url()) {
        (Adoption::ById(id), _) => by_id(&id.0).map_or(Found::Nothing, Found::Ours),
        (Adoption::IfUrlMatches | Adoption::Never, None) => Found::Nothing,
        (Adoption::IfUrlMatches, Some(known)) => Found::Ours(known),
        (Adoption::Never, Some(known)) if begun => Found::Ours(known),
        (Adoption::Never, Some(known)) => Found::Foreign(known),
    }
}

/// The account cannot be looked at: what was known stays.
fn unseen(observed: &Observed) -> Subscription {
    Subscription {
        status: observed.status.subscription.clone(),
        registered: kept(observed, ConditionType::Registered),
        up_to_date: kept(observed, ConditionType::UpToDate),
        enabled: kept(observed, ConditionType::SubscriptionEnabled),
        at_risk: kept(observed, ConditionType::DeliveryAtRisk),
        steps: Vec::new(),
    }
}

/// Whether Linktree sends other events than the spec asks for, and not this one.
pub(super) fn lacks(subscription: &SubscriptionStatus, event_type: &EventType) -> bool {
    let mut drift = subscription.drift.iter().filter(|drift| drift.field == present::EVENTS);
    drift.any(|drift| !drift.observed.contains(event_type.as_str()))
}

/// The status of a subscription that was asked for and is not confirmed.
pub(in crate::operator::webhook) fn registering(begun: Option<Time>) -> SubscriptionStatus {
    SubscriptionStatus {
        id: None,
        state: SubscriptionState::Registering,
        registration_time: begun,
        failing_since_time: None,
        disable_deadline_time: None,
        disabled_time: None,
        drift: Vec::new(),
        plan: Vec::new(),
        recovery: None,
    }
}
