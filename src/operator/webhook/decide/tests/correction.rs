//! Corrections of the subscription that have no effect.

use super::*;
use crate::{linktree::event::EventType, operator::webhook::correction::Correction};

fn drifted(url: &str, events: &[&str]) -> Observed {
    let mut observed = settled();
    let known = &mut account(&mut observed).subscriptions[0];
    url.clone_into(&mut known.url);
    known.events = events.iter().map(|event| EventType::named(event)).collect();
    observed
}

fn updates(plan: &Plan) -> usize {
    plan.steps.iter().filter(|step| matches!(step, Step::Update { .. })).count()
}

#[test]
fn an_update_without_effect_is_repeated_later_and_reported_with_what_linktree_keeps() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let mut observed = drifted("", &["link.created"]);
    let first = decide(&spec, &observed, at(NOW));
    assert_eq!(updates(&first), 1);
    let drift = first.subscription.unwrap().drift;
    observed.correction = Some(Correction::after(None, spec.generation, &drift, at(NOW)));
    let up_to_date = |plan: &Plan| plan.findings.iter().find(|it| it.0 == ConditionType::UpToDate).unwrap().1.clone();
    for (seconds, repeated) in [(1, 0), (299, 0), (300, 1)] {
        let plan = decide(&spec, &observed, at(NOW + seconds));
        let Finding { reason, message, .. } = up_to_date(&plan);
        assert_eq!((reason, updates(&plan)), (Reason::UpdateRestricted, repeated), "after {seconds} s");
        assert!(message.contains("keeps events link.created after an update"), "{message}");
    }
    let mut edited = drifted("", &["link.deleted"]);
    edited.correction = observed.correction;
    assert_eq!(updates(&decide(&spec, &edited, at(NOW + 1))), 1, "another change is corrected at once");
}

#[test]
fn a_url_that_is_only_written_in_another_way_is_no_difference() {
    let spec = Spec::parse(&webhook(|object| {
        object["spec"]["endpoint"] = json!({"type": "External", "external": {"url": "https://hooks.example.com"}});
        object["spec"]["sinks"] = json!([]);
    }));
    let spec = spec.unwrap();
    for (url, different) in [
        ("https://hooks.example.com/", false),
        ("https://hooks.example.com", false),
        ("https://HOOKS.example.com:443", false),
        ("https://hooks.example.com/in", true),
        ("not a URL", true),
    ] {
        let plan = decide(&spec, &drifted(url, &["link.created", "link.updated"]), at(NOW));
        assert_eq!(!plan.subscription.unwrap().drift.is_empty(), different, "{url}");
    }
}
