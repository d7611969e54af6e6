//! Whether the sinks take what is forwarded to them. Trouble here never touches `Ready`: the intake goes on.

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

/// Events waiting for one sink from which it counts as behind.
const BACKLOG: u64 = 1_000;

pub(super) fn decide(spec: &Spec, observed: &Observed) -> Finding {
    if spec.sinks.is_empty() {
        return Finding::new(true, Reason::Healthy, "there are no sinks; events are kept in the journal");
    }
    if let [first, others @ ..] = observed.sinks_unresolved.as_slice() {
        let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
        return Finding::new(
            false,
            Reason::SinkUnresolved,
            format!("sink {} waits, its events are kept: {}{more}", first.sink, first.problem),
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
            format!("sinks do not take events: {failing}; their events are kept and sent again (see status.sinks)"),
        );
    }
    let behind = names(&status.sinks, |sink| sink.backlog >= BACKLOG);
    if !behind.is_empty() {
        return Finding::new(false, Reason::Backlog, format!("sinks are more than {BACKLOG} events behind: {behind}"));
    }
    Finding::new(true, Reason::Healthy, "the sinks take events")
}

/// It is said once it is so: until the receiver has read its route, it goes on sending.
fn paused(observed: &Observed, status: &ReceiverStatus) -> Finding {
    let was = conditions::has_reason(&observed.status.conditions, ConditionType::Delivering, Reason::Paused);
    if was || status.route_digest == observed.route_digest {
        let message = "events are kept and not sent; they go out in order once spec.pause is None";
        Finding::new(false, Reason::Paused, message)
    } else {
        Finding::new(Status::Unknown, Reason::Pending, "the receiver has not read yet that forwarding is paused")
    }
}

fn names(sinks: &[SinkStatus], which: impl Fn(&SinkStatus) -> bool) -> String {
    let names: Vec<_> = sinks.iter().filter(|sink| which(sink)).map(|sink| sink.name.as_str()).collect();
    names.join(", ")
}
