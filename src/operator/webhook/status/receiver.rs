//! Computes `status.receiver` and `status.sinks`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{
        journal_status::{JournalForecast, JournalStatus},
        sink_status::{HoldCause, RemovedSinkStatus, SinkHold, SinkState, SinkStatus},
        webhook_status::{DeliveryCounts, ReceiverStatus},
    },
    operator::{
        kubernetes::{apply::in_order_kept, conditions::whole_seconds},
        webhook::observed::{Observed, Unresolved},
    },
    route::status as route_status,
};

/// `status.receiver` from the receiver's own status; if that cannot be read, the previous values.
pub(super) fn status(observed: &Observed, forecast: Option<JournalForecast>) -> Option<ReceiverStatus> {
    let ready_replicas = i64::from(observed.receiver.pod.as_ref().is_some_and(|pod| pod.ready));
    let known = observed.status.receiver.clone().unwrap_or_default();
    Some(match &observed.receiver.status {
        None => ReceiverStatus { ready_replicas, ..known },
        Some(status) => ReceiverStatus {
            ready_replicas,
            last_received_time: status.last_received_time.and_then(time).or(known.last_received_time),
            last_verified_time: status.last_verified_time.and_then(time).or(known.last_verified_time),
            last_milestone_time: status
                .milestones
                .and_then(|milestones| time(milestones.last_time?))
                .or(known.last_milestone_time),
            backlog: status.backlog.map_or(known.backlog, count),
            journal: match &status.journal_usage {
                Some(usage) => Some(journal(usage, forecast)),
                None => known.journal.map(|known| JournalStatus { forecast, ..known }),
            },
            last_hour: counts(status.last_hour),
        },
    })
}

fn journal(usage: &route_status::JournalUsage, forecast: Option<JournalForecast>) -> JournalStatus {
    let route_status::JournalUsage { events, bytes, capacity_bytes, full_time: _, filled_by: _ } = usage;
    JournalStatus { events: count(*events), bytes: count(*bytes), capacity_bytes: count(*capacity_bytes), forecast }
}

/// `status.sinks` from the receiver's own status; if that or the journal cannot be read, the previous values.
pub(super) fn sinks(observed: &Observed, now: Timestamp) -> Vec<SinkStatus> {
    let Some(status) = &observed.receiver.status else { return observed.status.sinks.clone() };
    let known = |name: &str| observed.status.sinks.iter().find(|sink| sink.name == name);
    let sinks = status.sinks.iter();
    let sinks = sinks.map(|reported| sink(reported, known(&reported.name), &observed.sinks_unresolved, now)).collect();
    in_order_kept(sinks, &observed.status.sinks, |before, sink| before.name == sink.name)
}

/// `status.removedSinks` from the receiver's own status; if that cannot be read, the previous values.
pub(super) fn removed_sinks(observed: &Observed) -> Vec<RemovedSinkStatus> {
    let Some(status) = &observed.receiver.status else { return observed.status.removed_sinks.clone() };
    let removed = status.removed_sinks.iter().map(|sink| {
        let route_status::RemovedSink { name, backlog, dead_lettered } = sink;
        RemovedSinkStatus { name: name.clone(), backlog: count(*backlog), dead_lettered: count(*dead_lettered) }
    });
    in_order_kept(removed.collect(), &observed.status.removed_sinks, |before, sink| before.name == sink.name)
}

fn sink(
    sink: &route_status::SinkStatus,
    known: Option<&SinkStatus>,
    unresolved: &[Unresolved],
    now: Timestamp,
) -> SinkStatus {
    let state = if unresolved.iter().any(|unresolved| unresolved.sink == sink.name) {
        SinkState::Unresolved
    } else if sink.is_held(now.as_second()) {
        SinkState::Held
    } else if sink.is_failing() {
        SinkState::Failing
    } else {
        SinkState::Healthy
    };
    SinkStatus {
        name: sink.name.clone(),
        state,
        last_failure: sink.last_failure.clone(),
        last_answer: sink.last_answer.clone(),
        last_success_time: sink.last_success_time.and_then(time),
        consecutive_failures: count(sink.consecutive_failures),
        held: sink.held.and_then(held),
        backlog: sink.backlog.map_or_else(|| known.map_or(0, |known| known.backlog), count),
        dead_lettered: sink.dead_lettered.map_or_else(|| known.map_or(0, |known| known.dead_lettered), count),
        dropped: count(sink.dropped),
        last_drop_time: known.and_then(|known| {
            let drops = count(sink.dropped) > known.dropped;
            if drops { Some(Time(whole_seconds(now))) } else { known.last_drop_time.clone() }
        }),
    }
}

/// The hold without the time of the next attempt, which changes with every probe.
fn held(hold: route_status::SinkHold) -> Option<SinkHold> {
    let cause = match hold.cause {
        route_status::HoldCause::Failures => HoldCause::Failures,
        route_status::HoldCause::RetryAfter => HoldCause::RetryAfter,
    };
    Some(SinkHold { cause, since_time: time(hold.since_time)? })
}

fn counts(counts: route_status::DeliveryCounts) -> DeliveryCounts {
    let route_status::DeliveryCounts {
        verified,
        duplicate,
        conflict,
        unknown_type,
        rejected_missing_header,
        rejected_malformed,
        rejected_signature,
        rejected_stale,
        rejected_request,
        unavailable,
        forwarded,
        dead_lettered,
    } = counts;
    DeliveryCounts {
        verified: count(verified),
        duplicate: count(duplicate),
        conflict: count(conflict),
        unknown_type: count(unknown_type),
        rejected_missing_header: count(rejected_missing_header),
        rejected_malformed: count(rejected_malformed),
        rejected_signature: count(rejected_signature),
        rejected_stale: count(rejected_stale),
        rejected_request: count(rejected_request),
        unavailable: count(unavailable),
        forwarded: count(forwarded),
        dead_lettered: count(dead_lettered),
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn time(second: i64) -> Option<Time> {
    Timestamp::from_second(second).ok().map(Time)
}
