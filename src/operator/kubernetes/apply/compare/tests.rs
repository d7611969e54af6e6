//! Differences of a StatefulSet-like object.

use serde_json::json;

use super::*;

fn desired() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {
            "name": "a", "labels": {"x": "1"},
            "ownerReferences": [{"apiVersion": "g/v1", "kind": "W", "name": "w", "uid": "u-1", "controller": true}],
        },
        "spec": {
            "replicas": 1,
            "selector": {"app": "a"},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {
                    "containers": [{
                        "name": "r", "image": "i:1", "args": ["x"],
                        "ports": [{"name": "d", "containerPort": 8080}],
                        "resources": {"requests": {"cpu": "10m"}},
                    }],
                    "volumes": [{"name": "v", "secret": {"secretName": "s"}}],
                },
            },
        },
        "data": {"k": "v"},
    })
}

/// The desired object with defaults of the API server, after `edit`.
fn live(edit: impl FnOnce(&mut Value)) -> Value {
    let mut live = desired();
    live["metadata"]["uid"] = "1".into();
    live["metadata"]["labels"]["y"] = "theirs".into();
    live["spec"]["podManagementPolicy"] = "OrderedReady".into();
    live["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] = "TCP".into();
    live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = json!({"cpu": "1"});
    live["status"] = json!({"replicas": 1});
    edit(&mut live);
    live
}

/// An entry of `managedFields` of another client for these fields of the spec.
fn edited(live: &mut Value, fields: &Value) {
    live["metadata"]["managedFields"] = json!([
        {"manager": "ours", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "status-writer", "operation": "Update", "subresource": "status", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": fields}},
    ]);
}

fn comparison(live: &Value) -> Comparison {
    compare(&desired(), live, &FieldOwners::of(live, "ours"), Prefer::Live)
}

fn fields(differences: &[Difference]) -> Vec<String> {
    let text = |it: &Difference| {
        format!("{}{}", it.field, it.manager.as_ref().map_or(String::new(), |by| format!(" by {by}")))
    };
    differences.iter().map(text).collect()
}

/// The fields of a pod template's spec, as `managedFields` has them.
fn pod(fields: &Value) -> Value {
    json!({"f:template": {"f:spec": fields}})
}

#[test]
fn defaults_of_the_server_and_fields_outside_of_the_spec_are_no_differences() {
    let found = live(|live| edited(live, &json!({"f:x": {}})));
    let Comparison { differing, added, restored } = comparison(&found);
    assert_eq!((fields(&differing), fields(&added)), (vec![], vec![]));
    assert_eq!(restored, found);
    assert_eq!(merge_patch(&found, &restored), None);
}

#[test]
fn a_changed_and_a_missing_field_are_named_with_their_manager() {
    type Edit = fn(&mut Value);
    let container = "spec.template.spec.containers[r]";
    let cases: [(Edit, String); 8] = [
        (|it| it["spec"]["replicas"] = 0.into(), "spec.replicas by kubectl-edit".into()),
        (|it| it["spec"]["selector"]["app"] = "b".into(), "spec.selector.app".into()),
        (
            |it| it["spec"]["template"]["spec"]["containers"][0]["image"] = "j".into(),
            format!("{container}.image by kubectl-edit"),
        ),
        (|it| it["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["x", "y"]), format!("{container}.args")),
        (
            |it| it["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] = json!({}),
            format!("{container}.resources.requests.cpu"),
        ),
        (|it| it["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([]), format!("{container}.ports[d]")),
        (|it| it["metadata"]["labels"]["x"] = "2".into(), "metadata.labels.x".into()),
        (|it| it["data"]["k"] = "w".into(), "data.k".into()),
    ];
    for (edit, expected) in cases {
        let found = live(|live| {
            edited(
                live,
                &json!({"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"r\"}": {"f:image": {}}}}}}),
            );
            edit(live);
        });
        let Comparison { differing, added, .. } = comparison(&found);
        assert_eq!((fields(&differing), fields(&added)), (vec![expected], vec![]));
    }
}

#[test]
fn fields_that_other_clients_added_within_the_spec_are_removed_and_those_of_admission_stay() {
    let at = |container: &Value| pod(&json!({"f:containers": {"k:{\"name\":\"r\"}": container}}));
    type Edit = fn(&mut Value);
    let cases: [(&str, Edit, Value); 8] = [
        (
            "spec.template.spec.hostNetwork",
            |it| it["spec"]["template"]["spec"]["hostNetwork"] = true.into(),
            pod(&json!({"f:hostNetwork": {}})),
        ),
        (
            "spec.template.spec.initContainers",
            |it| it["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "i"}]),
            pod(&json!({"f:initContainers": {".": {}, "k:{\"name\":\"i\"}": {".": {}, "f:name": {}}}})),
        ),
        (
            "spec.template.spec.containers[r].command",
            |it| it["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["sh"]),
            at(&json!({"f:command": {}})),
        ),
        (
            "spec.template.spec.containers[r].envFrom",
            |it| it["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "x"}}]),
            at(&json!({"f:envFrom": {}})),
        ),
        (
            "spec.template.spec.containers[side]",
            |it| it["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "side"})),
            pod(&json!({"f:containers": {"k:{\"name\":\"side\"}": {".": {}, "f:name": {}}}})),
        ),
        ("spec.selector.tier", |it| it["spec"]["selector"]["tier"] = "x".into(), json!({"f:selector": {}})),
        ("spec.egress", |it| it["spec"]["egress"] = json!([]), json!({"f:egress": {}})),
        (
            "spec.template.spec.securityContext.fsGroup",
            |it| it["spec"]["template"]["spec"]["securityContext"] = json!({"fsGroup": 1, "runAsUser": 2}),
            pod(&json!({"f:securityContext": {"f:fsGroup": {}}})),
        ),
    ];
    for (field, edit, owned) in cases {
        let by_admission = live(edit);
        assert!(comparison(&by_admission).added.is_empty(), "{field}");
        let found = live(|live| {
            edited(live, &owned);
            edit(live);
        });
        let Comparison { added, restored, .. } = comparison(&found);
        assert_eq!(fields(&added), [format!("{field} by kubectl-edit")]);
        let again = comparison(&restored);
        assert!(again.added.is_empty() && again.differing.is_empty(), "{field}: {again:?}");
        let patch = merge_patch(&found, &restored).unwrap();
        assert_eq!(patch.as_object().unwrap().keys().collect::<Vec<_>>(), ["spec"], "{field}");
    }
}

#[test]
fn annotations_of_others_are_never_removed_and_change_nothing_that_is_owned() {
    let annotated = live(|live| {
        live["metadata"]["annotations"] = json!({"a": "b"});
        live["spec"]["template"]["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now"});
        edited(
            live,
            &json!({"f:template": {"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}}}}),
        );
    });
    let Comparison { differing, added, restored } = comparison(&annotated);
    assert!(differing.is_empty() && added.is_empty());
    assert_eq!(restored, annotated);
    assert_eq!(owned(&desired(), &annotated), owned(&desired(), &live(|_| {})));
    let scaled = live(|live| live["spec"]["podManagementPolicy"] = "Parallel".into());
    assert_ne!(owned(&desired(), &scaled), owned(&desired(), &live(|_| {})), "a default that was changed");
}

#[test]
fn an_earlier_owner_of_our_name_is_replaced_and_other_owners_stay() {
    let dead = json!({"apiVersion": "g/v1", "kind": "W", "name": "w", "uid": "dead", "controller": true});
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u-2"});
    let ours = desired()["metadata"]["ownerReferences"][0].clone();
    let owners = |owners: &[&Value]| {
        let found = live(|live| live["metadata"]["ownerReferences"] = json!(owners));
        let Comparison { added, restored, .. } = comparison(&found);
        (added.len(), restored["metadata"]["ownerReferences"].clone())
    };
    assert_eq!(owners(&[&dead]), (1, json!([ours])));
    assert_eq!(owners(&[&other, &dead, &ours]), (1, json!([other, ours])));
    assert_eq!(owners(&[&other, &ours]), (0, json!([other, ours])));
}

#[test]
fn restoring_with_desired_values_drops_what_makes_the_object_invalid() {
    let found = live(|live| {
        live["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "side"}));
        live["spec"]["replicas"] = 3.into();
    });
    let owners = FieldOwners::of(&found, "ours");
    let restored = compare(&desired(), &found, &owners, Prefer::Desired).restored;
    assert_eq!(restored["spec"]["replicas"], 1);
    assert_eq!(restored["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    assert_eq!(restored["spec"]["podManagementPolicy"], "OrderedReady");
}

#[test]
fn reports_are_bounded() {
    let mut wanted = desired();
    for number in 0..50 {
        wanted["spec"][format!("{number}{}", "x".repeat(500))] = 1.into();
    }
    let found = live(|_| {});
    let Comparison { differing, .. } = compare(&wanted, &found, &FieldOwners::default(), Prefer::Live);
    assert_eq!(differing.len(), DIFFERENCES_MAX);
    assert!(differing.iter().all(|it| it.field.chars().count() <= FIELD_MAX));
}
