//! The decision for one webhook: a pure function of the spec, the observed state and the current time.
//!
//! Each rule determines the finding for one condition, and may add steps. There is no IO and no error: a problem is a
//! finding.

use std::time::Duration;

use jiff::Timestamp;

use self::subscription::outcome::Health;
use super::{
    account_identity,
    observed::{Connection, Observed},
    plan::{Plan, SETTLED, Step},
    spec::{Endpoint, Spec},
};
use crate::{
    api::{
        condition::{ConditionType, Reason},
        webhook_status::GapReason,
    },
    linktree::wire::SubscriptionId,
    operator::kubernetes::conditions::{self, Finding, Status},
};

pub(super) mod children;
mod deletion;
mod endpoint;
mod journal;
mod milestones;
mod mismatch;
mod paused;
mod receiver;
mod redrive;
mod signing;
mod sinks;
mod subscription;
mod sync;

pub use deletion::decide as decide_deletion;

/// Shortest requeue delay of a webhook that is not settled; the delay grows while `Ready` is false, up to [`SETTLED`].
const UNSETTLED: Duration = Duration::from_secs(3);

/// Decides the plan for a webhook that is not being deleted.
#[must_use]
pub fn decide(spec: &Spec, observed: &Observed, now: Timestamp) -> Plan {
    let connection = connection(&observed.connection);
    let receiver = children::report_receiver(spec, observed, receiver::decide(spec, observed));
    let endpoint = children::report_exposure(spec, observed, endpoint::decide(spec, observed, now));
    let keys = signing::keys(spec, observed);
    let health = match spec.endpoint {
        Endpoint::Managed(_) => Health::Bundled { receiver: &receiver, endpoint: &endpoint, keys: &keys },
        Endpoint::External => Health::External { endpoint: &endpoint },
    };
    let subscription = subscription::decide(spec, observed, &health, now);
    let signatures = signing::verified(observed, &subscription, spec);
    let mut delivering = sinks::decide(spec, observed, now);
    let journal_forecast = journal::forecast(observed, now);
    let at_risk = journal::at_risk(spec, journal_forecast.as_ref(), subscription.at_risk.clone());
    let awaited_milestones = milestones::awaited(spec, observed, subscription.status.as_ref(), &signatures, now);

    let mut steps = Vec::new();
    if !observed.finalizer {
        steps.push(Step::AddFinalizer);
    }
    steps.extend(children::apply(observed));
    steps.extend(endpoint::remove(spec, observed, &subscription));
    steps.extend(receiver::refresh_pod_mount(observed));
    steps.extend(subscription.steps);
    let (handled_sync_request, list) = sync::decide(observed, now);
    if !steps.contains(&Step::RequestList) {
        steps.extend(list);
    }

    let rejected_redrive = redrive::decide(spec, observed, &mut steps, &mut delivering);

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
        (ConditionType::DeliveryAtRisk, at_risk),
    ];
    findings.retain(|(condition_type, _)| applies(spec, *condition_type));
    carry_over_failure(observed, now, &mut findings);
    paused::hold_back(spec.pause, &mut steps, &mut findings);
    // A redrive that the receiver does not handle yet is tried again at the settled interval.
    let only_redrives = steps.iter().all(|step| matches!(step, Step::Redrive { .. }));
    // The watch of the connection reports that it is ready again.
    let listed = matches!(observed.connection, Connection::Listed { .. });
    let is_settled = |condition_type: ConditionType, finding: &Finding| {
        (condition_type == ConditionType::ConnectionReady && listed) || is_settled(condition_type, finding)
    };
    let settled =
        only_redrives && findings.iter().all(|(condition_type, finding)| is_settled(*condition_type, finding));
    let requeue = until_key_expires(observed, now, if settled { SETTLED } else { unsettled_delay(observed, now) });
    // Such a gap ends some time after the last event was given up.
    let mut open_gaps = observed.status.gaps.iter().filter(|gap| gap.end_time.is_none());
    let drops_events = open_gaps.any(|gap| gap.reason == GapReason::EventsDropped);
    let time_matters = drops_events
        || subscription.status.as_ref().is_some_and(|status| {
            // Time alone changes the plan: while deliveries fail, as the deadline approaches; and for an external receiver,
            // when the record of re-enable attempts expires.
            status.failing_since_time.is_some() || (spec.is_external() && status.recovery.is_some())
        });
    let steps_done = steps.is_empty();
    let id = subscription.status.as_ref().and_then(|status| status.id.clone()).map(SubscriptionId);
    Plan {
        steps,
        findings,
        account: account_identity::remembered(&observed.status, &observed.connection, id.as_ref()),
        subscription: subscription.status,
        awaited_milestones,
        journal_forecast,
        handled_sync_request,
        rejected_redrive,
        requeue,
        rests: settled && steps_done && !time_matters,
    }
}

/// Whether a webhook has this condition: those about the bundled receiver do not apply to an external one.
fn applies(spec: &Spec, condition_type: ConditionType) -> bool {
    match condition_type {
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
        | ConditionType::OperatorConflict
        | ConditionType::Reconciling
        | ConditionType::Stalled => true,
    }
}

/// Keeps the finding about a failed call from the status until the next attempt, since a reconciliation during the
/// backoff makes no call and has no newer result.
fn carry_over_failure(observed: &Observed, now: Timestamp, findings: &mut [(ConditionType, Finding)]) {
    if observed.hold_until.is_none_or(|until| now >= until) {
        return;
    }
    // A list since then has shown why the call failed.
    let is_explained = |finding: &Finding| matches!(finding.reason, Reason::AwaitingProof | Reason::AccountChanged);
    let held = findings.iter_mut().find(|(condition_type, finding)| {
        Some(*condition_type) == observed.held && !finding.holds() && !is_explained(finding)
    });
    if let Some((condition_type, finding)) = held {
        *finding = observed.carry_over(*condition_type);
    }
}

/// The requeue delay, shortened to the expiry of the next signing key, which must be removed from the route then.
fn until_key_expires(observed: &Observed, now: Timestamp, requeue: Duration) -> Duration {
    let left = observed.next_key_end.and_then(|end| Duration::try_from(end.duration_since(now)).ok());
    left.map_or(requeue, |left| left.min(requeue))
}

/// The requeue delay of a webhook that is not settled: a tenth of the time for which `Ready` has been false.
///
/// More frequent reconciliations would not make a slow process faster.
fn unsettled_delay(observed: &Observed, now: Timestamp) -> Duration {
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
        Connection::Listed { not_ready: Some((reason, message)), .. } => Finding::new(false, *reason, message),
        Connection::Listed { not_ready: None, .. } => {
            Finding::new(true, Reason::Available, "the LinktreeConnection is ready")
        }
    }
}

/// Whether a finding needs no requeue before the settled interval.
fn is_settled(condition_type: ConditionType, finding: &Finding) -> bool {
    // A pause ends only when the user changes the spec, which is a watch event.
    finding.reason == Reason::Paused
        // Linktree's API never provides the missing information, so waiting does not help.
        || matches!(finding.reason, Reason::SecretUnknown | Reason::Unobservable)
        || match condition_type {
            ConditionType::SignaturesVerified => true,
            // The receiver's status, which is polled, decides it.
            ConditionType::Delivering => finding.status != Status::Unknown,
            ConditionType::DeliveryAtRisk => {
                finding.status == Status::False || finding.reason == Reason::BacklogFillsJournal
            }
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
            | ConditionType::OperatorConflict
            | ConditionType::Reconciling
            | ConditionType::Stalled => finding.holds(),
        }
}

#[cfg(test)]
pub(super) mod tests;
