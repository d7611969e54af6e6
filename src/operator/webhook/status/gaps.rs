//! `status.gaps`: the intervals in which events may have been lost. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::webhook_status::{Gap, GapReason, SubscriptionState, SubscriptionStatus},
    operator::kubernetes::conditions,
};

/// Maximum number of gaps in the status; the oldest ones are dropped.
const GAPS_MAX: usize = 10;

/// The gaps of the status after this reconciliation.
///
/// A gap starts when the subscription is disabled, and ends when it is enabled again.
#[must_use]
pub fn update(known: &[Gap], subscription: Option<&SubscriptionStatus>, now: Timestamp) -> Vec<Gap> {
    let mut gaps = known.to_vec();
    let open = gaps.last_mut().filter(|gap| gap.end_time.is_none());
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
    let surplus = gaps.len().saturating_sub(GAPS_MAX);
    gaps.drain(..surplus);
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::webhook::subscription_record::registering;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
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
}
