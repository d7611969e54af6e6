//! The decision for a webhook without a subscription: register it, once no second subscription can result.

use jiff::{SignedDuration, Timestamp};

use super::outcome::{Health, Subscription};
use crate::{
    api::{
        condition::{ConditionType, Reason},
        webhook_status::SubscriptionStatus,
    },
    operator::{
        account::Snapshot,
        kubernetes::conditions::{self, Finding, Status},
        webhook::{
            observed::Observed,
            plan::Step,
            spec::{Adoption, Endpoint, Keys, Spec},
            subscription_record,
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
    let intent = observed.status.subscription.as_ref().and_then(subscription_record::intent);
    let attempted = intent.max(observed.unresolved);
    let status = status(observed, snapshot, attempted);
    let wait = |reason, message: String| (Finding::new(false, reason, message), Vec::new());
    let (registered, steps) = if let Adoption::ById(id) = &spec.policies.adoption {
        wait(Reason::SubscriptionNotFound, format!("the account has no subscription {id}: correct subscription.id"))
    } else if spec.url.scheme() == "http" && !in_cluster {
        wait(Reason::NotExposed, inside_only(spec).to_owned())
    } else if observed.hold_until.is_some_and(|until| now < until) {
        (observed.carry_over(ConditionType::Registered), Vec::new())
    } else if !health.answers() {
        wait(Reason::Pending, format!("registration waits until the receiver responds at {}", spec.url))
    } else if attempted.is_some_and(|attempted| snapshot.listed_at < attempted) {
        // An earlier registration may have succeeded although its response was lost: list the account before another
        // attempt.
        let message = "checking the account for a subscription from an earlier attempt";
        (Finding::new(false, Reason::Pending, message), list_after(attempted, now))
    } else if let Some(id) = observed.subscription_id().filter(|id| !snapshot.knows_of(id)) {
        // The snapshot does not show whether this id exists: another operator may have created it after the list, or no
        // list was expected to contain it.
        let message = format!("checking the account for subscription {id}");
        (Finding::new(false, Reason::Pending, message), list_after(None, now))
    } else {
        let (at, creation) = (next_whole_second(now), observed.creation);
        let message = "the subscription is being registered";
        let mut steps = vec![Step::RecordRegistration { at, creation }, Step::Register { creation }];
        if let Keys::Provider { .. } = &spec.keys {
            steps.insert(0, Step::DryRunSecretWrite);
        }
        (Finding::new(false, Reason::Pending, message), steps)
    };
    without_subscription(status, registered, steps)
}

/// `status.subscription`: as before, until a list has shown that the subscription with this id, or a registration that
/// was attempted, does not exist.
fn status(observed: &Observed, snapshot: &Snapshot, attempted: Option<Timestamp>) -> Option<SubscriptionStatus> {
    let before = observed.status.subscription.clone()?;
    let is_open = attempted.is_some_and(|attempted| snapshot.listed_at < attempted)
        || observed.subscription_id().is_some_and(|id| !snapshot.knows_of(&id));
    if is_open {
        return Some(before);
    }
    before.registration_time.map(|begun| subscription_record::absent(Some(begun)))
}

/// The step that requests a list of the account that begins at or after `moment`; none while `moment` lies ahead.
///
/// `moment` is rounded up to a whole second: a list that began before it would be too old and would have to be
/// repeated.
pub(in crate::operator::webhook::decide) fn list_after(moment: Option<Timestamp>, now: Timestamp) -> Vec<Step> {
    if moment.is_some_and(|moment| now < moment) { Vec::new() } else { vec![Step::RequestList] }
}

/// The message about an `http://` URL, which a Linktree outside the cluster cannot reach.
fn inside_only(spec: &Spec) -> &'static str {
    match spec.endpoint {
        Endpoint::Managed(_) => {
            "exposure.type Service works only with a connection inside the cluster: set endpoint.managed.host, and exposure.type to Ingress, HTTPRoute or None"
        }
        Endpoint::External => {
            "an http:// URL works only with a connection inside the cluster: set the https:// URL of your receiver"
        }
    }
}

/// The result without a subscription that the webhook owns.
pub(super) fn without_subscription(
    status: Option<SubscriptionStatus>,
    registered: Finding,
    steps: Vec<Step>,
) -> Subscription {
    let pending = || Finding::new(Status::Unknown, Reason::Pending, "there is no subscription yet");
    Subscription {
        status,
        registered,
        up_to_date: pending(),
        enabled: pending(),
        at_risk: Finding::new(false, Reason::DeliveriesSucceeding, "Linktree sends no deliveries yet"),
        steps,
    }
}

/// The current time, rounded up to a whole second: the status stores whole seconds, and a list that began before a
/// registration must count as older than it.
fn next_whole_second(now: Timestamp) -> Timestamp {
    conditions::whole_seconds(now).saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX)
}
