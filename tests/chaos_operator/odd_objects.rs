//! Odd objects beside healthy ones: objects that an earlier or later version of the schema accepted, and metadata of
//! other clients. The operator starts with them; the healthy webhooks must not notice.

use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, webhook_spec},
    row::{Row, count},
    sample::sample,
    time, workers,
};

/// An odd value at a place of an object.
#[derive(Clone, Debug)]
struct Case {
    kind: &'static str,
    name: &'static str,
    /// The pointer of the field that gets the value.
    at: &'static str,
    value: Value,
}

const WEBHOOK_PLACES: [&str; 34] = [
    "/spec",
    "/spec/connectionRef",
    "/spec/connectionRef/name",
    "/spec/events",
    "/spec/events/0",
    "/spec/endpoint",
    "/spec/endpoint/type",
    "/spec/endpoint/managed",
    "/spec/endpoint/managed/exposure/type",
    "/spec/signing",
    "/spec/signing/keys",
    "/spec/signing/staleDeliveryPolicy",
    "/spec/signing/timestampToleranceSeconds",
    "/spec/subscription",
    "/spec/subscription/driftPolicy",
    "/spec/subscription/adoptionPolicy",
    "/spec/subscription/recovery",
    "/spec/subscription/recovery/policy",
    "/spec/receiver",
    "/spec/receiver/journal/capacity",
    "/spec/receiver/maxBodyBytes",
    "/spec/sinks",
    "/spec/sinks/0",
    "/spec/sinks/0/name",
    "/spec/sinks/0/http",
    "/spec/sinks/0/format",
    "/spec/sinks/0/delivery",
    "/spec/pause",
    "/status",
    "/status/conditions",
    "/status/subscription/registrationTime",
    "/status/subscription/recovery",
    "/status/gaps",
    "/status/sinks",
];

const CONNECTION_PLACES: [&str; 6] = [
    "/spec",
    "/spec/tokenSecretRef",
    "/spec/requestBudget",
    "/spec/syncPeriodSeconds",
    "/status",
    "/status/requestBudget",
];

const METADATA_PLACES: [&str; 2] = ["/metadata/managedFields", "/metadata/selfLink"];

fn values() -> Vec<Value> {
    vec![
        json!(null),
        json!("9999-12-31T23:59:59Z"),
        json!("Newer"),
        json!(-1),
        json!(1e30),
        json!(true),
        json!([]),
        json!([null]),
        json!([{"name": "odd", "time": "9999-12-31T23:59:59Z"}]),
        json!({}),
        json!({"type": "Newer", "newer": {"deep": [1]}}),
    ]
}

fn cases() -> Vec<Case> {
    let webhooks = WEBHOOK_PLACES.iter().map(|at| ("LinktreeWebhook", "odd", *at));
    let connections = CONNECTION_PLACES.iter().map(|at| ("LinktreeConnection", "odd", *at));
    let others =
        [("LinktreeWebhook", "odd"), ("Secret", "odd"), ("Service", "links-receiver"), ("Pod", "links-receiver-0")];
    let metadata = others.iter().flat_map(|(kind, name)| METADATA_PLACES.iter().map(|at| (*kind, *name, *at)));
    let places: Vec<_> = webhooks.chain(connections).chain(metadata).collect();
    let case = |(kind, name, at): (&'static str, &'static str, &'static str)| {
        values().into_iter().map(move |value| Case { kind, name, at, value })
    };
    places.into_iter().flat_map(case).collect()
}

/// Puts the odd value into the object, past the schema: as an object in etcd is that another version wrote.
fn spoil(cluster: &Cluster, case: &Case) {
    let key = cluster.key(case.kind, case.name);
    let edit = |object: &mut Value| {
        let mut place = &mut *object;
        for part in case.at.trim_start_matches('/').split('/') {
            place = match part.parse::<usize>() {
                Ok(index) if place.get(index).is_some() => &mut place[index],
                _ if place.is_object() || place.is_null() => &mut place[part],
                _ => return,
            };
        }
        *place = case.value.clone();
    };
    cluster.kubernetes.put_raw(&key, edit).unwrap();
}

fn run(case: &Case) -> Vec<String> {
    time::simulated(async {
        let mut cluster = Cluster::start(1, 1);
        if let Err(problem) = cluster.settled("links").await {
            return vec![problem];
        }
        cluster.put_secret("odd", "token", "lt_test_odd");
        let connection = json!({"spec": {"tokenSecretRef": {"name": "odd"}}});
        cluster.apply("LinktreeConnection", "odd", connection).unwrap();
        cluster.apply("LinktreeWebhook", "odd", json!({"spec": webhook_spec()})).unwrap();
        if let Err(problem) = cluster.until_condition("odd", "Ready", "True").await {
            return vec![problem];
        }
        spoil(&cluster, case);
        cluster.restart_operators().await;
        // A healthy webhook is created, corrected and deleted beside the odd object.
        cluster.webhook("later", |_| {});
        let mut violations = Vec::new();
        violations.extend(cluster.until_condition("later", "Ready", "True").await.err());
        cluster.delete("LinktreeWebhook", "later");
        let later = || cluster.get("LinktreeWebhook", "later").is_none();
        violations.extend(cluster.until("the healthy webhook is deleted", later).await.err());
        // The odd webhook can be deleted, with its subscription.
        cluster.delete("LinktreeWebhook", "odd");
        let odd = || cluster.get("LinktreeWebhook", "odd").is_none();
        violations.extend(cluster.until("the odd webhook is deleted", odd).await.err());
        violations.extend(cluster.until_condition("links", "Ready", "True").await.err());
        violations
    })
}

#[test]
fn odd_objects() {
    let mut row = Row::new("odd objects beside healthy", "odd_objects");
    let cases = sample(&row, cases(), count(600, 24));
    row.tried(cases.len());
    for (case, violations) in cases.iter().zip(workers::map(&cases, run)) {
        violations.into_iter().for_each(|what| row.violated(format!("{case:?}: {what}")));
    }
    row.finish();
}
