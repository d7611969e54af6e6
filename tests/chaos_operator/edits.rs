//! Edits by hand of the child objects: those within the specs that the operator owns are reverted once and reported by an
//! Event, also if the operator did not run meanwhile; annotations of others stay.

use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, NAMESPACE},
    row::{Row, count},
    sample::sample,
    time, workers,
};

#[derive(Clone, Copy, Debug)]
struct Case {
    kind: &'static str,
    pointer: &'static str,
    value: &'static str,
    /// Whether the edit is reverted; otherwise it stays.
    reverted: bool,
    operator_runs: bool,
}

const EDITS: [(&str, &str, &str, bool); 26] = [
    ("Service", "/spec/selector", r#"{"app": "other"}"#, true),
    ("Service", "/spec/selector/tier", r#""x""#, true),
    ("Service", "/spec/type", r#""NodePort""#, true),
    ("Service", "/spec/ports/0/targetPort", "1", true),
    ("NetworkPolicy", "/spec/ingress/0/from", r#"[{"podSelector": {}}]"#, true),
    ("NetworkPolicy", "/spec/ingress", "[]", true),
    ("NetworkPolicy", "/spec/egress", "[]", true),
    ("NetworkPolicy", "/spec/podSelector", "{}", true),
    ("StatefulSet", "/spec/replicas", "0", true),
    ("StatefulSet", "/spec/minReadySeconds", "99", true),
    ("StatefulSet", "/spec/template/spec/containers/0/command", r#"["sh"]"#, true),
    ("StatefulSet", "/spec/template/spec/containers/0/args", r#"["sleep"]"#, true),
    ("StatefulSet", "/spec/template/spec/containers/0/envFrom", r#"[{"secretRef": {"name": "x"}}]"#, true),
    ("StatefulSet", "/spec/template/spec/containers/0/env", r#"[{"name": "A", "value": "b"}]"#, true),
    ("StatefulSet", "/spec/template/spec/containers/0/resources/limits/memory", r#""1Gi""#, true),
    ("StatefulSet", "/spec/template/spec/containers/0/securityContext/privileged", "true", true),
    ("StatefulSet", "/spec/template/spec/initContainers", r#"[{"name": "i", "image": "x"}]"#, true),
    ("StatefulSet", "/spec/template/spec/containers/1", r#"{"name": "side", "image": "x"}"#, true),
    ("StatefulSet", "/spec/template/spec/hostNetwork", "true", true),
    ("StatefulSet", "/spec/template/spec/nodeName", r#""n1""#, true),
    ("StatefulSet", "/spec/template/metadata/labels/team", r#""web""#, true),
    ("StatefulSet", "/spec/template/metadata/annotations", r#"{"kubectl.kubernetes.io/restartedAt": "now"}"#, false),
    ("StatefulSet", "/metadata/labels/team", r#""web""#, false),
    ("Ingress", "/spec/defaultBackend", r#"{"service": {"name": "x"}}"#, true),
    ("Ingress", "/metadata/annotations", r#"{"nginx.ingress.kubernetes.io/auth-url": "https://x"}"#, false),
    ("ServiceAccount", "/imagePullSecrets", r#"[{"name": "x"}]"#, false),
];

fn edit(cluster: &Cluster, case: Case) {
    let value: Value = serde_json::from_str(case.value).unwrap();
    let (parent, name) = case.pointer.rsplit_once('/').unwrap();
    let key = cluster.key(case.kind, "links-receiver");
    let edit = |object: &mut Value| {
        if object.pointer(parent).is_none_or(Value::is_null) {
            *object.pointer_mut(parent.rsplit_once('/').unwrap().0).unwrap() = json!({});
        }
        let parent = object.pointer_mut(parent).unwrap();
        let Some(items) = parent.as_array_mut() else {
            parent[name] = value;
            return;
        };
        match items.get_mut(name.parse::<usize>().unwrap()) {
            Some(item) => *item = value,
            None => items.push(value),
        }
    };
    cluster.kubernetes.edit(&key, edit).unwrap();
}

async fn edited(cluster: &mut Cluster, case: Case) -> Result<(), String> {
    cluster.connect();
    let exposure = json!({"type": "Ingress", "className": "nginx"});
    cluster.webhook("links", |spec| spec["endpoint"]["managed"]["exposure"] = exposure);
    cluster.until_condition("links", "Ready", "True").await?;
    cluster.until_quiet().await?;
    let found = |cluster: &Cluster| cluster.get(case.kind, "links-receiver").unwrap();
    let before = found(cluster).pointer(case.pointer).cloned().unwrap_or_default();
    if case.operator_runs {
        edit(cluster, case);
    } else {
        cluster.end_operators();
        edit(cluster, case);
        cluster.restart_operators().await;
    }
    let wanted = if case.reverted { before } else { serde_json::from_str(case.value).unwrap() };
    let is_as_wanted = || found(cluster).pointer(case.pointer).cloned().unwrap_or_default() == wanted;
    if case.reverted {
        cluster.until("the edit is reverted", is_as_wanted).await?;
    }
    time::pass(900).await;
    if !is_as_wanted() {
        return Err(format!("the field is {:?}", found(cluster).pointer(case.pointer)));
    }
    let events = cluster.kubernetes.list("Event", NAMESPACE);
    let is_reported = events.iter().any(|event| {
        event["reason"] == "EditReverted" && event["note"].as_str().is_some_and(|note| note.contains(case.kind))
    });
    // A desired value that was changed while no operator ran may also be the previous version's.
    if case.operator_runs && is_reported != case.reverted && case.pointer != "/spec/type" {
        return Err(format!("an Event reports it: {is_reported}: {events:?}"));
    }
    cluster.until_condition("links", "Ready", "True").await?;
    cluster.until_quiet().await
}

fn run(case: &Case) -> Vec<String> {
    time::simulated(async {
        let mut cluster = Cluster::start(1, 1);
        edited(&mut cluster, *case).await.err().into_iter().collect()
    })
}

#[test]
fn edits_by_hand() {
    let mut row = Row::new("edits by hand", "edits_by_hand");
    let cases = [true, false].into_iter().flat_map(|operator_runs| {
        EDITS.map(|(kind, pointer, value, reverted)| Case { kind, pointer, value, reverted, operator_runs })
    });
    let cases = sample(&row, cases.collect(), count(52, 8));
    row.tried(cases.len());
    for (case, violations) in cases.iter().zip(workers::map(&cases, run)) {
        violations.into_iter().for_each(|what| row.violated(format!("{case:?}: {what}")));
    }
    row.finish();
}
