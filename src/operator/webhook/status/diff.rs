//! Compares two statuses: an unchanged one is not written, and one with only changed counters is written when it is
//! due.

use super::endpoint;
use crate::api::{
    sink_status::{SinkState, SinkStatus},
    webhook_status::LinktreeWebhookStatus,
};

/// Whether the status must be written now.
#[derive(Clone, Debug, PartialEq)]
pub enum StatusDiff {
    /// The statuses do not differ.
    Nothing,
    /// They differ only in counters, whose write is not due yet.
    Later,
    /// They differ, and this one must be written.
    Now(Box<LinktreeWebhookStatus>),
}

/// Whether `next` must replace `previous` in the API server.
#[must_use]
pub fn diff(previous: &LinktreeWebhookStatus, next: LinktreeWebhookStatus, counters_due: bool) -> StatusDiff {
    let settled = endpoint::without_probe_time(next.clone(), previous);
    if settled == *previous {
        return StatusDiff::Nothing;
    }
    let only_counters_differ = LinktreeWebhookStatus {
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
        ..settled
    } == *previous;
    if only_counters_differ && !counters_due { StatusDiff::Later } else { StatusDiff::Now(Box::new(next)) }
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
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::api::webhook_status::{AwaitedMilestones, DeliveryCounts, EndpointStatus, ProbeResult, ReceiverStatus};

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
        let now = |next: &LinktreeWebhookStatus| StatusDiff::Now(Box::new(next.clone()));
        type Expected = fn(StatusDiff) -> StatusDiff;
        let cases: [(&str, LinktreeWebhookStatus, bool, Expected); 7] = [
            ("nothing", status(1, SinkState::Healthy), true, |_| StatusDiff::Nothing),
            ("counters", status(2, SinkState::Healthy), false, |_| StatusDiff::Later),
            ("counters", status(2, SinkState::Healthy), true, |now| now),
            ("a sink's state", status(2, SinkState::Failing), false, |now| now),
            ("a report", reported, false, |now| now),
            ("something else", moved(), false, |now| now),
            ("the time of a probe", later, true, |_| StatusDiff::Nothing),
        ];
        for (change, next, due, expected) in cases {
            let difference = diff(&before, next.clone(), due);
            assert_eq!(difference, expected(now(&next)), "{change} changed, counters due: {due}");
        }
    }
}
