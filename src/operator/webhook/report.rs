//! Turns what was planned and what came of it into the status. Pure. It adds `Ready` and the kstatus conditions.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sha2::Sha256;

use super::{
    decide::{FAILURES, attempted, registering},
    gaps,
    observed::{Child, Keys, Observed, Unresolved},
    outcome::{Failure, Outcome},
    plan::{Plan, Step},
    spec::InvalidSpec,
};
use crate::{
    api::{
        condition::{ConditionType, Reason},
        webhook_status::{
            Address, DeliveryCounts, LinktreeWebhookStatus, ReceiverStatus, SigningStatus, SinkState, SinkStatus,
            SubscriptionState,
        },
    },
    linktree::error::{ApiError, RetryClass},
    operator::conditions::{self, Finding, Status},
    route::{
        Route,
        status::{self as route_status, Tally},
    },
};

mod endpoint;
mod worth;

pub use self::worth::{Worth, worth_writing};

/// What must hold for `Ready`, root causes first: the first that does not gives `Ready` its reason.
const READY_NEEDS: [ConditionType; 6] = [
    ConditionType::ReceiverAvailable,
    ConditionType::EndpointReachable,
    ConditionType::Registered,
    ConditionType::SigningKeysReady,
    ConditionType::SubscriptionEnabled,
    ConditionType::SignaturesVerified,
];

/// What a report is made from.
pub struct Report<'a> {
    pub generation: Option<i64>,
    pub url: &'a str,
    /// The bundled receiver's; `None` where it is somebody's own.
    pub route: Option<&'a Route>,
    pub observed: &'a Observed,
    pub plan: Plan,
    pub outcome: &'a Outcome,
    pub hold_until: Option<Timestamp>,
    pub now: Timestamp,
}

impl Report<'_> {
    /// The status as it should stand now.
    #[must_use]
    pub fn status(self) -> LinktreeWebhookStatus {
        let Report { generation, url, route, observed, plan, outcome, hold_until, now } = self;
        let previous = &observed.status;
        let Plan {
            steps,
            mut findings,
            mut subscription,
            awaited_milestones,
            handled_sync_request,
            requeue: _,
            rests: _,
        } = plan;
        let answers = findings.iter().any(|(of, it)| *of == ConditionType::EndpointReachable && it.holds());
        for failure in &outcome.failures {
            apply_failure(failure, hold_until, &mut findings);
        }
        if let Some(id) = &outcome.registered {
            set(
                &mut findings,
                ConditionType::Registered,
                Finding::new(true, Reason::Created, format!("subscription {id}")),
            );
            let recorded = subscription.take().or_else(|| previous.subscription.clone());
            let begun = recorded.and_then(|recorded| recorded.registration_time);
            let mut registered = registering(begun.or(Some(Time(conditions::whole_seconds(now)))));
            registered.id = Some(id.0.clone());
            registered.state = SubscriptionState::Enabled;
            subscription = Some(registered);
        }
        if let (Some(succeeded), Some(subscription)) = (outcome.recovery, &mut subscription) {
            subscription.recovery = Some(attempted(subscription.recovery.take(), succeeded, now));
        }
        summarize(&mut findings, !steps.is_empty());
        let keyed = has_admin_token(observed, &steps, outcome);
        LinktreeWebhookStatus {
            observed_generation: generation,
            last_handled_rotate_secret_request: outcome
                .rotated
                .clone()
                .or_else(|| previous.last_handled_rotate_secret_request.clone()),
            last_handled_sync_request: handled_sync_request.or_else(|| previous.last_handled_sync_request.clone()),
            address: Some(Address { url: url.to_owned() }),
            sink_uri: previous.sink_uri.clone(),
            ce_attributes: previous.ce_attributes.clone(),
            gaps: gaps::follow(&previous.gaps, subscription.as_ref(), now),
            subscription,
            awaited_milestones,
            signing: route
                .and_then(|route| if keyed { Some(signing(route, observed)) } else { previous.signing.clone() }),
            endpoint: endpoint::status(observed, answers),
            receiver: route.and_then(|_| receiver(observed)),
            sinks: route.map(|_| sinks(observed)).unwrap_or_default(),
            conditions: conditions::render(&findings, &previous.conditions, generation, now),
        }
    }
}

