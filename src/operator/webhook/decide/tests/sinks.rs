//! Held sinks and dead letters.

use super::{cases::held, *};
use crate::operator::webhook::status::diff::{Change, Due, StatusDiff, diff};

fn held_by(failure: &str, answer: &str, next_attempt_time: i64) -> LinktreeWebhookStatus {
    let mut observed = settled();
    held(&mut observed, HoldCause::Failures, 30);
    let sink = &mut receiver_of(&mut observed).sinks[0];
    sink.held.as_mut().unwrap().next_attempt_time = next_attempt_time;
    (sink.last_failure, sink.last_answer) = (Some(failure.into()), Some(answer.into()));
    observed.sink_failures = BTreeMap::from([("cms".to_owned(), "answered 503".to_owned())]);
    status_after(&Spec::parse(&webhook(|_| {})).unwrap(), &observed, None, at(NOW))
}

#[test]
fn the_probes_of_a_held_sink_cause_no_status_write() {
    let before = held_by("answered 503", "busy", NOW + 1);
    let due = |counters| Due { counters, texts: false };
    assert_eq!(diff(&before, held_by("answered 503", "busy", NOW + 60), due(true)), StatusDiff::Nothing);
    let other = held_by("answered 404", "no such tenant", NOW + 60);
    assert_eq!(
        diff(&before, other.clone(), due(false)),
        StatusDiff::Later,
        "another failure is written like a counter"
    );
    assert_eq!(diff(&before, other.clone(), due(true)), StatusDiff::Now(Change::Counters, Box::new(other)));
}

#[test]
fn a_message_names_the_held_sink_and_its_failure_but_not_its_answer() {
    let status = held_by("answered 503", "please wait 17 s", NOW + 1);
    let message = &conditions::find(&status.conditions, ConditionType::Delivering).unwrap().message;
    assert!(message.starts_with("sinks fail and are held: cms (answered 503); "), "{message}");
    assert!(!message.contains("17"), "{message}");
    assert_eq!(status.sinks[0].last_answer.as_deref(), Some("please wait 17 s"));
    assert_eq!(status.sinks[0].held.as_ref().map(|held| held.since_time.0), Some(at(NOW - 30)));
}

#[test]
fn a_removed_sink_with_dead_letters_is_in_the_status_and_in_the_message() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let after = |dead_lettered| {
        let mut observed = settled();
        let status = receiver_of(&mut observed);
        status.removed_sinks = vec![RemovedSink { name: "old".into(), backlog: 0, dead_lettered }];
        status_after(&spec, &observed, None, at(NOW))
    };
    let status = after(3);
    assert_eq!((status.removed_sinks[0].name.as_str(), status.removed_sinks[0].dead_lettered), ("old", 3));
    let message = &conditions::find(&status.conditions, ConditionType::Delivering).unwrap().message;
    assert!(message.contains(": old (no longer in spec.sinks); see"), "{message}");
    let nothing_due = Due { counters: false, texts: false };
    assert_eq!(diff(&status, after(4), nothing_due), StatusDiff::Later, "the number is a counter");
    assert!(matches!(diff(&status, after(0), nothing_due), StatusDiff::Now(Change::State, _)));
}
