//! Parts of `status.subscription` that several stages write.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::webhook_status::{RecoveryResult, RecoveryStatus, SubscriptionState, SubscriptionStatus},
    operator::kubernetes::conditions,
};

/// The period over which `recovery.maxAttemptsPerDay` is counted.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

/// `status.subscription` of a registration that was started at `begun` and is not confirmed yet.
pub fn registering(begun: Option<Time>) -> SubscriptionStatus {
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

/// `status.subscription` once a list has shown that a registration had no effect, or Linktree has rejected it. The start
/// of the registration stays, since the request budget counts it.
pub fn absent(begun: Option<Time>) -> SubscriptionStatus {
    SubscriptionStatus { state: SubscriptionState::Absent, ..registering(begun) }
}

/// The start of the registration whose result is not known; `None` if there is none.
pub fn intent(subscription: &SubscriptionStatus) -> Option<Timestamp> {
    let is_open = subscription.id.is_none() && subscription.state == SubscriptionState::Registering;
    subscription.registration_time.as_ref().filter(|_| is_open).map(|begun| begun.0)
}

/// The recovery record after another attempt to re-enable the subscription.
pub fn attempted(record: Option<RecoveryStatus>, succeeded: bool, now: Timestamp) -> RecoveryStatus {
    let at = Time(conditions::whole_seconds(now));
    let (attempts, day_start_time, attempts_today) = match record {
        None => (0, at.clone(), 0),
        Some(record) if now.duration_since(record.day_start_time.0) >= DAY => (record.attempts, at.clone(), 0),
        Some(record) => (record.attempts, record.day_start_time, record.attempts_today),
    };
    RecoveryStatus {
        last_attempt_time: at,
        last_result: if succeeded { RecoveryResult::Succeeded } else { RecoveryResult::Failed },
        attempts: attempts.saturating_add(1),
        day_start_time,
        attempts_today: attempts_today.saturating_add(1),
        next_attempt_time: None,
    }
}
