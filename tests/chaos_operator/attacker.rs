//! A hostile custom resource: with any content the receiver's pod stays restricted, the operator requests nothing
//! outside the namespace, and other webhooks are reconciled as before.

use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, NAMESPACE},
    gate::Peer,
    mutate::{self, HOSTILE, Mutation},
    mutations::rich_spec,
    oracle,
    row::{Row, count},
    sample::sample,
    time, workers,
};

/// The fields of the receiver's pod that no custom resource may change.
const PINNED: [&str; 7] = [
    "/spec/template/spec/securityContext",
    "/spec/template/spec/automountServiceAccountToken",
    "/spec/template/spec/containers/0/securityContext",
    "/spec/template/spec/containers/0/image",
    "/spec/template/spec/containers/0/args",
    "/spec/template/spec/containers/0/volumeMounts",
    "/spec/template/spec/hostNetwork",
];

fn cases() -> Vec<Vec<Mutation>> {
    let object = json!({"metadata": {"labels": {}, "annotations": {}}, "spec": rich_spec()});
    // Hostile strings in all fields.
    let everywhere = mutate::all("LinktreeWebhook", &object);
    let hostile = everywhere.into_iter().filter(|it| {
        it.value.as_ref().and_then(Value::as_str).is_some_and(|text| HOSTILE.contains(&text) || text.len() > 200)
    });
    let mut cases: Vec<Vec<Mutation>> = hostile.map(|mutation| vec![mutation]).collect();
    let metadata =
        |field: &str, value: Value| vec![Mutation { path: format!("/metadata/{field}"), value: Some(value) }];
    for text in HOSTILE {
        cases.push(metadata("annotations", json!({"webhooks.linktree-operator.dev/sync-requested-at": text})));
        cases.push(metadata("annotations", json!({"webhooks.linktree-operator.dev/applied-digest": text, "kubectl.kubernetes.io/last-applied-configuration": text})));
        cases.push(metadata(
            "labels",
            json!({"app.kubernetes.io/managed-by": text, "app.kubernetes.io/instance": text}),
        ));
        cases.push(metadata("finalizers", json!(["other.example.com/held", format!("x.example.com/{}", text.len())])));
        cases.push(metadata(
            "ownerReferences",
            json!([{"apiVersion": "v1", "kind": "Node", "name": text, "uid": "uid-none"}]),
        ));
    }
    cases.push(metadata("annotations", json!({"huge": "x".repeat(250_000)})));
    cases
}

fn run(mutations: &[Mutation]) -> Option<Vec<String>> {
    time::simulated(async {
        let cluster = Cluster::start(1, 1);
        ["k1", "k2", "url"]
            .into_iter()
            .for_each(|key| cluster.put_secret("keys", key, "https://chat.example.com/hook"));
        cluster.connect();
        cluster.webhook("sentinel", |_| {});
        let mut object = json!({"metadata": {"labels": {}, "annotations": {}}, "spec": rich_spec()});
        mutations.iter().for_each(|mutation| mutation.apply(&mut object));
        cluster.apply("LinktreeWebhook", "links", object).ok()?;
        let mut violations: Vec<String> =
            cluster.until_condition("sentinel", "Ready", "True").await.err().into_iter().collect();
        let owners_are_gone = mutations.iter().any(|it| it.path.ends_with("ownerReferences"));
        if !owners_are_gone {
            violations.extend(
                cluster
                    .until("the webhook has a Ready condition", || !cluster.condition("links", "Ready").is_empty())
                    .await
                    .err(),
            );
        }
        violations.extend(cluster.until_quiet().await.err());
        violations.extend(same_pod(&cluster));
        violations.extend(outside(&cluster));
        violations.extend(oracle::invariants(&cluster));
        Some(violations)
    })
}

/// The differences between the attacker's pod and the sentinel's.
fn same_pod(cluster: &Cluster) -> Vec<String> {
    let set = |name: &str| cluster.get("StatefulSet", name);
    let (Some(sentinel), Some(attacker)) = (set("sentinel-receiver"), set("links-receiver")) else { return Vec::new() };
    let differs = PINNED.iter().filter(|path| sentinel.pointer(path) != attacker.pointer(path));
    let mut found: Vec<String> =
        differs.map(|path| format!("the pod's {path} is {}", attacker.pointer(path).unwrap_or(&Value::Null))).collect();
    let fields =
        |set: &Value| set["spec"]["template"]["spec"].as_object().map(|it| it.keys().cloned().collect::<Vec<_>>());
    if fields(&sentinel) != fields(&attacker) {
        found.push(format!("the pod has the fields {:?}", fields(&attacker)));
    }
    found
}

/// Requests outside this namespace, or of an unexpected form.
fn outside(cluster: &Cluster) -> Vec<String> {
    let inside = format!("/namespaces/{NAMESPACE}/");
    let paths = cluster.calls.paths();
    let odd = paths.into_iter().filter(|(peer, path)| match peer {
        Peer::Kubernetes => {
            let below = path.split_once(&inside).map(|(_, below)| below);
            below.is_none_or(|below| below.split('/').count() > 3 || below.contains(".."))
        }
        Peer::Linktree => path.contains(".."),
    });
    odd.map(|(peer, path)| format!("request to {peer:?} for {path}")).collect()
}

#[test]
fn custom_resource_as_attacker() {
    let mut row = Row::new("CR as attacker", "custom_resource_as_attacker");
    assert_eq!(run(&[]), Some(Vec::new()), "without a mutation");
    let cases = sample(&row, cases(), count(usize::MAX, 16));
    let results = workers::map(&cases, |mutations| run(mutations));
    let mut accepted = 0;
    for (case, result) in cases.iter().zip(results) {
        let Some(violations) = result else { continue };
        accepted += 1;
        let shown: String = format!("{case:?}").chars().take(300).collect();
        violations.into_iter().for_each(|what| row.violated(format!("{shown}: {what}")));
    }
    row.tried(accepted);
    row.finish();
}
