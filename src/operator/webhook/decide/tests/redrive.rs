//! Requests to send dead letters again.

use super::*;
use crate::{operator::webhook::plan::HandledRedrive, route::redrive::Selection};

fn requested(value: &str) -> Observed {
    let mut observed = settled();
    observed.redrive_request = Some(value.to_owned());
    pod(&mut observed).address = Some([10, 0, 0, 1].into());
    observed
}

/// The selected sink and the target of the request that is sent for this value, or the reason why it is rejected.
fn sent(value: &str) -> Result<(Option<String>, Option<String>), String> {
    let plan = decide(&Spec::parse(&webhook(|_| {})).unwrap(), &requested(value), at(NOW));
    match (plan.steps.as_slice(), plan.rejected_redrive) {
        ([Step::Redrive { request, .. }], None) => {
            assert_eq!(request.id, value);
            let Selection::DeadLetters { sink } = request.select.clone() else { panic!("{request:?}") };
            Ok((sink, request.target_sink.clone()))
        }
        ([], Some(HandledRedrive { request, result: Err(problem) })) => {
            assert_eq!(request, value);
            Err(problem)
        }
        other => panic!("{value}: {other:?}"),
    }
}

#[test]
fn a_value_selects_a_sink_all_sinks_or_a_removed_sink_with_a_target() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(sent("cms 2026-11-30T22:00:00Z"), Ok((some("cms"), None)));
    assert_eq!(sent("* again"), Ok((None, None)));
    assert_eq!(sent("old:cms 1"), Ok((some("old"), some("cms"))));
    assert_eq!(sent("  cms   1  "), Ok((some("cms"), None)));
    let long = format!("cms {}", "x".repeat(256));
    let rejected = [
        ("", "the value must be \"SINK TIME\""),
        ("cms", "the value must be \"SINK TIME\""),
        ("crm 1", "spec.sinks has no sink crm: to send its dead letters to another sink, write \"crm:SINK TIME\""),
        ("old:crm 1", "spec.sinks has no sink crm to send to"),
        ("*:cms 1", "a sink to send to needs the name of one sink"),
        (":cms 1", "a sink to send to needs the name of one sink"),
        ("cms\u{7} 1", "without control characters"),
        (long.as_str(), "the value must have at most 256 bytes"),
    ];
    for (value, expected) in rejected {
        let problem = sent(value).unwrap_err();
        assert!(problem.contains(expected), "{value}: {problem}");
    }
}

#[test]
fn a_request_waits_for_a_receiver_with_the_current_route() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    type Change = fn(&mut Observed);
    let cases: [(Change, &str); 3] = [
        (|o| receiver_of(o).route_digest = "r0".into(), "the receiver has not loaded the current route yet"),
        (|o| o.receiver.status = None, "the receiver's status cannot be read"),
        (|o| o.receiver = Receiver::default(), "the receiver's status cannot be read"),
    ];
    for (change, expected) in cases {
        let mut observed = requested("cms 1");
        change(&mut observed);
        let plan = decide(&spec, &observed, at(NOW));
        assert!(!plan.steps.iter().any(|step| matches!(step, Step::Redrive { .. })), "{expected}");
        let status = status_after(&spec, &observed, None, at(NOW));
        assert_eq!(status.last_handled_redrive_request, None);
        let message = &conditions::find(&status.conditions, ConditionType::Delivering).unwrap().message;
        assert!(message.ends_with(&format!("; the requested redrive waits: {expected}")), "{message}");
    }
}

#[test]
fn the_remark_about_a_request_that_waits_does_not_grow() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let mut observed = requested("cms 1");
    let failure = Failure::Redrive { problem: "the receiver does not respond".into() };
    observed.status = status_after(&spec, &observed, Some(failure), at(NOW));
    observed.receiver.status = None;
    observed.status = status_after(&spec, &observed, None, at(NOW));
    let again = status_after(&spec, &observed, None, at(NOW));
    assert_eq!(again.conditions, observed.status.conditions);
    let message = &conditions::find(&again.conditions, ConditionType::Delivering).unwrap().message;
    assert_eq!(message.matches("redrive").count(), 1, "{message}");
}

#[test]
fn a_handled_request_is_in_the_status_and_an_unhandled_one_stays_pending() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let rejected = status_after(&spec, &requested("crm 1"), None, at(NOW));
    assert_eq!(rejected.last_handled_redrive_request.as_deref(), Some("crm 1"));
    assert!(rejected.last_redrive.unwrap().message.unwrap().contains("no sink crm"));

    let observed = requested("cms 1");
    let failure = Failure::Redrive { problem: "the receiver does not respond".into() };
    let failed = status_after(&spec, &observed, Some(failure), at(NOW));
    assert_eq!(failed.last_handled_redrive_request, None);
    let message = &conditions::find(&failed.conditions, ConditionType::Delivering).unwrap().message;
    assert!(message.ends_with("; the requested redrive waits, and is tried again: the receiver does not respond"));
    assert_eq!(find(&failed.conditions, ConditionType::Delivering), Some(("True", "Healthy")));

    let plan = decide(&spec, &observed, at(NOW));
    assert!(!plan.rests, "the request is not handled yet");
    let redriven = Some(HandledRedrive { request: "cms 1".into(), result: Ok(17) });
    let outcome = Outcome { redriven, ..Outcome::default() };
    let route = route::tests::route();
    let url = spec.url.as_str();
    let report = Report {
        generation: None,
        url,
        route: Some(&route),
        observed: &observed,
        plan,
        outcome: &outcome,
        hold_until: None,
        now: at(NOW),
    };
    let status = report.status();
    assert_eq!(status.last_handled_redrive_request.as_deref(), Some("cms 1"));
    assert_eq!(status.last_redrive.unwrap().matched, Some(17));
}

#[test]
fn a_paused_reconciliation_holds_a_request_back() {
    let spec = Spec::parse(&webhook(|object| object["spec"]["pause"] = "Reconciliation".into())).unwrap();
    let observed = requested("cms 1");
    assert_eq!(decide(&spec, &observed, at(NOW)).steps, []);
    let status = status_after(&spec, &observed, None, at(NOW));
    assert_eq!(status.last_handled_redrive_request, None);
    assert_eq!(find(&status.conditions, ConditionType::Stalled), Some(("True", "Paused")));
}
