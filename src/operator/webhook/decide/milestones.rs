//! How long a webhook has waited for milestone events: it subscribes to them, but none has arrived.
//!
//! Nothing else shows that no thresholds for milestones are set in Linktree's dashboard.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::subscription::lacks;
use crate::{
    api::webhook_status::{AwaitedMilestones, SubscriptionState, SubscriptionStatus},
    linktree::event::EventType,
    operator::{
        kubernetes::conditions::{Finding, Status, whole_seconds},
        webhook::{
            observed::Observed,
            spec::{Endpoint, Spec},
        },
    },
};

/// Time without a milestone after which the status reports that none arrives.
const REPORT_AFTER: SignedDuration = SignedDuration::from_hours(14 * 24);

/// When the wait for milestones started, and when it was reported; `None` if the webhook expects none or one has
/// arrived.
///
/// A wait is reported once; the record stays until the spec no longer contains the event or a milestone arrives. An
/// unreported wait restarts if Linktree stops sending milestones. While the receiver's status lacks the time of the
/// last milestone, the record stays the same.
pub(super) fn awaited(
    spec: &Spec,
    observed: &Observed,
    subscription: Option<&SubscriptionStatus>,
    verified: &Finding,
    now: Timestamp,
) -> Option<AwaitedMilestones> {
    let known = observed.status.awaited_milestones.clone();
    let reported = observed.receiver.status.as_ref().and_then(|status| status.milestones);
    let previous = observed.status.receiver.as_ref().and_then(|receiver| receiver.last_milestone_time.as_ref());
    let arrived = previous.is_some() || reported.is_some_and(|reported| reported.last_time.is_some());
    if !wants_milestones(spec) || arrived {
        return None;
    }
    if known.as_ref().is_some_and(|known| known.reported_time.is_some()) {
        return known;
    }
    if !sends(subscription?) {
        return None;
    }
    if reported.is_none() {
        return known;
    }
    let now = whole_seconds(now);
    let since = known.map_or(now, |known| known.since_time.0);
    // Not while deliveries are rejected for their signatures: one of them may have been a milestone.
    let overdue = now.duration_since(since) >= REPORT_AFTER && verified.status != Status::False;
    Some(AwaitedMilestones { since_time: Time(since), reported_time: overdue.then_some(Time(now)) })
}

/// Whether the webhook expects milestones, and could observe that they arrive.
///
/// The operator cannot observe deliveries to an external receiver.
fn wants_milestones(spec: &Spec) -> bool {
    matches!(spec.endpoint, Endpoint::Managed(_)) && spec.events.contains(&EventType::AnalyticsMilestone)
}