/// The status of a webhook whose spec cannot be used. What is known from before stays.
#[must_use]
pub fn invalid(
    previous: &LinktreeWebhookStatus,
    generation: Option<i64>,
    error: &InvalidSpec,
    now: Timestamp,
) -> LinktreeWebhookStatus {
    let finding = |status: bool| Finding::new(status, Reason::InvalidSpec, error.to_string());
    let findings = [(ConditionType::Ready, finding(false)), (ConditionType::Stalled, finding(true))];
    LinktreeWebhookStatus {
        observed_generation: generation,
        conditions: conditions::render(&findings, &previous.conditions, generation, now),
        ..previous.clone()
    }
}

/// The status of a webhook that is being deleted: as it was, with a word on what it waits for.
#[must_use]
pub fn terminating(
    previous: &LinktreeWebhookStatus,
    generation: Option<i64>,
    plan: Plan,
    outcome: &Outcome,
    hold_until: Option<Timestamp>,
    now: Timestamp,
) -> LinktreeWebhookStatus {
    let mut findings = plan.findings;
    for failure in &outcome.failures {
        let (message, _) = describe(failure, hold_until);
        findings.iter_mut().for_each(|(_, finding)| finding.message = format!("{}: {message}", finding.message));
    }
    LinktreeWebhookStatus {
        observed_generation: generation,
        conditions: conditions::render(&findings, &previous.conditions, generation, now),
        ..previous.clone()
    }
}

fn apply_failure(failure: &Failure, hold_until: Option<Timestamp>, findings: &mut [(ConditionType, Finding)]) {
    let (message, reason) = describe(failure, hold_until);
    let of = match failure {
        Failure::Kubernetes { .. } => ConditionType::ReceiverAvailable,
        Failure::Exposure { .. } => return not_exposed(reason, &message, findings),
        Failure::NotKept { .. } => ConditionType::SigningKeysReady,
        Failure::Linktree { of, .. } => *of,
    };
    set(findings, of, Finding::new(false, reason, message));
}

/// As long as the URL leads to the receiver, what could not be written is only told.
fn not_exposed(reason: Reason, message: &str, findings: &mut [(ConditionType, Finding)]) {
    let endpoint = findings.iter_mut().find(|(of, _)| *of == ConditionType::EndpointReachable);
    let Some((_, finding)) = endpoint else { return };
    *finding = if finding.holds() {
        Finding { message: format!("{}; yet {message}", finding.message), ..finding.clone() }
    } else {
        Finding::new(false, reason, message)
    };
}

fn describe(failure: &Failure, hold_until: Option<Timestamp>) -> (String, Reason) {
    match failure {
        Failure::Kubernetes { problem } => (format!("the Kubernetes API refused: {problem}"), Reason::Progressing),
        Failure::Exposure { problem } => {
            (format!("the Kubernetes API refused what exposes the receiver: {problem}"), Reason::ExposureRefused)
        }
        Failure::NotKept { problem, made } => {
            let next = if *made {
                "a new one is made as soon as it can be"
            } else {
                "Linktree is asked for it once it can be"
            };
            (format!("the signing secret from Linktree cannot be kept: {problem}; {next}"), Reason::SecretNotKept)
        }
        Failure::Linktree { error, .. } => {
            // Who waits for its turn is told about when that is.
            let next = hold_until.filter(|_| !matches!(error, ApiError::NotYet { .. }));
            let next =
                next.map(|until| format!("; next attempt at {}", conditions::whole_seconds(until))).unwrap_or_default();
            (format!("{error}{next}"), failure_reason(error))
        }
    }
}

fn failure_reason(error: &ApiError) -> Reason {
    match error {
        ApiError::Conflict { .. } => Reason::Conflict,
        ApiError::Invalid { .. } => Reason::Rejected,
        ApiError::TokenRejected { .. } => Reason::TokenRejected,
        ApiError::PlanExcludesWebhooks { .. } => Reason::PlanExcludesWebhooks,
        ApiError::NotYet { .. } | ApiError::TooManyRequests { .. } => Reason::QuotaExhausted,
        ApiError::NotFound
        | ApiError::Unsupported { .. }
        | ApiError::Server { .. }
        | ApiError::Unreadable { .. }
        | ApiError::TimedOut { .. }
        | ApiError::Unreachable { .. } => match error.retry_class() {
            RetryClass::Transient { .. } => Reason::LinktreeUnavailable,
            RetryClass::Permanent => Reason::Rejected,
            RetryClass::Absent => Reason::Pending,
        },
    }
}

