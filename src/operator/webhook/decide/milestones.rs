//! Milestones that are subscribed to and do not come. That somebody set no thresholds in Linktree's dashboard shows in no
//! other way.

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

/// So long nothing is said.
const PATIENCE: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How long milestones have been waited for, and whether that was said; `None` if there is nothing to wait for, or one has
/// come. It is said once, until the spec no longer asks for them. Time in which Linktree does not send them is not waited; a
/// receiver that does not tell whether any came is waited for.
pub(super) fn awaited(
    spec: &Spec,
    observed: &Observed,
    subscription: Option<&SubscriptionStatus>,
    verified: &Finding,
    now: Timestamp,
) -> Option<AwaitedMilestones> {
    let known = observed.status.awaited_milestones.clone();
    let told = observed.receiver.status.as_ref().and_then(|status| status.milestones);
    let before = observed.status.receiver.as_ref().and_then(|receiver| receiver.last_milestone_time.as_ref());
    let came = before.is_some() || told.is_some_and(|told| told.last_time.is_some());
    if !wants_milestones(spec) || came {
        return None;
    }
    if known.as_ref().is_some_and(|known| known.reported_time.is_some()) {
        return known;
    }
    if !sends(subscription?) {
        return None;
    }
    if told.is_none() {
        return known;
    }
    let now = whole_seconds(now);
    let since = known.map_or(now, |known| known.since_time.0);
    // What is refused for its signature may have been one.
    let long = now.duration_since(since) >= PATIENCE && verified.status != Status::False;
    Some(AwaitedMilestones { since_time: Time(since), reported_time: long.then_some(Time(now)) })
}

/// Nothing is known of what comes to somebody's own receiver.
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

    /// What follows for a webhook that has waited so many days, after a change.
    fn after(days: i64, change: fn(&mut Observed, &mut SubscriptionStatus)) -> Option<AwaitedMilestones> {
        let mut observed = settled();
        observed.status.awaited_milestones = awaits(days, None);
        let mut subscription = observed.status.subscription.clone().unwrap();
        change(&mut observed, &mut subscription);
        let verified = Finding::new(Status::Unknown, Reason::NoTraffic, "nothing came");
        awaited(&spec(&["link.created", "analytics.milestone"]), &observed, Some(&subscription), &verified, at(NOW))
    }

    fn last(observed: &mut Observed, milestones: Option<Milestones>) {
        observed.receiver.status.as_mut().unwrap().milestones = milestones;
    }

    fn drift(field: &str, observed: &str) -> Vec<DriftStatus> {
        vec![DriftStatus { field: field.into(), desired: String::new(), observed: observed.into() }]
    }

    #[test]
    fn it_is_said_after_fourteen_days_in_which_linktree_sent_and_none_came() {
        type Change = fn(&mut Observed, &mut SubscriptionStatus);
        let cases: [(&str, i64, Change, Option<AwaitedMilestones>); 14] = [
            ("it begins", 0, |it, _| it.status.awaited_milestones = None, awaits(0, None)),
            ("it is not long yet", 13, |_, _| {}, awaits(13, None)),
            ("it is long", 14, |_, _| {}, awaits(14, Some(NOW))),
            (
                "it was said",
                20,
                |it, _| it.status.awaited_milestones = awaits(20, Some(NOW - 5)),
                awaits(20, Some(NOW - 5)),
            ),
            (
                "it was said, and Linktree does not send",
                20,
                |it, subscription| {
                    it.status.awaited_milestones = awaits(20, Some(NOW - 5));
                    subscription.state = SubscriptionState::Disabled;
                },
                awaits(20, Some(NOW - 5)),
            ),
            ("one came", 20, |it, _| last(it, Some(Milestones { last_time: Some(NOW) })), None),
            (
                "one had come, and the receiver has lost its journal",
                20,
                |it, _| {
                    let last_milestone_time = Some(Time(at(1)));
                    it.status.receiver = Some(ReceiverStatus { last_milestone_time, ..ReceiverStatus::default() });
                },
                None,
            ),
            ("the receiver is not there", 20, |it, _| it.receiver.status = None, awaits(20, None)),
            ("the receiver does not tell", 20, |it, _| last(it, None), awaits(20, None)),
            (
                "a receiver that does not tell is not waited for",
                0,
                |it, _| {
                    last(it, None);
                    it.status.awaited_milestones = None;
                },
                None,
            ),
            ("Linktree does not send", 20, |_, it| it.state = SubscriptionState::Disabled, None),
            ("Linktree sends others", 20, |_, it| it.drift = drift("events", "link.created"), None),
            (
                "Linktree sends more",
                13,
                |_, it| it.drift = drift("events", "analytics.milestone,link.created,link.deleted"),
                awaits(13, None),
            ),
            ("Linktree sends to another url", 13, |_, it| it.drift = drift("url", "https://a/"), awaits(13, None)),
        ];
        for (case, days, change, expected) in cases {
            assert_eq!(after(days, change), expected, "{case}");
        }
    }

    #[test]
    fn who_does_not_subscribe_to_them_waits_for_none() {
        let mut observed = settled();
        observed.status.awaited_milestones = awaits(20, Some(NOW));
        let subscription = observed.status.subscription.clone();
        let verified = Finding::new(true, Reason::Verified, "");
        let awaited = awaited(&spec(&["link.created"]), &observed, subscription.as_ref(), &verified, at(NOW));
        assert_eq!(awaited, None);
    }

    #[test]
    fn while_deliveries_are_refused_nothing_is_said() {
        let mut observed = settled();
        observed.status.awaited_milestones = awaits(20, None);
        let subscription = observed.status.subscription.clone();
        let refused = Finding::new(false, Reason::SecretMismatch, "");
        let spec = spec(&["analytics.milestone"]);
        assert_eq!(awaited(&spec, &observed, subscription.as_ref(), &refused, at(NOW)), awaits(20, None));
    }
}
