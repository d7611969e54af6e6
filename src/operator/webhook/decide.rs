//! Decides what to do about one webhook: a pure total function of the spec, what was observed, and now. Reads as a
//! checklist; each rule finds out one condition and may ask for steps. Does no IO, and never fails: trouble is a finding.

use std::time::Duration;

use jiff::Timestamp;

use self::subscription::outcome::Health;
use super::{
    observed::{Connection, Observed},
    plan::{Plan, SETTLED, Step},
    spec::{Endpoint, Spec},
};
use crate::{
    api::condition::{ConditionType, Reason},
    operator::kubernetes::conditions::{self, Finding, Status},
};

mod deletion;
mod endpoint;
mod milestones;
mod mismatch;
mod paused;
mod receiver;
mod signing;
mod sinks;
mod subscription;
mod sync;

pub use deletion::decide as decide_deletion;

/// How often one is looked at that has just set out; less and less often the longer it takes, down to [`SETTLED`].
const UNSETTLED: Duration = Duration::from_secs(3);

/// The plan for a webhook that is not being deleted.
#[must_use]
pub fn decide(spec: &Spec, observed: &Observed, now: Timestamp) -> Plan {
    let connection = connection(&observed.connection);
    let receiver = receiver::decide(spec, observed);
    let endpoint = endpoint::decide(spec, observed, now);
    let keys = signing::keys(spec, observed);
    let health = match spec.endpoint {
        Endpoint::Managed(_) => Health::Bundled { receiver: &receiver, endpoint: &endpoint, keys: &keys },
        Endpoint::External => Health::External { endpoint: &endpoint },
    };
    let subscription = subscription::decide(spec, observed, &health, now);
    let signatures = signing::verified(observed, &subscription, spec);
    let delivering = sinks::decide(spec, observed);
    let awaited_milestones = milestones::awaited(spec, observed, subscription.status.as_ref(), &signatures, now);

    let mut steps = Vec::new();
    if !observed.finalizer {
        steps.push(Step::AddFinalizer);
    }
    steps.extend(observed.children_outdated.iter().map(|child| Step::Apply(*child)));
    steps.extend(endpoint::remove(spec, observed, &subscription));
    steps.extend(receiver::refresh_pod_mount(observed));
    steps.extend(subscription.steps);
    let (handled_sync_request, list) = sync::decide(observed, now);
    if !steps.contains(&Step::RequestList) {
        steps.extend(list);
    }

    let mut findings = vec![
        (ConditionType::ConnectionReady, connection),
        (ConditionType::ReceiverAvailable, receiver),
        (ConditionType::EndpointReachable, endpoint),
        (ConditionType::SigningKeysReady, keys),
        (ConditionType::Registered, subscription.registered),
        (ConditionType::UpToDate, subscription.up_to_date),
        (ConditionType::SubscriptionEnabled, subscription.enabled),
        (ConditionType::SignaturesVerified, signatures),
        (ConditionType::Delivering, delivering),
        (ConditionType::DeliveryAtRisk, subscription.at_risk),
    ];
    findings.retain(|(of, _)| applies(spec, *of));
    keep_why_held(observed, now, &mut findings);
    paused::hold_back(spec.pause, &mut steps, &mut findings);
    let settled = steps.is_empty() && findings.iter().all(|(of, finding)| rests(*of, finding));
    let requeue = until_key_ends(observed, now, if settled { SETTLED } else { pace(observed, now) });
    let passing = subscription.status.as_ref().is_some_and(|status| {
        // While deliveries fail the deadline comes nearer; of attempts in vain only time tells that they are over.
        status.failing_since_time.is_some() || (spec.is_external() && status.recovery.is_some())
    });
    Plan {
        steps,
        findings,
        subscription: subscription.status,
        awaited_milestones,
        handled_sync_request,
        requeue,
        rests: settled && !passing,
    }
}

/// What is said of the bundled receiver is not said of somebody's own: nothing is known of it.
fn applies(spec: &Spec, of: ConditionType) -> bool {
    match of {
        ConditionType::ReceiverAvailable | ConditionType::SignaturesVerified | ConditionType::Delivering => {
            !spec.is_external()
        }
        ConditionType::Ready
        | ConditionType::TokenAccepted
        | ConditionType::QuotaAvailable
        | ConditionType::ConnectionReady
        | ConditionType::Registered
        | ConditionType::UpToDate
        | ConditionType::SubscriptionEnabled
        | ConditionType::SigningKeysReady
        | ConditionType::EndpointReachable
        | ConditionType::DeliveryAtRisk
        | ConditionType::Reconciling
        | ConditionType::Stalled => true,
    }
}

/// Between a failed call and the next try the condition goes on saying why: a look in between knows no better.
fn keep_why_held(observed: &Observed, now: Timestamp, findings: &mut [(ConditionType, Finding)]) {
    if observed.hold_until.is_none_or(|until| now >= until) {
        return;
    }
    let held = findings.iter_mut().find(|(of, finding)| Some(*of) == observed.held && !finding.holds());
    if let Some((of, finding)) = held {
        *finding = observed.carry_over(*of);
    }
}

/// A key whose time is over is taken out of the route at that very time.
fn until_key_ends(observed: &Observed, now: Timestamp, requeue: Duration) -> Duration {
    let left = observed.next_key_end.and_then(|end| Duration::try_from(end.duration_since(now)).ok());
    left.map_or(requeue, |left| left.min(requeue))
}

/// A tenth of the time that `Ready` has been false: what takes long is not hurried by looking.
fn pace(observed: &Observed, now: Timestamp) -> Duration {
    let ready = conditions::find(&observed.status.conditions, ConditionType::Ready);
    let since = ready.filter(|ready| ready.status != Status::True.as_str()).map(|ready| ready.last_transition_time.0);
    let waited = since.and_then(|since| Duration::try_from(now.duration_since(since)).ok()).unwrap_or_default();
    (waited / 10).clamp(UNSETTLED, SETTLED)
}

fn connection(connection: &Connection) -> Finding {
    match connection {
        Connection::Unusable { reason, message } => Finding::new(false, *reason, message),
        Connection::Unlisted => {
            Finding::new(Status::Unknown, Reason::Pending, "the account's subscriptions have not been listed yet")
        }
        Connection::Listed { .. } => Finding::new(true, Reason::Available, "the connection can be used"),
    }
}

/// Whether a finding is one to be left alone with.
fn rests(of: ConditionType, finding: &Finding) -> bool {
    // What is paused stays so until a person changes the spec.
    finding.reason == Reason::Paused
        // Nor is what Linktree does not tell ever learnt.
        || matches!(finding.reason, Reason::SecretUnknown | Reason::Unobservable)
        || match of {
            ConditionType::SignaturesVerified => true,
            ConditionType::DeliveryAtRisk => finding.status == Status::False,
            ConditionType::Ready
            | ConditionType::TokenAccepted
            | ConditionType::QuotaAvailable
            | ConditionType::ConnectionReady
            | ConditionType::Registered
            | ConditionType::UpToDate
            | ConditionType::SubscriptionEnabled
            | ConditionType::SigningKeysReady
            | ConditionType::ReceiverAvailable
            | ConditionType::EndpointReachable
            | ConditionType::Delivering
            | ConditionType::Reconciling
            | ConditionType::Stalled => finding.holds(),
        }
}

#[cfg(test)]
pub(super) mod tests;