/// Adds `Ready`, and `Reconciling` or `Stalled` while one of them is true; never both (kstatus).
fn summarize(findings: &mut Vec<(ConditionType, Finding)>, busy: bool) {
    let ready = ready(findings);
    let paused = findings.iter().any(|(of, _)| *of == ConditionType::Stalled);
    // What the sinks do is no part of it: neither a failing sink nor paused forwarding makes the webhook fail.
    let stalled = findings
        .iter()
        .find(|(of, finding)| *of != ConditionType::Delivering && !finding.holds() && needs_a_person(finding.reason))
        .cloned();
    let unsettled =
        findings.iter().find(|(of, finding)| *of == ConditionType::UpToDate && finding.status == Status::False);
    let kstatus = match (stalled, unsettled) {
        (Some((_, finding)), _) => Some((ConditionType::Stalled, Finding { status: Status::True, ..finding })),
        (None, _) if !ready.holds() => {
            Some((ConditionType::Reconciling, Finding { status: Status::True, ..ready.clone() }))
        }
        (None, Some((_, finding))) if busy => {
            Some((ConditionType::Reconciling, Finding { status: Status::True, ..finding.clone() }))
        }
        (None, _) => None,
    };
    let kstatus = kstatus.filter(|_| !paused);
    findings.insert(0, (ConditionType::Ready, ready));
    findings.extend(kstatus);
}

fn ready(findings: &[(ConditionType, Finding)]) -> Finding {
    let get = |of: ConditionType| findings.iter().find(|(found, _)| *found == of).map(|(_, finding)| finding);
    // An account that cannot be used is the root cause only as long as nothing is registered.
    let registered = get(ConditionType::Registered).is_some_and(Finding::holds);
    let connection = get(ConditionType::ConnectionReady).filter(|finding| !registered && !finding.holds());
    let missing = READY_NEEDS.iter().find_map(|of| {
        let finding = get(*of)?;
        // No traffic yet is no reason to doubt the keys; nor is it one that somebody's own receiver has them elsewhere.
        let undoubted = *of == ConditionType::SignaturesVerified || finding.reason == Reason::SecretUnknown;
        let holds = finding.holds() || (undoubted && finding.status == Status::Unknown);
        (!holds).then_some(finding)
    });
    match connection.or(missing) {
        Some(finding) => {
            // What comes of it, and when.
            let at_risk = get(ConditionType::DeliveryAtRisk).filter(|risk| risk.holds());
            let next = at_risk.map(|risk| format!("; {}", risk.message)).unwrap_or_default();
            Finding { status: Status::False, message: format!("{}{next}", finding.message), ..finding.clone() }
        }
        None if get(ConditionType::ReceiverAvailable).is_none() => {
            Finding::new(true, Reason::Available, "Linktree sends, and your receiver answers at the url")
        }
        None => Finding::new(true, Reason::Available, "a signed event sent now is accepted and kept"),
    }
}

/// Reasons that stay until a person changes something.
fn needs_a_person(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ConnectionMissing
            | Reason::TokenMissing
            | Reason::TokenRejected
            | Reason::PlanExcludesWebhooks
            | Reason::Conflict
            | Reason::SubscriptionNotFound
            | Reason::RecoveryDisabled
            | Reason::ReenableUnsupported
            | Reason::NotExposed
            | Reason::GatewayApiMissing
            | Reason::Rejected
            | Reason::SecretMissing
            | Reason::KeysExpired
            | Reason::AwaitingProviderSecret
            | Reason::SecretMismatch
            | Reason::UpdateRestricted
            | Reason::Paused
            | Reason::InvalidSpec
    )
}

fn set(findings: &mut [(ConditionType, Finding)], of: ConditionType, finding: Finding) {
    if let Some((_, old)) = findings.iter_mut().find(|(found, _)| *found == of) {
        *old = finding;
    }
}

fn signing(route: &Route, observed: &Observed) -> SigningStatus {
    let active_key = match &observed.keys {
        Keys::Found { active, .. } => Some(active.clone()),
        Keys::CurrentMissing(_) | Keys::ProviderMissing(_) | Keys::Expired => None,
    };
    let last = observed.receiver.status.as_ref().map(|status| status.last_verified_key.clone());
    let known = observed.status.signing.as_ref().and_then(|signing| signing.last_verified_key.clone());
    SigningStatus { active_key, last_verified_key: last.unwrap_or(known), key_digests: key_digests(route) }
}

