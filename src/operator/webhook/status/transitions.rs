//! The Kubernetes Events to publish for a status change.
//!
//! Pure: an Event results from the difference between two statuses, so each is published once.

use super::{
    notice::{Notice, warning},
    sink_notices,
};
use crate::{
    api::{
        condition::{ConditionType, Reason},
        webhook_status::{AwaitedMilestones, LinktreeWebhookStatus, SubscriptionState},
    },
    operator::kubernetes::conditions,
};

/// The Events to publish when the status changes from `previous` to `next`.
#[must_use]
pub fn between(previous: &LinktreeWebhookStatus, next: &LinktreeWebhookStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    let state = |status: &LinktreeWebhookStatus| status.subscription.as_ref().map(|subscription| subscription.state);
    if state(next) == Some(SubscriptionState::Disabled) && state(previous) != Some(SubscriptionState::Disabled) {
        notices.push(warning("Disabled", message(next, ConditionType::DeliveryAtRisk)));
    }
    let became = |condition_type: ConditionType, reason: Reason| {
        conditions::has_reason(&next.conditions, condition_type, reason)
            && !conditions::has_reason(&previous.conditions, condition_type, reason)
    };
    if became(ConditionType::EndpointReachable, Reason::CertificateExpiring) {
        notices.push(warning("CertificateExpiring", message(next, ConditionType::EndpointReachable)));
    }
    if became(ConditionType::SignaturesVerified, Reason::SecretMismatch) {
        notices.push(warning("SecretMismatch", message(next, ConditionType::SignaturesVerified)));
    }
    if became(ConditionType::SignaturesVerified, Reason::DeliveryIDConflict) {
        notices.push(warning("DeliveryIDConflict", message(next, ConditionType::SignaturesVerified)));
    }
    let deferred =
        [Reason::WaitingForHealth, Reason::SecretMismatch, Reason::ReenableBackoff, Reason::ReenableBudgetExhausted];
    if deferred.into_iter().any(|reason| became(ConditionType::SubscriptionEnabled, reason)) {
        notices.push(warning("ReenableDeferred", message(next, ConditionType::SubscriptionEnabled)));
    }
    if let Some(awaited) = next.awaited_milestones.as_ref().filter(|next| next.reported_time.is_some())
        && previous.awaited_milestones.as_ref().is_none_or(|previous| previous.reported_time.is_none())
    {
        notices.push(warning("NoMilestonesSeen", no_milestones_since(awaited)));
    }
    let ended_gaps = next.gaps.iter().filter(|gap| gap.end_time.is_some() && !previous.gaps.contains(gap));
    notices.extend(ended_gaps.filter_map(|gap| {
        let end = gap.end_time.as_ref()?;
        Some(warning("GapDetected", format!("events between {} and {} may be lost", gap.start_time.0, end.0)))
    }));
    notices.extend(sink_notices::between(&previous.sinks, &next.sinks));
    notices
}

fn no_milestones_since(awaited: &AwaitedMilestones) -> String {
    let since = awaited.since_time.0;
    format!("no milestone has arrived since {since}: set thresholds in Linktree's dashboard under Analytics")
}

fn message(status: &LinktreeWebhookStatus, condition_type: ConditionType) -> String {
    conditions::find(&status.conditions, condition_type).map(|condition| condition.message.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::{
        api::webhook_status::{Gap, GapReason, SubscriptionStatus},
        operator::{kubernetes::conditions::Finding, webhook::subscription_record::registering},
    };

    fn status(state: SubscriptionState, enabled: Reason, gap: Option<Gap>) -> LinktreeWebhookStatus {
        let findings = [(ConditionType::SubscriptionEnabled, Finding::new(false, enabled, "why"))];
        LinktreeWebhookStatus {
            subscription: Some(SubscriptionStatus { state, ..registering(None) }),
            gaps: gap.into_iter().collect(),
            conditions: conditions::render(&findings, &[], None, Timestamp::UNIX_EPOCH),
            ..LinktreeWebhookStatus::default()
        }
    }

    fn reasons(previous: &LinktreeWebhookStatus, next: &LinktreeWebhookStatus) -> Vec<&'static str> {
        between(previous, next).into_iter().map(|notice| notice.reason).collect()
    }

    #[test]
    fn a_reused_delivery_id_is_reported_once() {
        let with = |reason| {
            let findings = [(ConditionType::SignaturesVerified, Finding::new(true, reason, "why"))];
            let conditions = conditions::render(&findings, &[], None, Timestamp::UNIX_EPOCH);
            LinktreeWebhookStatus { conditions, ..LinktreeWebhookStatus::default() }
        };
        let (before, reused) = (with(Reason::Verified), with(Reason::DeliveryIDConflict));
        assert_eq!(reasons(&before, &reused), ["DeliveryIDConflict"]);
        assert_eq!(reasons(&reused, &reused), [""; 0]);
    }

    #[test]
    fn missing_milestones_are_reported_once() {
        let epoch = || Time(Timestamp::UNIX_EPOCH);
        let awaiting = |reported: Option<Time>| LinktreeWebhookStatus {
            awaited_milestones: Some(AwaitedMilestones { since_time: epoch(), reported_time: reported }),
            ..LinktreeWebhookStatus::default()
        };
        let (waiting, reported) = (awaiting(None), awaiting(Some(epoch())));
        assert_eq!(reasons(&LinktreeWebhookStatus::default(), &waiting), [""; 0]);
        assert_eq!(reasons(&waiting, &waiting), [""; 0]);
        assert_eq!(reasons(&waiting, &reported), ["NoMilestonesSeen"]);
        assert_eq!(reasons(&reported, &reported), [""; 0]);
        assert_eq!(reasons(&reported, &LinktreeWebhookStatus::default()), [""; 0], "a milestone arrived");
        let note = between(&waiting, &reported).remove(0).note;
        assert!(note.contains("no milestone has arrived since 1970-01-01T00:00:00Z"), "{note}");
    }

    #[test]
    fn each_transition_is_reported_once() {
        let epoch = || Time(Timestamp::UNIX_EPOCH);
        let gap = |end| Gap { start_time: epoch(), end_time: end, reason: GapReason::SubscriptionDisabled };
        let enabled = status(SubscriptionState::Enabled, Reason::Enabled, None);
        let disabled = status(SubscriptionState::Disabled, Reason::WaitingForHealth, Some(gap(None)));
        let back = status(SubscriptionState::Enabled, Reason::Enabled, Some(gap(Some(epoch()))));
        assert_eq!(reasons(&enabled, &disabled), ["Disabled", "ReenableDeferred"]);
        assert_eq!(reasons(&disabled, &disabled), [""; 0]);
        assert_eq!(reasons(&disabled, &back), ["GapDetected"]);
        assert_eq!(reasons(&back, &back), [""; 0]);
    }
}
