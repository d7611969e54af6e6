//! Compares two statuses: an unchanged one is not written, and one with only changed counters or texts is written when
//! it is due.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::endpoint;
use crate::api::{
    sink_status::{SinkState, SinkStatus},
    webhook_status::LinktreeWebhookStatus,
};

/// The kind of change of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Counters,
    /// Messages, and values and times that Linktree or the host of the URL reports: they may vary without end.
    Texts,
    /// Anything else, such as a condition's reason.
    State,
}

/// The kinds of change that may be written now; a [`Change::State`] always is.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    pub counters: bool,
    pub texts: bool,
}

/// Whether the status must be written now.
#[derive(Clone, Debug, PartialEq)]
pub enum StatusDiff {
    /// The statuses do not differ.
    Nothing,
    /// They differ only in counters or texts, whose write is not due yet.
    Later,
    /// They differ, and this one must be written.
    Now(Change, Box<LinktreeWebhookStatus>),
}

/// Whether `next` must replace `previous` in the API server.
#[must_use]
pub fn diff(previous: &LinktreeWebhookStatus, next: LinktreeWebhookStatus, due: Due) -> StatusDiff {
    let settled = endpoint::without_probe_time(next.clone(), previous);
    if settled == *previous {
        return StatusDiff::Nothing;
    }
    let without_counters = LinktreeWebhookStatus {
        receiver: if has_forecast(&next) == has_forecast(previous) {
            next.receiver.as_ref().and(previous.receiver.clone())
        } else {
            next.receiver.clone()
        },
        sinks: if sink_states(&next.sinks) == sink_states(&previous.sinks) {
            previous.sinks.clone()
        } else {
            next.sinks.clone()
        },
        removed_sinks: if removed_states(&next) == removed_states(previous) {
            previous.removed_sinks.clone()
        } else {
            next.removed_sinks.clone()
        },
        ..settled
    };
    let (change, due) = if without_counters == *previous {
        (Change::Counters, due.counters)
    } else if without_texts(without_counters) == without_texts(previous.clone()) {
        (Change::Texts, due.texts)
    } else {
        (Change::State, true)
    };
    if due { StatusDiff::Now(change, Box::new(next)) } else { StatusDiff::Later }
}

/// The status without the contents of its texts. Whether a text is present remains.
fn without_texts(mut status: LinktreeWebhookStatus) -> LinktreeWebhookStatus {
    let blank = |time: &mut Option<Time>| {
        if let Some(time) = time {
            *time = Time(Timestamp::UNIX_EPOCH);
        }
    };
    status.conditions.iter_mut().for_each(|condition| condition.message.clear());
    if let Some(subscription) = &mut status.subscription {
        for drift in &mut subscription.drift {
            drift.desired.clear();
            drift.observed.clear();
        }
        blank(&mut subscription.failing_since_time);
        blank(&mut subscription.disable_deadline_time);
        blank(&mut subscription.disabled_time);
    }
    if let Some(endpoint) = &mut status.endpoint {
        blank(&mut endpoint.certificate_expiration_time);
    }
    if let Some(key) = status.signing.as_mut().and_then(|signing| signing.last_verified_key.as_mut()) {
        key.clear();
    }
    if let Some(uri) = &mut status.sink_uri {
        uri.clear();
    }
    status
}

/// The parts of the removed sinks' statuses that are not counters: the name, and whether there are dead letters.
fn removed_states(status: &LinktreeWebhookStatus) -> Vec<(&str, bool)> {
    status.removed_sinks.iter().map(|sink| (sink.name.as_str(), sink.dead_lettered > 0)).collect()
}

/// Whether a forecast of a full journal is in the status. Its values change like counters.
pub(super) fn has_forecast(status: &LinktreeWebhookStatus) -> bool {
    let journal = status.receiver.as_ref().and_then(|receiver| receiver.journal.as_ref());
    journal.is_some_and(|journal| journal.forecast.is_some())
}

