//! The recovery rule: re-enables a disabled subscription, only while its receiver is proven healthy.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::outcome::Health;
use crate::{
    api::{condition::Reason, subscription::RecoveryPolicy, webhook_status::RecoveryStatus},
    linktree::wire,
    operator::{
        account::capabilities::Capabilities,
        kubernetes::conditions::{self, Finding},
        webhook::{
            decide::mismatch::mismatch,
            observed::Observed,
            plan::Step,
            spec::{Endpoint, Recovery, Spec},
            subscription_record::DAY,
        },
    },
};

/// Longest cooldown between two attempts to re-enable a subscription; it doubles with each attempt up to this.
const COOLDOWN_MAX: SignedDuration = SignedDuration::from_hours(24);

/// The result of the recovery rule.
pub(super) struct Decision {
    /// The finding for `SubscriptionEnabled`.
    pub(super) enabled: Finding,
    /// The record of earlier attempts, for the status.
    pub(super) record: Option<RecoveryStatus>,
    /// The step that makes the next attempt, if one is due now.
    pub(super) step: Option<Step>,
}

/// Decides whether to re-enable the subscription now.
pub(super) fn decide(
    spec: &Spec,
    observed: &Observed,
    known: &wire::Subscription,
    capabilities: Capabilities,
    health: &Health<'_>,
    now: Timestamp,
) -> Decision {
    let mut record = current_record(spec, observed, known, now);
    let enabled = match known.status {
        Some(wire::SubscriptionStatus::Active) => Some(Finding::new(true, Reason::Enabled, "Linktree sends events")),
        None => Some(Finding::new(true, Reason::Enabled, "Linktree does not report the subscription as disabled")),
        Some(wire::SubscriptionStatus::Disabled) => None,
    };
    if let Some(enabled) = enabled {
        return Decision { enabled, record, step: None };
    }
    let next = record.as_ref().map(|record| next_attempt(&spec.policies.recovery, record, now));
    let since = known.disabled_at.and_then(|second| Timestamp::from_second(second).ok());
    let recorded = || Some(observed.status.subscription.as_ref()?.disabled_time.as_ref()?.0);
    let mismatch = mismatch(spec, observed, since.or_else(recorded));
    let problem = first_problem(observed, health, mismatch);
    let finding = disabled_finding(&spec.policies.recovery, known, capabilities, problem, next, now);
    if let Some(record) = &mut record {
        let upcoming = next.map(|(at, _)| at).filter(|at| *at > now);
        record.next_attempt_time = upcoming.map(|at| Time(conditions::whole_seconds(at)));
    }
    let step = (finding.reason == Reason::DisabledByProvider).then(|| {
        if capabilities.lacks_reenable() {
            // If Linktree's API cannot re-enable the subscription, it is deleted, and a later reconciliation creates
            // another.
            Step::Unsubscribe { id: known.id.clone() }
        } else {
            Step::Reenable { id: known.id.clone() }
        }
    });
    Decision { enabled: finding, record, step }
}

/// Text of Linktree's in double quotes, on one line: control characters are escaped, apostrophes are not.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug().to_string().replace("\\'", "'"))
}

/// The finding about a disabled subscription. Its reason is [`Reason::DisabledByProvider`] only if an attempt is due
/// now.
fn disabled_finding(
    recovery: &Recovery,
    known: &wire::Subscription,
    capabilities: Capabilities,
    problem: Option<Finding>,
    next: Option<(Timestamp, Reason)>,
    now: Timestamp,
) -> Finding {
    let cause = known.disabled_reason.as_deref().map(|reason| format!(" ({})", quoted(reason)));
    let state = format!("Linktree disabled the subscription{}", cause.unwrap_or_default());
    match recovery.policy {
        RecoveryPolicy::Never => {
            let message =
                format!("{state}, and recovery.policy is Never: enable it in the dashboard, or set WhenHealthy");
            return Finding::new(false, Reason::RecoveryDisabled, message);
        }
        RecoveryPolicy::WhenHealthy => {}
    }
    if capabilities.lacks_reenable() && capabilities.lacks_delete() {
        let message = format!("{state}, and Linktree's API cannot re-enable it: enable it in the dashboard");
        return Finding::new(false, Reason::ReenableUnsupported, message);
    }
    if let Some(problem) = problem {
        let message = format!("{state}; it is re-enabled once this is fixed: {}", problem.message);
        let reason = if problem.reason == Reason::SecretMismatch { problem.reason } else { Reason::WaitingForHealth };
        return Finding::new(false, reason, message);
    }
    match next.filter(|(at, _)| *at > now) {
        Some((at, reason)) => {
            let message =
                format!("{state} again; the next attempt to re-enable it is at {}", conditions::whole_seconds(at));
            Finding::new(false, reason, message)
        }
        None => Finding::new(false, Reason::DisabledByProvider, format!("{state}; re-enabling it")),
    }
}

/// The first problem that would make a delivery fail now. With it, Linktree would soon disable the subscription again.
fn first_problem(observed: &Observed, health: &Health<'_>, mismatch: Option<Finding>) -> Option<Finding> {
    if let Some(problem) = health.first_problem() {
        return Some(problem.clone());
    }
    let loaded = observed.receiver.status.as_ref().is_none_or(|status| status.route_digest == observed.route_digest);
    let not_loaded = || Finding::new(false, Reason::Pending, "the receiver has not loaded its newest signing keys yet");
    mismatch.or_else(|| (!loaded).then(not_loaded))
}

/// The record of attempts in the status. It is dropped once the subscription is enabled and a delivery has been
/// verified after the last attempt.
///
/// Deliveries to an external receiver cannot be observed: its record is dropped a day after the last attempt.
fn current_record(
    spec: &Spec,
    observed: &Observed,
    known: &wire::Subscription,
    now: Timestamp,
) -> Option<RecoveryStatus> {
    let record = observed.status.subscription.as_ref()?.recovery.clone()?;
    let attempted = record.last_attempt_time.0;
    let last_verified = observed.receiver.status.as_ref().and_then(|status| status.last_verified_time);
    let succeeded = match spec.endpoint {
        Endpoint::Managed(_) => last_verified.is_some_and(|second| second > attempted.as_second()),
        Endpoint::External => now.duration_since(attempted) >= DAY,
    };
    let disabled = known.status == Some(wire::SubscriptionStatus::Disabled);
    (disabled || !succeeded).then_some(RecoveryStatus { next_attempt_time: None, ..record })
}

/// The earliest time of the next attempt, and the condition reason until then.
fn next_attempt(recovery: &Recovery, record: &RecoveryStatus, now: Timestamp) -> (Timestamp, Reason) {
    let doublings = u32::try_from(record.attempts.saturating_sub(1).clamp(0, 16)).unwrap_or(0);
    let cooldown = recovery.cooldown.saturating_mul(1_i32 << doublings).min(COOLDOWN_MAX);
    let cooled = record.last_attempt_time.0.saturating_add(cooldown).unwrap_or(Timestamp::MAX);
    let day_ends = record.day_start_time.0.saturating_add(DAY).unwrap_or(Timestamp::MAX);
    if record.attempts_today >= recovery.max_attempts_per_day && now < day_ends && cooled < day_ends {
        (day_ends, Reason::ReenableBudgetExhausted)
    } else {
        (cooled, Reason::ReenableBackoff)
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_reason_of_linktrees_stays_readable_and_on_one_line() {
        assert_eq!(quoted("it didn't answer"), "\"it didn't answer\"");
        assert_eq!(quoted("a \"b\"\nc"), "\"a \\\"b\\\"\\nc\"");
    }
}
