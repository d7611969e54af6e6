//! The Kubernetes Events to publish for a status change.
//!
//! Pure: an Event results from the difference between two statuses, so each is published once.

use super::{
    diff::has_forecast,
    gaps,
    notice::{Notice, normal, warning},
    sink_notices,
};
use crate::{
    api::{
        condition::{ConditionType, Reason},
        webhook_status::{
            AwaitedMilestones, GapReason, LinktreeWebhookStatus, RedriveResult, RedriveStatus, SubscriptionState,
        },
    },
    operator::kubernetes::conditions,
};

/// The reasons that are published as an Event of their name when a condition begins to have them.
const NOTED: [(ConditionType, Reason); 4] = [
    (ConditionType::Registered, Reason::AccountChanged),
    (ConditionType::EndpointReachable, Reason::CertificateExpiring),
    (ConditionType::SignaturesVerified, Reason::SecretMismatch),
    (ConditionType::SignaturesVerified, Reason::DeliveryIDConflict),
];

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
    let reported = NOTED.iter().filter(|(condition_type, reason)| became(*condition_type, *reason));
    notices.extend(reported.map(|(of, reason)| warning(reason.as_str(), message(next, *of))));
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
    if has_forecast(next) && !has_forecast(previous) {
        let known =
            conditions::has_reason(&next.conditions, ConditionType::DeliveryAtRisk, Reason::BacklogFillsJournal);
        let note = if known {
            message(next, ConditionType::DeliveryAtRisk)
        } else {
            "undelivered events fill the journal: see status.receiver.journal.forecast".to_owned()
        };
        notices.push(warning("BacklogFillsJournal", note));
    }
    if let (Some(request), Some(redrive)) = (&next.last_handled_redrive_request, &next.last_redrive)
        && previous.last_handled_redrive_request.as_ref() != Some(request)
    {
        notices.push(redriven(request, redrive));
    }
    let began = next.gaps.iter().filter(|gap| gap.end_time.is_none() && !previous.gaps.contains(gap));
    notices.extend(began.filter(|gap| gap.reason == GapReason::EventsDropped).map(|_| {
        let sinks: Vec<_> = gaps::dropping(&previous.sinks, &next.sinks).collect();
        let note = format!(
            "the journal is full, and the dead letters and oldest events of these sinks are given up \
             (backlogPolicy: DropOldest): {}; see dropped in status.sinks",
            sinks.join(", ")
        );
        warning("EventsDropped", note)
    }));
    let ended_gaps = next.gaps.iter().filter(|gap| gap.end_time.is_some() && !previous.gaps.contains(gap));
    notices.extend(ended_gaps.filter_map(|gap| {
        let end = gap.end_time.as_ref()?;
        let interval = format!("between {} and {}", gap.start_time.0, end.0);
        Some(match gap.reason {
            GapReason::SubscriptionDisabled => warning("GapDetected", format!("events {interval} may be lost")),
            GapReason::EventsDropped => warning(
                "GapDetected",
                format!("undelivered events were given up {interval}, see dropped in status.sinks"),
            ),
        })
    }));
    notices.extend(sink_notices::between(&previous.sinks, &next.sinks));
    notices.extend(sink_notices::of_removed(&previous.removed_sinks, &next.removed_sinks));
    notices
}

fn redriven(request: &str, RedriveStatus { result, matched, message }: &RedriveStatus) -> Notice {
    match result {
        RedriveResult::Accepted => {
            let matched = matched.unwrap_or_default();
            normal("RedriveAccepted", format!("dead letters that are sent again for request {request:?}: {matched}"))
        }
        RedriveResult::Rejected => {
            let message = message.as_deref().unwrap_or_default();
            warning("RedriveRejected", format!("request {request:?} to send dead letters again is rejected: {message}"))
        }
    }
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
        api::{
            journal_status::{JournalForecast, JournalStatus},
            sink_status::SinkStatus,
            webhook_status::{Gap, ReceiverStatus, SubscriptionStatus},
        },
        operator::{
            kubernetes::conditions::Finding,
            webhook::{status::sink_notices::tests::sink, subscription_record::registering},
        },
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
    fn a_forecast_of_a_full_journal_and_given_up_events_are_reported_once() {
        let epoch = || Time(Timestamp::UNIX_EPOCH);
        let quiet = LinktreeWebhookStatus { sinks: vec![sink()], ..LinktreeWebhookStatus::default() };
        let forecast = Some(JournalForecast { time: epoch(), full_time: Some(epoch()), sink: Some("cms".into()) });
        let journal = Some(JournalStatus { forecast, ..JournalStatus::default() });
        let receiver = Some(ReceiverStatus { journal, ..ReceiverStatus::default() });
        let fills = LinktreeWebhookStatus { receiver, ..quiet.clone() };
        assert_eq!(reasons(&quiet, &fills), ["BacklogFillsJournal"]);
        assert_eq!(reasons(&fills, &fills), [""; 0]);
        assert_eq!(reasons(&fills, &quiet), [""; 0]);

        let gap = Gap { start_time: epoch(), end_time: None, reason: GapReason::EventsDropped };
        let sinks = vec![SinkStatus { dropped: 7, last_drop_time: Some(epoch()), ..sink() }];
        let drops = LinktreeWebhookStatus { sinks, gaps: vec![gap.clone()], ..quiet.clone() };
        let notice = between(&quiet, &drops).remove(0);
        assert_eq!(notice.reason, "EventsDropped");
        assert!(notice.note.contains("(backlogPolicy: DropOldest): cms;"), "{}", notice.note);
        assert_eq!(reasons(&drops, &drops), [""; 0]);
        let closed = LinktreeWebhookStatus { gaps: vec![Gap { end_time: Some(epoch()), ..gap }], ..drops.clone() };
        assert_eq!(reasons(&drops, &closed), ["GapDetected"]);
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