/// The parts of the sinks' statuses that are not counters: the state, and whether there are dead letters.
fn sink_states(sinks: &[SinkStatus]) -> Vec<(&str, SinkState, bool)> {
    sinks.iter().map(|sink| (sink.name.as_str(), sink.state, sink.dead_lettered > 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{
            condition::{ConditionType, Reason},
            webhook_status::{
                AwaitedMilestones, DeliveryCounts, DriftStatus, EndpointStatus, ProbeResult, ReceiverStatus,
                SubscriptionStatus,
            },
        },
        operator::{
            kubernetes::conditions::{self, Finding},
            webhook::subscription_record::registering,
        },
    };

    fn at(second: i64) -> Option<Time> {
        Timestamp::from_second(second).ok().map(Time)
    }

    /// A status with this number of verified deliveries, and with one sink in this state.
    fn status(verified: i64, state: SinkState) -> LinktreeWebhookStatus {
        let last_hour = DeliveryCounts { verified, ..DeliveryCounts::default() };
        let receiver =
            ReceiverStatus { ready_replicas: 1, last_verified_time: at(verified), last_hour, ..Default::default() };
        let sink = SinkStatus {
            name: "cms".into(),
            state,
            last_success_time: at(verified),
            consecutive_failures: 0,
            last_failure: None,
            last_answer: None,
            held: None,
            backlog: verified,
            dead_lettered: 0,
            dropped: 0,
            last_drop_time: None,
        };
        LinktreeWebhookStatus {
            endpoint: probed(0),
            receiver: Some(receiver),
            sinks: vec![sink],
            ..LinktreeWebhookStatus::default()
        }
    }

    fn probed(second: i64) -> Option<EndpointStatus> {
        Some(EndpointStatus {
            last_probe_time: at(second)?,
            last_probe_result: ProbeResult::Succeeded,
            certificate_expiration_time: None,
        })
    }

    #[test]
    fn counters_are_written_when_due_and_transitions_at_once() {
        let before = status(1, SinkState::Healthy);
        let moved = || LinktreeWebhookStatus { observed_generation: Some(2), ..status(2, SinkState::Healthy) };
        let later = LinktreeWebhookStatus { endpoint: probed(60), ..before.clone() };
        let reported = LinktreeWebhookStatus {
            awaited_milestones: at(0)
                .map(|time| AwaitedMilestones { since_time: time.clone(), reported_time: Some(time) }),
            ..before.clone()
        };
        let (counters, state) = (Some(Change::Counters), Some(Change::State));
        let cases: [(&str, LinktreeWebhookStatus, bool, Option<Change>); 5] = [
            ("counters", status(2, SinkState::Healthy), true, counters),
            ("counters", status(2, SinkState::Healthy), false, None),
            ("a sink's state", status(2, SinkState::Failing), false, state),
            ("a report", reported, false, state),
            ("something else", moved(), false, state),
        ];
        for (change, next, due, written) in cases {
            let difference = diff(&before, next.clone(), Due { counters: due, texts: true });
            let expected = written.map_or(StatusDiff::Later, |kind| StatusDiff::Now(kind, Box::new(next)));
            assert_eq!(difference, expected, "{change} changed, counters due: {due}");
        }
        let due = Due { counters: true, texts: true };
        assert_eq!(diff(&before, before.clone(), due), StatusDiff::Nothing);
        assert_eq!(diff(&before, later, due), StatusDiff::Nothing, "only the time of a probe differs");
    }

    #[test]
    fn texts_of_others_are_written_when_due_and_reasons_at_once() {
        let with = |reason, message: &str, failing: i64, observed: &str| {
            let findings = [(ConditionType::Ready, Finding::new(false, reason, message))];
            let drift = DriftStatus { field: "url".into(), desired: "a".into(), observed: observed.into() };
            let subscription =
                SubscriptionStatus { failing_since_time: at(failing), drift: vec![drift], ..registering(None) };
            LinktreeWebhookStatus {
                conditions: conditions::render(&findings, &[], None, Timestamp::UNIX_EPOCH),
                subscription: Some(subscription),
                ..status(1, SinkState::Healthy)
            }
        };
        let before = with(Reason::DNSFailed, "one", 1, "x");
        let cases = [
            ("a message", with(Reason::DNSFailed, "two", 1, "x"), Change::Texts),
            ("a time of Linktree", with(Reason::DNSFailed, "one", 2, "x"), Change::Texts),
            ("a value at Linktree", with(Reason::DNSFailed, "one", 1, "y"), Change::Texts),
            ("a reason", with(Reason::TLSFailed, "two", 2, "y"), Change::State),
        ];
        for (case, next, change) in cases {
            let diff = |texts| diff(&before, next.clone(), Due { counters: false, texts });
            assert_eq!(diff(true), StatusDiff::Now(change, Box::new(next.clone())), "{case}");
            assert_eq!(diff(false) == StatusDiff::Later, change == Change::Texts, "{case}");
        }
    }
}
