//! The Kubernetes Events about sinks: one is held, accepts events again, or has its first dead letters. Pure.

use super::notice::{Notice, normal, warning};
use crate::api::sink_status::{RemovedSinkStatus, SinkState, SinkStatus};

/// The Events to publish when the sinks' statuses change from `previous` to `next`.
///
/// Each results from a change that is written at once, not at the counters' pace, so it is published once.
pub(super) fn between(previous: &[SinkStatus], next: &[SinkStatus]) -> Vec<Notice> {
    next.iter()
        .flat_map(|sink| {
            let before = previous.iter().find(|before| before.name == sink.name);
            let was_held = before.is_some_and(|before| before.state == SinkState::Held);
            let had_dead_letters = before.is_some_and(|before| before.dead_lettered > 0);
            let held = match sink.state {
                SinkState::Held if !was_held => Some(warning("SinkHeld", held(sink))),
                SinkState::Healthy if was_held => {
                    Some(normal("SinkRecovered", format!("sink {} accepts events again", sink.name)))
                }
                SinkState::Held | SinkState::Healthy | SinkState::Failing | SinkState::Unresolved => None,
            };
            let dead_lettered =
                (sink.dead_lettered > 0 && !had_dead_letters).then(|| warning("DeadLettered", dead_lettered(sink)));
            [held, dead_lettered].into_iter().flatten()
        })
        .collect()
}

/// The Events to publish when the statuses of removed sinks change from `previous` to `next`.
pub(super) fn of_removed(previous: &[RemovedSinkStatus], next: &[RemovedSinkStatus]) -> Vec<Notice> {
    let had_dead_letters =
        |sink: &RemovedSinkStatus| previous.iter().any(|before| before.name == sink.name && before.dead_lettered > 0);
    let new = next.iter().filter(|sink| sink.dead_lettered > 0 && !had_dead_letters(sink));
    new.map(|RemovedSinkStatus { name, .. }| {
        let note = format!(
            "spec.sinks no longer has sink {name}, and its events became dead letters: they stay in the journal until \
             they expire, or until you send them to another sink"
        );
        warning("DeadLettered", note)
    })
    .collect()
}

fn held(sink: &SinkStatus) -> String {
    format!(
        "sink {} fails{}: it gets only a probe from time to time, and its events wait in the journal",
        sink.name,
        failure(sink)
    )
}

fn dead_lettered(sink: &SinkStatus) -> String {
    format!(
        "events of sink {} became dead letters{}: they stay in the journal until they expire",
        sink.name,
        failure(sink)
    )
}

fn failure(sink: &SinkStatus) -> String {
    sink.last_failure.as_ref().map(|failure| format!(" ({failure})")).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A sink that accepts events.
    pub(in crate::operator::webhook::status) fn sink() -> SinkStatus {
        with(SinkState::Healthy, 0)
    }

    fn with(state: SinkState, dead_lettered: i64) -> SinkStatus {
        SinkStatus {
            name: "cms".into(),
            state,
            last_success_time: None,
            last_failure: Some("answered 503".into()),
            last_answer: Some("try again in 17 s".into()),
            consecutive_failures: 5,
            held: None,
            backlog: 3,
            dead_lettered,
            dropped: 0,
            last_drop_time: None,
        }
    }

    #[test]
    fn the_first_dead_letters_of_a_removed_sink_are_reported_once() {
        let removed = |dead_lettered| vec![RemovedSinkStatus { name: "old".into(), backlog: 1, dead_lettered }];
        for (before, next, expected) in
            [(vec![], removed(0), 0), (removed(0), removed(1), 1), (removed(1), removed(2), 0), (removed(1), vec![], 0)]
        {
            assert_eq!(of_removed(&before, &next).len(), expected, "{before:?} -> {next:?}");
        }
    }

    #[test]
    fn a_hold_its_end_and_the_first_dead_letters_are_reported_once() {
        let cases = [
            (None, with(SinkState::Healthy, 0), vec![]),
            (None, with(SinkState::Held, 1), vec!["SinkHeld", "DeadLettered"]),
            (Some(with(SinkState::Failing, 0)), with(SinkState::Held, 0), vec!["SinkHeld"]),
            (Some(with(SinkState::Held, 1)), with(SinkState::Held, 2), vec![]),
            (Some(with(SinkState::Held, 0)), with(SinkState::Failing, 0), vec![]),
            (Some(with(SinkState::Held, 0)), with(SinkState::Healthy, 0), vec!["SinkRecovered"]),
            (Some(with(SinkState::Healthy, 0)), with(SinkState::Healthy, 1), vec!["DeadLettered"]),
            (Some(with(SinkState::Healthy, 1)), with(SinkState::Healthy, 0), vec![]),
        ];
        for (before, next, expected) in cases {
            let before: Vec<_> = before.into_iter().collect();
            let notices = between(&before, std::slice::from_ref(&next));
            let reasons: Vec<_> = notices.iter().map(|notice| notice.reason).collect();
            assert_eq!(reasons, expected, "{before:?} -> {next:?}");
            assert!(notices.iter().all(|notice| !notice.note.contains("17 s")), "no text of the sink: {notices:?}");
        }
    }
}
