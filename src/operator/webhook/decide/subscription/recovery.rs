//! Bringing a disabled subscription back, when and only when what receives its deliveries is proven healthy.

use jiff::{SignedDuration, Timestamp};

use super::Health;
use crate::{
    api::{
        condition::Reason,
        webhook_status::{RecoveryStatus, SubscriptionStatus},
    },
    linktree::wire,
    operator::{
        conditions::{self, Finding},
        webhook::{observed::Observed, plan::Step},
    },
};

/// How long after an attempt the next may come; doubles with each attempt that did not lead to a delivery.
const COOLDOWN: SignedDuration = SignedDuration::from_mins(15);
const COOLDOWN_MAX: SignedDuration = SignedDuration::from_hours(6);

/// The record of attempts, until a delivery has arrived since the last one.
pub(super) fn kept(
    previous: Option<&SubscriptionStatus>,
    known: &wire::Subscription,
    observed: &Observed,
) -> Option<RecoveryStatus> {
    let record = previous?.recovery.clone()?;
    let last_verified = observed.receiver.status.as_ref().and_then(|status| status.last_verified_time);
    let delivered = last_verified.is_some_and(|second| second > record.last_attempt_time.0.as_second());
    let disabled = known.status == Some(wire::SubscriptionStatus::Disabled);
    (disabled || !delivered).then_some(record)
}

pub(super) fn decide(
    known: &wire::Subscription,
    record: Option<&RecoveryStatus>,
    update_unsupported: bool,
    health: &Health<'_>,
    now: Timestamp,
    steps: &mut Vec<Step>,
) -> Finding {
    match known.status {
        Some(wire::SubscriptionStatus::Active) => return Finding::new(true, Reason::Enabled, "Linktree sends"),
        None => return Finding::new(true, Reason::Enabled, "Linktree does not say that it does not send"),
        Some(wire::SubscriptionStatus::Disabled) => {}
    }
    let why = known.disabled_reason.as_deref().map(|reason| format!(" ({reason:?})")).unwrap_or_default();
    if let Some(ill) = [health.receiver, health.endpoint, health.keys].into_iter().find(|finding| !finding.holds()) {
        let message = format!(
            "Linktree disabled the subscription{why}; it is enabled again once this is mended: {}",
            ill.message
        );
        return Finding::new(false, Reason::WaitingForHealth, message);
    }
    if let Some(next) = record.map(next_attempt).filter(|next| *next > now) {
        let message = format!(
            "Linktree disabled the subscription{why} again; the next attempt to enable it is at {}",
            conditions::whole_seconds(next)
        );
        return Finding::new(false, Reason::ReenableBackoff, message);
    }
    steps.push(if update_unsupported {
        // Without PATCH the way back is a new registration, which follows when this one is gone.
        Step::Unsubscribe { id: known.id.clone() }
    } else {
        Step::Reenable { id: known.id.clone() }
    });
    Finding::new(
        false,
        Reason::DisabledByProvider,
        format!("Linktree disabled the subscription{why}; enabling it again"),
    )
}

fn next_attempt(record: &RecoveryStatus) -> Timestamp {
    let doublings = u32::try_from(record.attempts.saturating_sub(1).clamp(0, 16)).unwrap_or(0);
    let cooldown = COOLDOWN.saturating_mul(1 << doublings).min(COOLDOWN_MAX);
    record.last_attempt_time.0.saturating_add(cooldown).unwrap_or(Timestamp::MAX)
}

/// The record after one more attempt.
pub(in crate::operator::webhook) fn attempted(record: Option<RecoveryStatus>, now: Timestamp) -> RecoveryStatus {
    RecoveryStatus {
        last_attempt_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(conditions::whole_seconds(now)),
        attempts: record.map_or(0, |record| record.attempts).saturating_add(1),
    }
}
