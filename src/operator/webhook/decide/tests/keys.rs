//! Signing keys: when a new one is asked for, when one ends, and what is said of one that could not be kept.

use super::*;

fn rotations(plan: &Plan) -> Vec<&Step> {
    plan.steps.iter().filter(|step| matches!(step, Step::RotateSecret { .. })).collect()
}

fn asked() -> Observed {
    Observed { rotate_request: Some("2026".into()), ..settled() }
}

/// The plan, and what `SigningKeysReady` says.
fn decided(edit: fn(&mut Value), observed: &Observed) -> (Plan, String) {
    let spec = Spec::parse(&webhook(edit)).unwrap();
    let mut observed = observed.clone();
    observed.status.conditions = status_after(&spec, &observed, None, at(NOW)).conditions;
    let plan = decide(&spec, &observed, at(NOW));
    let message =
        plan.findings.iter().find(|(of, _)| *of == ConditionType::SigningKeysReady).unwrap().1.message.clone();
    (plan, message)
}

#[test]
fn a_requested_rotation_keeps_the_secret_before_it_and_is_tried_first() {
    let (plan, _) = decided(|_| {}, &asked());
    let rotate =
        Step::RotateSecret { id: SubscriptionId("wh_1".into()), keep_previous: true, request: Some("2026".into()) };
    assert_eq!(plan.steps, [Step::DryRunSecretWrite, rotate]);
    assert_eq!(rotations(&decided(|_| {}, &settled()).0).len(), 0, "nobody asks");
}

#[test]
fn a_secret_of_another_subscription_is_replaced_and_not_kept() {
    let mut observed = asked();
    observed.secret_kept_for = Some(SubscriptionId("wh_0".into()));
    let (plan, _) = decided(|_| {}, &observed);
    assert!(matches!(rotations(&plan)[..], [Step::RotateSecret { keep_previous: false, .. }]), "{:?}", plan.steps);
}

#[test]
fn a_rotation_that_is_not_possible_is_answered_with_what_to_do() {
    let mut observed = asked();
    lacks(&mut observed, Call::RotateSecret);
    let (plan, message) = decided(|_| {}, &observed);
    assert!(rotations(&plan).is_empty() && message.contains("key secret of Secret links-signing"), "{message}");
    let named = |object: &mut Value| {
        object["spec"]["signing"] = json!({"keys": [{"name": "k1", "secretRef": {"name": "keys", "key": "a"}}]});
    };
    let (plan, message) = decided(named, &asked());
    assert!(rotations(&plan).is_empty() && message.contains("first in spec.signing.keys"), "{message}");
    let observe = |object: &mut Value| object["spec"]["subscription"] = json!({"managementPolicy": "Observe"});
    let (plan, _) = decided(observe, &asked());
    assert!(rotations(&plan).is_empty());
    assert_eq!(plan.subscription.unwrap().plan.len(), 1, "what it would do");
}

#[test]
fn a_handled_request_is_told_and_stays_told() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let observed = asked();
    let outcome = Outcome { rotated: Some("2026".into()), ..Outcome::default() };
    let report = Report {
        generation: spec.generation,
        url: spec.url.as_str(),
        route: Some(&route::tests::route()),
        observed: &observed,
        plan: decide(&spec, &observed, at(NOW)),
        outcome: &outcome,
        hold_until: None,
        now: at(NOW),
    };
    let status = report.status();
    assert_eq!(status.last_handled_rotate_secret_request.as_deref(), Some("2026"));
    let later = Observed { status, ..settled() };
    assert_eq!(status_after(&spec, &later, None, at(NOW)).last_handled_rotate_secret_request.as_deref(), Some("2026"));
}

#[test]
fn a_look_is_taken_when_a_key_ends() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    for (end, requeue) in [(NOW + 2, Duration::from_secs(2)), (NOW + 3600, SETTLED), (NOW - 1, SETTLED)] {
        let observed = Observed { next_key_end: Some(at(end)), ..settled() };
        assert_eq!(decide(&spec, &observed, at(NOW)).requeue, requeue, "{end}");
    }
}

#[test]
fn a_secret_that_could_not_be_kept_is_told() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    for made in [false, true] {
        let failure = Failure::NotKept { problem: "Secret links-signing is immutable".into(), made };
        let conditions = status_after(&spec, &settled(), Some(failure), at(NOW)).conditions;
        for of in [ConditionType::SigningKeysReady, ConditionType::Ready] {
            assert_eq!(find(&conditions, of), Some(("False", "SecretNotKept")), "{of}");
        }
    }
}
