//! Bounds the times that are read from objects. A time of the past that lies in the future was written by another clock,
//! or by hand, and would hold up what waits for it until then, perhaps for thousands of years. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::webhook_status::LinktreeWebhookStatus;

/// How far the clocks of two operators may differ, with the hour for which a previous signing secret is accepted.
const TOLERANCE: SignedDuration = SignedDuration::from_hours(2);

/// Whether an operator may have written this time.
pub(super) fn is_plausible(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) <= TOLERANCE
}

/// The status, with `now` in place of each time that lies too far in the future. Linktree's times are as it reports them,
/// and a forecast may lie anywhere.
pub(super) fn bounded(mut status: LinktreeWebhookStatus, now: Timestamp) -> LinktreeWebhookStatus {
    let bound = |time: &mut Time| {
        if !is_plausible(time.0, now) {
            *time = Time(crate::operator::kubernetes::conditions::whole_seconds(now));
        }
    };
    if let Some(subscription) = &mut status.subscription {
        subscription.registration_time.iter_mut().for_each(bound);
        if let Some(recovery) = &mut subscription.recovery {
            bound(&mut recovery.last_attempt_time);
            bound(&mut recovery.day_start_time);
        }
    }
    if let Some(awaited) = &mut status.awaited_milestones {
        bound(&mut awaited.since_time);
        awaited.reported_time.iter_mut().for_each(bound);
    }
    for gap in &mut status.gaps {
        bound(&mut gap.start_time);
        gap.end_time.iter_mut().for_each(bound);
    }
    if let Some(journal) = status.receiver.as_mut().and_then(|receiver| receiver.journal.as_mut()) {
        journal.forecast.iter_mut().for_each(|forecast| bound(&mut forecast.time));
    }
    status.conditions.iter_mut().for_each(|condition| bound(&mut condition.last_transition_time));
    status
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_of_the_past_is_not_far_in_the_future() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (written, read) in [
            ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
            ("2026-01-01T01:00:00Z", "2026-01-01T01:00:00Z"),
            ("2026-01-01T02:00:01Z", "2026-01-01T00:00:00Z"),
            ("9999-12-30T22:00:00Z", "2026-01-01T00:00:00Z"),
            ("-009999-01-02T01:59:59Z", "-9999-01-02T01:59:59Z"),
        ] {
            let recovery = json!({
                "lastAttemptTime": written, "dayStartTime": written, "attempts": 1, "attemptsToday": 1,
                "lastResult": "Failed",
            });
            let status: LinktreeWebhookStatus = serde_json::from_value(json!({
                "subscription": {"state": "Registering", "registrationTime": written, "recovery": recovery},
                "awaitedMilestones": {"sinceTime": written, "reportedTime": written},
                "gaps": [{"reason": "EventsDropped", "startTime": written, "endTime": written}],
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "Available", "message": "",
                    "lastTransitionTime": written,
                }],
            }))
            .unwrap();
            let text = serde_json::to_string(&bounded(status, now)).unwrap();
            let times = text.matches(&format!("\"{read}\"")).count();
            assert_eq!(times, 8, "{written}: {text}");
        }
    }
}
