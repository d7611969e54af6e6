//! The finding for `Delivering`: whether the sinks accept events. It does not affect `Ready`, since deliveries from
//! Linktree are still accepted and stored.

use crate::{
    api::{
        condition::{ConditionType, Reason},
        webhook::Pause,
    },
    operator::{
        kubernetes::conditions::{self, Finding, Status},
        webhook::{observed::Observed, spec::Spec},
    },
    route::status::{ReceiverStatus, SinkStatus},
};

/// With at least this many waiting events, a sink has a backlog.
const BACKLOG: u64 = 1_000;

pub(super) fn decide(spec: &Spec, observed: &Observed) -> Finding {
    if spec.sinks.is_empty() {
        return Finding::new(true, Reason::Healthy, "there are no sinks: events are stored in the journal");
    }
    if let [first, others @ ..] = observed.sinks_unresolved.as_slice() {
        let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
        return Finding::new(
            false,
            Reason::SinkUnresolved,
            format!("sink {} is unresolved, its events are stored: {}{more}", first.sink, first.problem),
        );
    }
    let Some(status) = &observed.receiver.status else {
        return observed.carry_over(ConditionType::Delivering);
    };
    match spec.pause {
        Pause::Forwarding => return paused(observed, status),
        Pause::None | Pause::Reconciliation => {}
    }
    let failing = names(&status.sinks, SinkStatus::is_failing);
    if !failing.is_empty() {
        return Finding::new(
            false,
            Reason::SinkFailing,
            format!(
                "sinks reject events or are unreachable: {failing}; events are stored and retried, see status.sinks"
            ),
        );
    }
    let behind = names(&status.sinks, |sink| sink.backlog >= BACKLOG);
    if !behind.is_empty() {
        return Finding::new(
            false,
            Reason::Backlog,
            format!("sinks have a backlog of {BACKLOG} events or more: {behind}"),
        );
    }
    Finding::new(true, Reason::Healthy, "the sinks accept events")
}

/// The finding while `spec.pause` is `Forwarding`.
///
/// The receiver continues to send events until it has loaded the route with the pause.
fn paused(observed: &Observed, status: &ReceiverStatus) -> Finding {
    let was_paused = conditions::has_reason(&observed.status.conditions, ConditionType::Delivering, Reason::Paused);
    if was_paused || status.route_digest == observed.route_digest {
        let message = "forwarding is paused by spec.pause: events are stored, and sent in order once it is None";
        Finding::new(false, Reason::Paused, message)
    } else {
        Finding::new(Status::Unknown, Reason::Pending, "the receiver has not loaded the pause of forwarding yet")
    }
}

fn names(sinks: &[SinkStatus], which: impl Fn(&SinkStatus) -> bool) -> String {
    let names: Vec<_> = sinks.iter().filter(|sink| which(sink)).map(|sink| sink.name.as_str()).collect();
    names.join(", ")
}