/// What the status says of each key.
#[must_use]
pub fn key_digests(route: &Route) -> BTreeMap<String, String> {
    route.keys.iter().map(|key| (key.name.clone(), keyed_digest(route, key.secret.expose()))).collect()
}

/// Whether the route Secret, which holds the admin token, is there. Before, each look makes a new token up, and what is
/// keyed by it would change with each look.
fn has_admin_token(observed: &Observed, steps: &[Step], outcome: &Outcome) -> bool {
    let failed = outcome.failures.iter().any(|failure| matches!(failure, Failure::Kubernetes { .. }));
    !observed.children_outdated.contains(&Child::RouteSecret)
        || (!failed && steps.contains(&Step::Apply(Child::RouteSecret)))
}

/// Keyed by the admin token, which is random and in the same Secret as the keys: who cannot read those cannot try
/// guesses against the digest.
fn keyed_digest(route: &Route, secret: &str) -> String {
    #[allow(clippy::expect_used, reason = "HMAC accepts keys of any length")]
    let mut mac =
        Hmac::<Sha256>::new_from_slice(route.admin_token.expose().as_bytes()).expect("HMAC accepts keys of any length");
    mac.update(secret.as_bytes());
    hex::encode(&mac.finalize().into_bytes()[..8])
}

/// The receiver's own word; without one, what was known before.
fn receiver(observed: &Observed) -> Option<ReceiverStatus> {
    let ready_replicas = i64::from(observed.receiver.pod.as_ref().is_some_and(|pod| pod.ready));
    let known = observed.status.receiver.clone().unwrap_or_default();
    Some(match &observed.receiver.status {
        None => ReceiverStatus { ready_replicas, ..known },
        Some(status) => ReceiverStatus {
            ready_replicas,
            last_received_time: status.last_received_time.and_then(time).or(known.last_received_time),
            last_verified_time: status.last_verified_time.and_then(time).or(known.last_verified_time),
            last_milestone_time: status
                .milestones
                .and_then(|milestones| time(milestones.last_time?))
                .or(known.last_milestone_time),
            backlog: count(status.backlog),
            last_hour: counts(status.last_hour),
        },
    })
}

fn sinks(observed: &Observed) -> Vec<SinkStatus> {
    let Some(status) = &observed.receiver.status else { return observed.status.sinks.clone() };
    status.sinks.iter().map(|of| sink(of, &observed.sinks_unresolved)).collect()
}

fn sink(sink: &route_status::SinkStatus, unresolved: &[Unresolved]) -> SinkStatus {
    let state = if unresolved.iter().any(|unresolved| unresolved.sink == sink.name) {
        SinkState::Unresolved
    } else if sink.consecutive_failures >= FAILURES {
        SinkState::Failing
    } else {
        SinkState::Healthy
    };
    SinkStatus {
        name: sink.name.clone(),
        state,
        last_failure: sink.last_failure.clone(),
        last_success_time: sink.last_success_time.and_then(time),
        consecutive_failures: count(sink.consecutive_failures),
        backlog: count(sink.backlog),
        dead_lettered: count(sink.dead_lettered),
    }
}

fn counts(tally: Tally) -> DeliveryCounts {
    let Tally {
        verified,
        duplicate,
        conflict,
        rejected_missing_header,
        rejected_signature,
        rejected_stale,
        unavailable,
        forwarded,
        dead_lettered,
    } = tally;
    DeliveryCounts {
        verified: count(verified),
        duplicate: count(duplicate),
        conflict: count(conflict),
        rejected_missing_header: count(rejected_missing_header),
        rejected_signature: count(rejected_signature),
        rejected_stale: count(rejected_stale),
        unavailable: count(unavailable),
        forwarded: count(forwarded),
        dead_lettered: count(dead_lettered),
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn time(second: i64) -> Option<Time> {
    Timestamp::from_second(second).ok().map(Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_changes_with_the_key_and_cannot_be_tried_without_the_admin_token() {
        let route = crate::route::tests::route();
        let other =
            Route { admin_token: crate::linktree::secret::Secret::new("other"), ..crate::route::tests::route() };
        let digest = keyed_digest(&route, "s3cret");
        assert_eq!(digest, keyed_digest(&route, "s3cret"));
        assert_ne!(digest, keyed_digest(&route, "s3cret2"));
        assert_ne!(digest, keyed_digest(&other, "s3cret"));
    }
}
