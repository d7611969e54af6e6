//! Signing keys: rotation, expiry, and secrets that cannot be stored.

use super::*;

fn rotations(plan: &Plan) -> Vec<&Step> {
    plan.steps.iter().filter(|step| matches!(step, Step::RotateSecret { .. })).collect()
}

fn rotation_requested() -> Observed {
    Observed { rotate_request: Some("2026".into()), ..settled() }
}

/// The plan, and the message of `SigningKeysReady`.
fn decided(edit: fn(&mut Value), observed: &Observed) -> (Plan, String) {
    let spec = Spec::parse(&webhook(edit)).unwrap();
    let mut observed = observed.clone();
    observed.status.conditions = status_after(&spec, &observed, None, at(NOW)).conditions;
    let plan = decide(&spec, &observed, at(NOW));
    let message = plan
        .findings
        .iter()
        .find(|(condition_type, _)| *condition_type == ConditionType::SigningKeysReady)
        .unwrap()
        .1
        .message
        .clone();
    (plan, message)
}

#[test]
fn a_requested_rotation_keeps_the_previous_secret_after_a_dry_run() {
    let (plan, _) = decided(|_| {}, &rotation_requested());
    let rotate =
        Step::RotateSecret { id: SubscriptionId("wh_1".into()), keep_previous: true, request: Some("2026".into()) };
    assert_eq!(plan.steps, [Step::DryRunSecretWrite, rotate]);
    assert_eq!(rotations(&decided(|_| {}, &settled()).0).len(), 0, "without a request");
}

#[test]
fn the_secret_of_another_subscription_is_replaced_and_not_kept_as_previous() {
    let mut observed = rotation_requested();
    observed.secret_kept_for = Some(SubscriptionId("wh_0".into()));
    let (plan, _) = decided(|_| {}, &observed);
    assert!(matches!(rotations(&plan)[..], [Step::RotateSecret { keep_previous: false, .. }]), "{:?}", plan.steps);
}

#[test]
fn an_impossible_rotation_is_reported_with_a_remedy() {
    let mut observed = rotation_requested();
    lacks(&mut observed, Call::RotateSecret);
    let (plan, message) = decided(|_| {}, &observed);
    assert!(rotations(&plan).is_empty() && message.contains("key secret of Secret links-signing"), "{message}");
    let named = |object: &mut Value| {
        object["spec"]["signing"] = json!({"keys": [{"name": "k1", "secretRef": {"name": "keys", "key": "a"}}]});
    };
    let (plan, message) = decided(named, &rotation_requested());
    assert!(rotations(&plan).is_empty() && message.contains("first in spec.signing.keys"), "{message}");
    let observe = |object: &mut Value| object["spec"]["subscription"] = json!({"managementPolicy": "Observe"});
    let (plan, _) = decided(observe, &rotation_requested());
    assert!(rotations(&plan).is_empty());
    assert_eq!(plan.subscription.unwrap().plan.len(), 1, "the planned action");
}

#[test]
fn a_completed_rotation_request_stays_in_the_status() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let observed = rotation_requested();
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
fn a_webhook_is_reconciled_when_a_key_expires() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    for (end, requeue) in [(NOW + 2, Duration::from_secs(2)), (NOW + 3600, SETTLED), (NOW - 1, SETTLED)] {
        let observed = Observed { next_key_end: Some(at(end)), ..settled() };
        assert_eq!(decide(&spec, &observed, at(NOW)).requeue, requeue, "{end}");
    }
}

#[test]
fn a_secret_that_cannot_be_stored_is_reported() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    for created in [false, true] {
        let failure = Failure::SecretNotStored { problem: "Secret links-signing is immutable".into(), created };
        let conditions = status_after(&spec, &settled(), Some(failure), at(NOW)).conditions;
        for condition_type in [ConditionType::SigningKeysReady, ConditionType::Ready] {
            assert_eq!(find(&conditions, condition_type), Some(("False", "SecretNotKept")), "{condition_type}");
        }
    }
}
