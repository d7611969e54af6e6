//! Tests of objects that do not parse as a whole.

use kube::core::ObjectList;

use super::*;

mod schema;

fn webhook() -> Value {
    json!({
        "apiVersion": "webhooks.linktree-operator.dev/v1alpha1",
        "kind": "LinktreeWebhook",
        "metadata": {"namespace": "marketing", "name": "links", "uid": "u-1", "generation": 1},
        "spec": {
            "connectionRef": {"name": "brand"},
            "events": ["link.created"],
            "endpoint": {"managed": {"exposure": {"type": "Service"}}},
            "signing": {"keys": [{"name": "k", "secretRef": {"name": "s", "key": "k"}}]},
            "sinks": [{"name": "cms", "http": {"url": "http://cms.marketing.svc/in"}}],
        },
        "status": {
            "address": {"url": "https://x/"},
            "subscription": {
                "id": "wh_1",
                "state": "Enabled",
                "recovery": {
                    "lastAttemptTime": "2026-01-01T00:00:00Z", "lastResult": "Failed", "attempts": 1,
                    "dayStartTime": "2026-01-01T00:00:00Z", "attemptsToday": 1,
                },
            },
        },
    })
}

fn read(object: Value) -> Guarded<LinktreeWebhook> {
    serde_json::from_value(object).unwrap()
}

fn id(webhook: &LinktreeWebhook) -> Option<&str> {
    webhook.status.as_ref()?.subscription.as_ref()?.id.as_deref()
}

#[test]
fn a_whole_object_has_no_problem() {
    let read = read(webhook());
    assert_eq!(read.problems, []);
    assert_eq!((read.metadata.generation, id(&read)), (Some(1), Some("wh_1")));
}

#[test]
fn a_field_that_does_not_parse_is_named_and_costs_nothing_else() {
    type Edit = fn(&mut Value);
    let cases: [(&str, Edit); 9] = [
        ("spec.signing.keys[0].notAfterTime", |spec| {
            spec["signing"]["keys"][0]["notAfterTime"] = "9999-12-31T23:59:59Z".into();
        }),
        ("spec.pause", |spec| spec["pause"] = "Everything".into()),
        ("spec.pause", |spec| spec["pause"] = Value::Null),
        ("spec.endpoint.managed.exposure.type", |spec| spec["endpoint"]["managed"]["exposure"]["type"] = "Mesh".into()),
        ("spec.connectionRef.name", |spec| spec["connectionRef"]["name"] = 7.into()),
        ("spec.events", |spec| spec["events"] = Value::Null),
        ("spec", |spec| *spec = "none".into()),
        ("spec", |spec| drop(spec.as_object_mut().unwrap().remove("endpoint"))),
        ("spec.signing.timestampToleranceSeconds", |spec| {
            spec["signing"]["timestampToleranceSeconds"] = json!(1e30);
        }),
    ];
    for (field, edit) in cases {
        let mut object = webhook();
        edit(&mut object["spec"]);
        let shown = object.to_string();
        let read = read(object);
        assert_eq!(read.spec_problem().map(|problem| problem.field.as_str()), Some(field), "{shown}");
        assert_eq!((read.metadata.name.as_deref(), id(&read)), (Some("links"), Some("wh_1")), "{shown}");
    }
}

#[test]
fn an_odd_status_leaves_the_spec_valid_and_keeps_the_id() {
    type Edit = fn(&mut Value);
    let edits: [Edit; 5] = [
        |status| status["subscription"]["recovery"]["dayStartTime"] = "9999-12-31T23:59:59Z".into(),
        |status| status["subscription"]["registrationTime"] = "9999-12-31T23:59:59Z".into(),
        |status| status["subscription"]["recovery"]["lastResult"] = "Postponed".into(),
        |status| status["gaps"] = json!([{"startTime": null, "reason": "Unknown"}]),
        |status| status["conditions"] = json!([{"type": "Ready"}, 7]),
    ];
    for edit in edits {
        let mut object = webhook();
        edit(&mut object["status"]);
        let shown = object["status"].to_string();
        let read = read(object);
        assert_eq!((read.spec_problem(), id(&read)), (None, Some("wh_1")), "{shown}");
        assert!(!read.problems.is_empty(), "{shown}");
    }
}

#[test]
fn a_policy_counts_as_read_unless_it_or_its_object_was_left_out() {
    type Edit = fn(&mut Value);
    let cases: [(Edit, bool); 5] = [
        (|spec| spec["subscription"]["deletionPolicy"] = "Retain".into(), true),
        (|spec| spec["subscription"]["deletionPolicy"] = "Archive".into(), false),
        (|spec| spec["subscription"] = 7.into(), false),
        (|spec| spec["subscription"]["driftPolicy"] = "Archive".into(), true),
        (|spec| spec["endpoint"] = 7.into(), true),
    ];
    for (edit, expected) in cases {
        let mut object = webhook();
        edit(&mut object["spec"]);
        let shown = object["spec"].to_string();
        assert_eq!(read(object).has_read("spec.subscription.deletionPolicy"), expected, "{shown}");
    }
}

#[test]
fn an_object_of_many_problems_keeps_its_name() {
    let mut object = webhook();
    object["spec"]["signing"]["keys"] = Value::Array(vec![json!({"notAfterTime": 7}); 500]);
    object["status"]["gaps"] = Value::Array(vec![json!({"reason": "Unknown"}); 500]);
    let read = read(object);
    assert_eq!(read.metadata.name.as_deref(), Some("links"));
    assert!(read.spec_problem().is_some());
    assert!(read.problems.len() <= PROBLEMS_MAX + 1);
}

#[test]
fn one_odd_object_does_not_spoil_a_list() {
    let mut odd = webhook();
    odd["spec"]["pause"] = "Everything".into();
    odd["metadata"]["managedFields"] = json!([{"time": "9999-12-31T23:59:59Z"}]);
    let list = json!({
        "apiVersion": "webhooks.linktree-operator.dev/v1alpha1", "kind": "LinktreeWebhookList", "metadata": {},
        "items": [webhook(), odd, 7, {}],
    });
    let list: ObjectList<Guarded<LinktreeWebhook>> = serde_json::from_value(list).unwrap();
    let valid: Vec<bool> = list.items.iter().map(|webhook| webhook.spec_problem().is_none()).collect();
    assert_eq!(valid, [true, false, false, false]);
}

#[test]
fn other_kinds_are_read_as_far_as_they_parse() {
    let secret: Guarded<Secret> = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "s", "managedFields": [{"time": "9999-12-31T23:59:59Z"}]},
        "data": {"good": "YQ==", "bad": "%"},
    }))
    .unwrap();
    let data = secret.data.as_ref().unwrap();
    assert_eq!((data.get("good").map(|it| it.0.as_slice()), data.get("bad")), (Some(b"a".as_slice()), None));
    let pod: Guarded<Pod> = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "status": {"podIP": "10.0.0.1", "startTime": "9999-12-31T23:59:59Z"},
    }))
    .unwrap();
    assert_eq!(pod.status.as_ref().unwrap().pod_ip.as_deref(), Some("10.0.0.1"));
    let route: Guarded<HTTPRoute> = serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": 7})).unwrap();
    assert_eq!(route.metadata.name.as_deref(), Some("r"));
}
