//! The account has no subscription for this webhook: it is to be registered, when that is safe.

use jiff::{SignedDuration, Timestamp};

use super::outcome::{Health, Subscription};
use crate::{
    api::condition::{ConditionType, Reason},
    linktree::wire,
    operator::{
        account::Snapshot,
        kubernetes::{
            conditions::{self, Finding, Status},
            object_key::ObjectKey,
        },
        webhook::{
            observed::Observed,
            plan::Step,
            spec::{Adoption, Endpoint, Keys, Spec},
            subscription_record::registering,
        },
    },
};

pub(super) fn decide(
    spec: &Spec,
    observed: &Observed,
    snapshot: &Snapshot,
    in_cluster: bool,
    health: &Health<'_>,
    now: Timestamp,
) -> Subscription {
    let begun = observed.status.subscription.as_ref().and_then(|subscription| subscription.registration_time.clone());
    let attempted = begun.as_ref().map(|begun| begun.0).max(observed.unresolved);
    let wait = |reason, message: String| (Finding::new(false, reason, message), Vec::new());
    let (registered, steps) = if let Adoption::ById(id) = &spec.policies.adoption {
        wait(Reason::SubscriptionNotFound, format!("the account has no subscription {id}: correct subscription.id"))
    } else if spec.url.scheme() == "http" && !in_cluster {
        wait(Reason::NotExposed, inside_only(spec).to_owned())
    } else if observed.hold_until.is_some_and(|until| now < until) {
        (observed.carry_over(ConditionType::Registered), Vec::new())
    } else if !health.answers() {
        wait(Reason::Pending, format!("registers as soon as the receiver answers at {}", spec.url))
    } else if attempted.is_some_and(|attempted| snapshot.listed_at < attempted) {
        // An earlier registration may have taken effect without our seeing its answer: look before asking again.
        let message = "looking on the account for a subscription made by an earlier attempt";
        (Finding::new(false, Reason::Pending, message), list_after(attempted, now))
    } else if let Some(id) = observed.subscription_id().filter(|id| !snapshot.knows_of(id)) {
        // Another operator made it since, or it was never looked for: that no list has it so far says nothing.
        let message = format!("looking on the account for subscription {id}");
        (Finding::new(false, Reason::Pending, message), list_after(None, now))
    } else {
        let at = next_whole_second(now);
        let message = "the subscription is being registered";
        let mut steps = vec![Step::RecordRegistration { at }, Step::Register];
        if let Keys::Provider { .. } = &spec.keys {
            steps.insert(0, Step::DryRunSecretWrite);
        }
        (Finding::new(false, Reason::Pending, message), steps)
    };
    without_subscription(begun.map(|begun| registering(Some(begun))), registered, steps)
}

/// Asks for a list that is begun at or after `moment`. Before that moment, which is rounded up to a whole second, there is
/// no use in one: it would have to be asked for again at once.
pub(in crate::operator::webhook::decide) fn list_after(moment: Option<Timestamp>, now: Timestamp) -> Vec<Step> {
    if moment.is_some_and(|moment| now < moment) { Vec::new() } else { vec![Step::RequestList] }
}

/// A url that leads nowhere from outside the cluster, where Linktree is.
fn inside_only(spec: &Spec) -> &'static str {
    match spec.endpoint {
        Endpoint::Managed(_) => {
            "exposure.type Service is for a connection inside the cluster; write endpoint.managed.host, and exposure.type Ingress, HTTPRoute or None"
        }
        Endpoint::External => {
            "an http:// url is for a connection inside the cluster; write the https:// one that leads to your receiver"
        }
    }
}

/// A subscription with our url that we may not take over.
pub(super) fn foreign(observed: &Observed, known: &wire::Subscription) -> Subscription {
    let message = format!(
        "subscription {} has this webhook's url and adoptionPolicy is Never: delete it at Linktree, or write adoptionPolicy IfURLMatches",
        known.id
    );
    let status = observed.status.subscription.clone();
    without_subscription(status, Finding::new(false, Reason::Conflict, message), Vec::new())
}

/// Another webhook's url.
pub(super) fn taken(observed: &Observed, other: &ObjectKey) -> Subscription {
    let message = format!(
        "webhook {other} has a subscription with this url: write a url of its own, such as one with another path"
    );
    let status = observed.status.subscription.clone();
    without_subscription(status, Finding::new(false, Reason::Conflict, message), Vec::new())
}

fn without_subscription(
    status: Option<crate::api::webhook_status::SubscriptionStatus>,
    registered: Finding,
    steps: Vec<Step>,
) -> Subscription {
    let pending = || Finding::new(Status::Unknown, Reason::Pending, "there is no subscription yet");
    Subscription {
        status,
        registered,
        up_to_date: pending(),
        enabled: pending(),
        at_risk: Finding::new(false, Reason::DeliveriesSucceeding, "nothing is sent yet"),
        steps,
    }
}

/// Rounded up, since the API keeps whole seconds: a list begun before this moment must look older than it.
fn next_whole_second(now: Timestamp) -> Timestamp {
    conditions::whole_seconds(now).saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX)
}
