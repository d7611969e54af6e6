//! The life of a Service, as a table.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use serde_json::json;

use super::*;
use crate::operator::kubernetes::{apply::memory::Applied, names::MANAGED_BY};

fn desired(selector: &str) -> Desired {
    let mut service = Service {
        spec: Some(ServiceSpec {
            selector: Some([("app".to_owned(), selector.to_owned())].into()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    service.metadata.name = Some("links-receiver".into());
    service.metadata.labels = Some([("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned())].into());
    Desired::new(&service).unwrap()
}

fn live(edit: impl FnOnce(&mut Value)) -> Value {
    let mut live = desired("a").value().clone();
    live["metadata"]["uid"] = "u-1".into();
    live["spec"]["clusterIP"] = "10.0.0.1".into();
    edit(&mut live);
    live
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The memory of an apply at second 0 after which the object was as `kept`.
fn memory(desired: &Desired, kept: &Value) -> Memory {
    let differences = compare(desired.value(), kept, &FieldOwners::of(kept, "ours"), Prefer::Live).differing;
    let applied = Applied { desired: desired.digest(), footprint: footprint(desired, kept), differences };
    Memory::after(None, applied, false, at(0))
}

fn decided(live: Option<&Value>, memory: Option<&Memory>, takes_over: bool, second: i64) -> Standing {
    let manager = FieldManager::new("a", "x");
    decide(&desired("a"), live, memory, Applier { manager: &manager, takes_over }, at(second))
}

fn apply(reverts: &[&str]) -> Standing {
    let reverts = reverts.iter().map(|field| Difference { field: (*field).to_owned(), manager: None }).collect();
    Standing::Apply { onto: Some("u-1".into()), reverts }
}

#[test]
fn an_object_is_applied_once_after_a_restart_and_for_a_new_desired_state() {
    let found = live(|_| {});
    assert_eq!(decided(None, None, false, 0), Standing::missing());
    assert_eq!(decided(Some(&found), None, false, 0), apply(&[]));
    assert_eq!(decided(Some(&found), Some(&memory(&desired("b"), &found)), false, 1), apply(&[]));
    assert_eq!(decided(Some(&found), Some(&memory(&desired("a"), &found)), false, 1), Standing::Met);
    assert_eq!(decided(None, Some(&memory(&desired("a"), &found)), false, 1), Standing::missing());
}

#[test]
fn a_value_that_the_api_server_keeps_is_accepted_and_applied_again_ever_more_rarely() {
    let kept = live(|live| live["spec"]["selector"]["app"] = "policy".into());
    let memory = memory(&desired("a"), &kept);
    let difference = Difference { field: "spec.selector.app".to_owned(), manager: None };
    assert_eq!(decided(Some(&kept), Some(&memory), false, 299), Standing::Kept(vec![difference]));
    assert_eq!(decided(Some(&kept), Some(&memory), false, 300), apply(&[]));
}

#[test]
fn a_later_change_is_reverted_whichever_field_it_is_of() {
    let found = live(|_| {});
    let memory = memory(&desired("a"), &found);
    let selector = live(|live| live["spec"]["selector"]["app"] = "b".into());
    assert_eq!(decided(Some(&selector), Some(&memory), false, 1), apply(&["spec.selector.app"]));
    let default = live(|live| live["spec"]["clusterIP"] = "10.0.0.2".into());
    assert_eq!(decided(Some(&default), Some(&memory), false, 1), apply(&[]));
    let annotated = live(|live| live["metadata"]["annotations"] = json!({"a": "b"}));
    assert_eq!(decided(Some(&annotated), Some(&memory), false, 1), Standing::Met);
    let mut often = memory;
    for second in 1..5 {
        let applied = Applied {
            desired: desired("a").digest(),
            footprint: footprint(&desired("a"), &found),
            differences: vec![],
        };
        often = Memory::after(Some(&often), applied, true, at(second));
    }
    let difference = Difference { field: "spec.selector.app".to_owned(), manager: None };
    assert_eq!(decided(Some(&selector), Some(&often), false, 5), Standing::Kept(vec![difference]));
}

#[test]
fn objects_of_others_are_left_alone() {
    let theirs = live(|live| live["metadata"]["labels"] = json!({"app": "mine"}));
    assert_eq!(decided(Some(&theirs), None, true, 0), Standing::Foreign(Foreign::Unlabeled));
    let applied_by = |operators: &[&str]| {
        let entry = |operator: &&str| json!({"manager": format!("linktree-webhook-operator/{operator}"), "operation": "Apply", "fieldsV1": {"f:spec": {"f:selector": {}}}});
        live(|live| live["metadata"]["managedFields"] = operators.iter().map(entry).collect())
    };
    let another = Standing::AnotherOperator { operator: "b/y".into() };
    assert_eq!(decided(Some(&applied_by(&["b/y"])), None, false, 0), another);
    assert_eq!(decided(Some(&applied_by(&["b/y"])), None, true, 0), apply(&[]));
    assert_eq!(decided(Some(&applied_by(&["b/y", "a/x"])), None, false, 0), apply(&[]));
}