fn sends(subscription: &SubscriptionStatus) -> bool {
    subscription.state == SubscriptionState::Enabled && !lacks(subscription, &EventType::AnalyticsMilestone)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::{
            condition::Reason,
            webhook_status::{DriftStatus, ReceiverStatus},
        },
        operator::webhook::{
            decide::tests::{NOW, at, settled},
            spec::tests::webhook,
        },
        route::status::Milestones,
    };

    const DAY: i64 = 86_400;

    fn spec(events: &[&str]) -> Spec {
        Spec::parse(&webhook(|object| object["spec"]["events"] = json!(events))).unwrap()
    }

    fn awaits(days: i64, reported: Option<i64>) -> Option<AwaitedMilestones> {
        let time = |second| Time(at(second));
        Some(AwaitedMilestones { since_time: time(NOW - days * DAY), reported_time: reported.map(time) })
    }

    /// The result for a webhook that has waited for `days` and was then changed.
    fn after(days: i64, change: fn(&mut Observed, &mut SubscriptionStatus)) -> Option<AwaitedMilestones> {
        let mut observed = settled();
        observed.status.awaited_milestones = awaits(days, None);
        let mut subscription = observed.status.subscription.clone().unwrap();
        change(&mut observed, &mut subscription);
        let verified = Finding::new(Status::Unknown, Reason::NoTraffic, "no delivery yet");
        awaited(&spec(&["link.created", "analytics.milestone"]), &observed, Some(&subscription), &verified, at(NOW))
    }

    fn last(observed: &mut Observed, milestones: Option<Milestones>) {
        observed.receiver.status.as_mut().unwrap().milestones = milestones;
    }

    fn drift(field: &str, observed: &str) -> Vec<DriftStatus> {
        vec![DriftStatus { field: field.into(), desired: String::new(), observed: observed.into() }]
    }

    #[test]
    fn missing_milestones_are_reported_after_fourteen_days() {
        type Change = fn(&mut Observed, &mut SubscriptionStatus);
        let cases: [(&str, i64, Change, Option<AwaitedMilestones>); 14] = [
            ("the wait begins", 0, |it, _| it.status.awaited_milestones = None, awaits(0, None)),
            ("13 days", 13, |_, _| {}, awaits(13, None)),
            ("14 days", 14, |_, _| {}, awaits(14, Some(NOW))),
            (
                "it was reported",
                20,
                |it, _| it.status.awaited_milestones = awaits(20, Some(NOW - 5)),
                awaits(20, Some(NOW - 5)),
            ),
            (
                "it was reported, and the subscription is disabled",
                20,
                |it, subscription| {
                    it.status.awaited_milestones = awaits(20, Some(NOW - 5));
                    subscription.state = SubscriptionState::Disabled;
                },
                awaits(20, Some(NOW - 5)),
            ),
            ("a milestone arrived", 20, |it, _| last(it, Some(Milestones { last_time: Some(NOW) })), None),
            (
                "a milestone arrived, and the receiver lost its journal",
                20,
                |it, _| {
                    let last_milestone_time = Some(Time(at(1)));
                    it.status.receiver = Some(ReceiverStatus { last_milestone_time, ..ReceiverStatus::default() });
                },
                None,
            ),
            ("the receiver does not respond", 20, |it, _| it.receiver.status = None, awaits(20, None)),
            ("the receiver does not report milestones", 20, |it, _| last(it, None), awaits(20, None)),
            (
                "the wait does not begin if the receiver does not report milestones",
                0,
                |it, _| {
                    last(it, None);
                    it.status.awaited_milestones = None;
                },
                None,
            ),
            ("the subscription is disabled", 20, |_, it| it.state = SubscriptionState::Disabled, None),
            ("the subscription has other events", 20, |_, it| it.drift = drift("events", "link.created"), None),
            (
                "the subscription has more events",
                13,
                |_, it| it.drift = drift("events", "analytics.milestone,link.created,link.deleted"),
                awaits(13, None),
            ),
            ("the subscription has another URL", 13, |_, it| it.drift = drift("url", "https://a/"), awaits(13, None)),
        ];
        for (case, days, change, expected) in cases {
            assert_eq!(after(days, change), expected, "{case}");
        }
    }

    #[test]
    fn without_the_event_in_the_spec_there_is_no_wait() {
        let mut observed = settled();
        observed.status.awaited_milestones = awaits(20, Some(NOW));
        let subscription = observed.status.subscription.clone();
        let verified = Finding::new(true, Reason::Verified, "");
        let awaited = awaited(&spec(&["link.created"]), &observed, subscription.as_ref(), &verified, at(NOW));
        assert_eq!(awaited, None);
    }

    #[test]
    fn nothing_is_reported_while_deliveries_are_rejected() {
        let mut observed = settled();
        observed.status.awaited_milestones = awaits(20, None);
        let subscription = observed.status.subscription.clone();
        let rejected = Finding::new(false, Reason::SecretMismatch, "");
        let spec = spec(&["analytics.milestone"]);
        assert_eq!(awaited(&spec, &observed, subscription.as_ref(), &rejected, at(NOW)), awaits(20, None));
    }
}
