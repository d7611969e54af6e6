//! The finding for `Delivering`: whether the sinks accept events. It does not affect `Ready`, since deliveries from
//! Linktree are still accepted and stored.

use jiff::Timestamp;

use crate::{
    api::{
        condition::{ConditionType, Reason},
        webhook::Pause,
    },
    operator::{
        kubernetes::{
            annotations::REDRIVE,
            conditions::{self, Finding, Status},
        },
        webhook::{observed::Observed, spec::Spec},
    },
    route::status::{ReceiverStatus, SinkStatus},
};

/// With at least this many waiting events, a sink has a backlog.
const BACKLOG: u64 = 1_000;

/// The finding, by the severity of its reason: of several troubles it has the one that concerns the most events.
pub(super) fn decide(spec: &Spec, observed: &Observed, now: Timestamp) -> Finding {
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
    let with_failure = |sink: &SinkStatus| match observed.sink_failures.get(&sink.name) {
        Some(failure) => format!("{} ({failure})", sink.name),
        None => sink.name.clone(),
    };
    let held = list(&status.sinks, |sink| sink.is_held(now.as_second()), with_failure);
    if !held.is_empty() {
        return Finding::new(
            false,
            Reason::SinkHeld,
            format!(
                "sinks fail and are held: {held}; each gets only a probe from time to time, and its events wait in \
                 the journal: correct the sink, or its address and credentials in the spec"
            ),
        );
    }
    let failing = list(&status.sinks, SinkStatus::is_failing, with_failure);
    if !failing.is_empty() {
        return Finding::new(
            false,
            Reason::SinkFailing,
            format!(
                "sinks reject events or are unreachable: {failing}; events are stored and retried, see status.sinks"
            ),
        );
    }
    let name = |sink: &SinkStatus| sink.name.clone();
    let behind = list(&status.sinks, |sink| sink.backlog.is_some_and(|backlog| backlog >= BACKLOG), name);
    if !behind.is_empty() {
        return Finding::new(
            false,
            Reason::Backlog,
            format!("sinks have a backlog of {BACKLOG} events or more: {behind}"),
        );
    }
    let with_dead_letters = list(&status.sinks, |sink| sink.dead_lettered.is_some_and(|letters| letters > 0), name);
    let removed = status.removed_sinks.iter().filter(|sink| sink.dead_lettered > 0);
    let removed = removed.map(|sink| sink.name.as_str()).collect::<Vec<_>>().join(", ");
    if !with_dead_letters.is_empty() || !removed.is_empty() {
        return Finding::new(true, Reason::DeadLetters, dead_letters(&with_dead_letters, &removed));
    }
    Finding::new(true, Reason::Healthy, "the sinks accept events")
}

/// The message about dead letters of these sinks, and of these removed ones.
fn dead_letters(sinks: &str, removed: &str) -> String {
    let of = match (sinks, removed) {
        (sinks, "") => sinks.to_owned(),
        ("", removed) => format!("{removed} (no longer in spec.sinks)"),
        (sinks, removed) => format!("{sinks}; and {removed} (no longer in spec.sinks)"),
    };
    format!(
        "the sinks accept events, except for dead letters, which stay in the journal until they expire: {of}; see \
         lastFailure in status.sinks, and send them again with the annotation {REDRIVE}"
    )
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

fn list(sinks: &[SinkStatus], which: impl Fn(&SinkStatus) -> bool, as_text: impl Fn(&SinkStatus) -> String) -> String {
    sinks.iter().filter(|sink| which(sink)).map(as_text).collect::<Vec<_>>().join(", ")
}
