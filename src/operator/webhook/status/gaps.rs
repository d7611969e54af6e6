//! `status.gaps`: the intervals in which events may have been lost. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{
        sink_status::SinkStatus,
        webhook_status::{Gap, GapReason, SubscriptionState, SubscriptionStatus},
    },
    operator::kubernetes::conditions,
};

/// Maximum number of gaps in the status; the oldest ones are dropped.
const GAPS_MAX: usize = 10;
/// Time without a given-up event after which a gap of such events is closed.
const DROPS_END_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// The gaps of the status after this reconciliation. `sinks`: their statuses before and now.
#[must_use]
pub fn update(
    known: &[Gap],
    subscription: Option<&SubscriptionStatus>,
    (before, sinks): (&[SinkStatus], &[SinkStatus]),
    now: Timestamp,
) -> Vec<Gap> {
    let mut gaps = known.to_vec();
    while_disabled(&mut gaps, subscription, now);
    while_dropped(&mut gaps, (before, sinks), now);
    while gaps.len() > GAPS_MAX {
        // An open gap stays, since it would otherwise begin again. There is at most one for each reason.
        let oldest = gaps.iter().position(|gap| gap.end_time.is_some()).unwrap_or(0);
        gaps.remove(oldest);
    }
    gaps
}

/// A gap starts when the subscription is disabled, and ends when it is enabled again.
fn while_disabled(gaps: &mut Vec<Gap>, subscription: Option<&SubscriptionStatus>, now: Timestamp) {
    let open = open(gaps, GapReason::SubscriptionDisabled);
    match (subscription.map(|subscription| (subscription.state, &subscription.disabled_time)), open) {
        (Some((SubscriptionState::Disabled, since)), None) => gaps.push(Gap {
            start_time: since.clone().unwrap_or(Time(conditions::whole_seconds(now))),
            end_time: None,
            reason: GapReason::SubscriptionDisabled,
        }),
        (Some((SubscriptionState::Enabled, _)), Some(gap)) => gap.end_time = Some(Time(conditions::whole_seconds(now))),
        (Some((SubscriptionState::Disabled, _)), Some(_)) | (Some((SubscriptionState::Enabled, _)), None) => {}
        // A subscription that is missing or in an unknown state does not end a gap.
        (Some((SubscriptionState::Absent | SubscriptionState::Registering, _)) | None, _) => {}
    }
}

/// A gap starts when a sink's undelivered events are given up, and ends with the last of them. It is closed later, so
/// that a sink whose events are given up now and then does not fill the list.
fn while_dropped(gaps: &mut Vec<Gap>, (before, sinks): (&[SinkStatus], &[SinkStatus]), now: Timestamp) {
    let drops = dropping(before, sinks).next().is_some();
    match (drops, open(gaps, GapReason::EventsDropped)) {
        (true, None) => gaps.push(Gap {
            start_time: Time(conditions::whole_seconds(now)),
            end_time: None,
            reason: GapReason::EventsDropped,
        }),
        (false, Some(gap)) => {
            let last = sinks.iter().filter_map(|sink| sink.last_drop_time.as_ref()).map(|time| time.0).max();
            let last = last.unwrap_or(gap.start_time.0).max(gap.start_time.0);
            if now.duration_since(last) >= DROPS_END_AFTER {
                gap.end_time = Some(Time(last));
            }
        }
        (true, Some(_)) | (false, None) => {}
    }
}

/// The names of the sinks of which more events were given up than before.
pub(super) fn dropping<'a>(before: &'a [SinkStatus], sinks: &'a [SinkStatus]) -> impl Iterator<Item = &'a str> {
    let grew = |sink: &&SinkStatus| before.iter().any(|it| it.name == sink.name && it.dropped < sink.dropped);
    sinks.iter().filter(grew).map(|sink| sink.name.as_str())
}

