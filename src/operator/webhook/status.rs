//! The status of a webhook, computed from its plan and the results of the steps, with `Ready` and the kstatus
//! conditions.
//!
//! Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    observed::Observed,
    outcome::{Begun, Outcome},
    plan::{HandledRedrive, Plan},
    spec::InvalidSpec,
    subscription_record::{absent, attempted, registering},
};
use crate::{
    api::{
        condition::{ConditionType, Reason},
        webhook_status::{
            Address, LinktreeWebhookStatus, RedriveResult, RedriveStatus, SubscriptionState, SubscriptionStatus,
        },
    },
    operator::kubernetes::conditions::{self, Finding},
    route::Route,
};

pub mod diff;
mod endpoint;
mod failure;
pub mod gaps;
pub mod knative;
pub mod notice;
mod receiver;
mod signing;
mod sink_notices;
mod summary;
pub mod transitions;

/// The input from which a webhook's status is computed.
pub struct Report<'a> {
    pub generation: Option<i64>,
    pub url: &'a str,
    /// The bundled receiver's route; `None` for an external receiver.
    pub route: Option<&'a Route>,
    pub observed: &'a Observed,
    pub plan: Plan,
    pub outcome: &'a Outcome,
    pub hold_until: Option<Timestamp>,
    pub now: Timestamp,
}

impl Report<'_> {
    /// The status to write.
    #[must_use]
    pub fn status(self) -> LinktreeWebhookStatus {
        let Report { generation, url, route, observed, plan, outcome, hold_until, now } = self;
        let previous = &observed.status;
        let Plan {
            steps,
            mut findings,
            mut subscription,
            mut account,
            awaited_milestones,
            journal_forecast,
            handled_sync_request,
            rejected_redrive,
            requeue: _,
            rests: _,
        } = plan;
        let reachable = findings
            .iter()
            .any(|(condition_type, it)| *condition_type == ConditionType::EndpointReachable && it.holds());
        for failure in &outcome.failures {
            failure::apply(failure, hold_until, now, &mut findings);
        }
        if let Some(begun) = &outcome.begun {
            (subscription, account) = (Some(begun_subscription(begun)), begun.account.clone());
        }
        if let Some(id) = &outcome.registered {
            failure::set(
                &mut findings,
                ConditionType::Registered,
                Finding::new(true, Reason::Created, format!("the operator created subscription {id}")),
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
        summary::summarize(&mut findings, !steps.is_empty());
        let sinks = route.map(|_| receiver::sinks(observed, now)).unwrap_or_default();
        let redrive = rejected_redrive.as_ref().or(outcome.redriven.as_ref());
        let has_admin_token = signing::has_admin_token(observed, &steps, outcome);
        LinktreeWebhookStatus {
            observed_generation: generation,
            last_handled_rotate_secret_request: outcome
                .rotated
                .clone()
                .or_else(|| previous.last_handled_rotate_secret_request.clone()),
            last_handled_sync_request: handled_sync_request.or_else(|| previous.last_handled_sync_request.clone()),
            last_handled_redrive_request: redrive
                .map(|redrive| redrive.request.clone())
                .or_else(|| previous.last_handled_redrive_request.clone()),
            last_redrive: redrive.map(redriven).or_else(|| previous.last_redrive.clone()),
            address: Some(Address { url: url.to_owned() }),
            account,
            sink_uri: previous.sink_uri.clone(),
            ce_attributes: previous.ce_attributes.clone(),
            gaps: gaps::update(&previous.gaps, subscription.as_ref(), (&previous.sinks, &sinks), now),
            subscription,
            awaited_milestones,
            signing: route.and_then(|route| {
                if has_admin_token { Some(signing::status(route, observed)) } else { previous.signing.clone() }
            }),
            endpoint: endpoint::status(observed, reachable),
            receiver: route.and_then(|_| receiver::status(observed, journal_forecast)),
            sinks,
            removed_sinks: route.map(|_| receiver::removed_sinks(observed)).unwrap_or_default(),
            conditions: conditions::render(&findings, &previous.conditions, generation, now),
        }
    }
}

/// `status.subscription` after a registration was begun, and has not created a subscription so far.
fn begun_subscription(begun: &Begun) -> SubscriptionStatus {
    let at = Some(Time(begun.at));
    if begun.is_void { absent(at) } else { registering(at) }
}

fn redriven(HandledRedrive { request: _, result }: &HandledRedrive) -> RedriveStatus {
    match result {
        Ok(matched) => RedriveStatus {
            result: RedriveResult::Accepted,
            matched: Some(i64::try_from(*matched).unwrap_or(i64::MAX)),
            message: None,
        },
        Err(problem) => {
            RedriveStatus { result: RedriveResult::Rejected, matched: None, message: Some(problem.clone()) }
        }
    }
}

/// The status of a webhook with an invalid spec: the previous one with other conditions.
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

/// The status of a webhook that is being deleted: the previous one with other conditions.
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
        let (message, _) = failure::describe(failure, hold_until, now);
        findings
            .iter_mut()
            .for_each(|(_, finding)| finding.message = format!("{} (last attempt: {message})", finding.message));
    }
    LinktreeWebhookStatus {
        observed_generation: generation,
        conditions: conditions::render(&findings, &previous.conditions, generation, now),
        ..previous.clone()
    }
}