fn open(gaps: &mut [Gap], reason: GapReason) -> Option<&mut Gap> {
    gaps.iter_mut().find(|gap| gap.end_time.is_none() && gap.reason == reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::webhook::subscription_record::registering;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    /// The gaps without a change of the sinks.
    fn update(known: &[Gap], subscription: Option<&SubscriptionStatus>, now: Timestamp) -> Vec<Gap> {
        super::update(known, subscription, (&[], &[]), now)
    }

    fn subscription(state: SubscriptionState, disabled: Option<i64>) -> SubscriptionStatus {
        SubscriptionStatus { state, disabled_time: disabled.map(at), ..registering(None) }
    }

    #[test]
    fn a_gap_lasts_while_the_subscription_is_disabled() {
        let disabled = subscription(SubscriptionState::Disabled, Some(100));
        let enabled = subscription(SubscriptionState::Enabled, None);
        assert_eq!(update(&[], Some(&enabled), at(50).0), []);
        let open = update(&[], Some(&disabled), at(110).0);
        assert_eq!((open[0].start_time.clone(), open[0].end_time.clone()), (at(100), None));
        assert_eq!(update(&open, Some(&disabled), at(120).0), open, "repeated reconciliations add no gap");
        assert_eq!(update(&open, None, at(120).0), open, "an unknown subscription does not end it");
        let closed = update(&open, Some(&enabled), at(130).0);
        assert_eq!(closed[0].end_time, Some(at(130)));
        assert_eq!(update(&closed, Some(&enabled), at(140).0), closed);
        assert_eq!(update(&closed, Some(&disabled), at(150).0).len(), 2);
    }

    #[test]
    fn the_oldest_gaps_are_dropped() {
        let mut gaps = Vec::new();
        for second in 0..30 {
            let state = if second % 2 == 0 { SubscriptionState::Disabled } else { SubscriptionState::Enabled };
            gaps = update(&gaps, Some(&subscription(state, Some(second))), at(second).0);
        }
        assert_eq!((gaps.len(), gaps.last().unwrap().start_time.clone()), (GAPS_MAX, at(28)));
    }

    fn dropped(dropped: i64, last: Option<i64>) -> Vec<SinkStatus> {
        let last_drop_time = last.map(at);
        vec![SinkStatus { dropped, last_drop_time, ..crate::operator::webhook::status::sink_notices::tests::sink() }]
    }

    #[test]
    fn a_gap_of_dropped_events_lasts_until_the_last_of_them() {
        let enabled = subscription(SubscriptionState::Enabled, None);
        let after = |known: &[Gap], before: &[SinkStatus], now: &[SinkStatus], second| {
            super::update(known, Some(&enabled), (before, now), at(second).0)
        };
        let (none, one, two) = (dropped(0, None), dropped(1, Some(100)), dropped(2, Some(400)));
        assert_eq!(after(&[], &none, &none, 90), []);
        assert_eq!(after(&[], &[], &one, 90), [], "the sink was unknown before");
        let open = after(&[], &none, &one, 100);
        assert_eq!(open, [Gap { start_time: at(100), end_time: None, reason: GapReason::EventsDropped }]);
        assert_eq!(after(&open, &one, &two, 400), open, "it goes on");
        assert_eq!(after(&open, &two, &two, 999), open, "ten minutes have not passed");
        let closed = after(&open, &two, &two, 1000);
        assert_eq!(closed[0].end_time, Some(at(400)));
        assert_eq!(after(&closed, &two, &two, 1100), closed);
        assert_eq!(after(&closed, &two, &dropped(3, Some(1100)), 1100).len(), 2);
        assert_eq!(after(&open, &two, &[], 700)[0].end_time, Some(at(100)), "the sink was removed");
        assert_eq!(after(&open, &two, &none, 150), open, "another journal counts from zero");
    }

    #[test]
    fn an_open_gap_is_not_dropped_from_a_full_list() {
        let (none, one) = (dropped(0, None), dropped(1, Some(1)));
        let enabled = subscription(SubscriptionState::Enabled, None);
        let mut gaps = super::update(&[], Some(&enabled), (&none, &one), at(1).0);
        for second in 2..60 {
            let state = if second % 2 == 0 { SubscriptionState::Disabled } else { SubscriptionState::Enabled };
            gaps = update(&gaps, Some(&subscription(state, Some(second))), at(second).0);
        }
        assert_eq!((gaps.len(), gaps[0].reason), (GAPS_MAX, GapReason::EventsDropped));
    }
}
