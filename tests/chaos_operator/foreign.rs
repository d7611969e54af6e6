//! Objects of others with the names that the operator needs: they are neither written nor deleted, and a condition names
//! them.

use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    row::{Row, count},
    sample::sample,
    time, workers,
};

const LABEL: &str = "app.kubernetes.io/managed-by";
const OURS: &str = "linktree-webhook-operator";
const KINDS: [(&str, &str); 8] = [
    ("ServiceAccount", "links-receiver"),
    ("Service", "links-receiver"),
    ("NetworkPolicy", "links-receiver"),
    ("Secret", "links-receiver-route"),
    ("StatefulSet", "links-receiver"),
    ("Ingress", "links-receiver"),
    ("HTTPRoute", "links-receiver"),
    ("Secret", "links-signing"),
];

/// The label and the owner of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Owner {
    User,
    Helm,
    ControllerWithoutLabel,
    ControllerWithOurLabel,
    OtherWebhook,
    OtherKindOfOurName,
    /// Ours: restored from a backup with the uid of an owner that does not exist.
    RestoredOurs,
    OursUnowned,
}

const OWNERS: [Owner; 8] = [
    Owner::User,
    Owner::Helm,
    Owner::ControllerWithoutLabel,
    Owner::ControllerWithOurLabel,
    Owner::OtherWebhook,
    Owner::OtherKindOfOurName,
    Owner::RestoredOurs,
    Owner::OursUnowned,
];

impl Owner {
    fn is_ours(self) -> bool {
        matches!(self, Owner::RestoredOurs | Owner::OursUnowned)
    }

    fn metadata(self, living: &Value) -> Value {
        let owner = |version: &str, kind: &str, name: &str, uid: &Value| json!([{"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true}]);
        let webhook = "webhooks.linktree-operator.dev/v1alpha1";
        match self {
            Owner::User => json!({"labels": {"app": "mine"}}),
            Owner::Helm => json!({"labels": {LABEL: "Helm"}, "annotations": {"a": "b"}}),
            Owner::ControllerWithoutLabel => json!({"ownerReferences": owner("apps/v1", "Deployment", "web", living)}),
            Owner::ControllerWithOurLabel => {
                json!({"labels": {LABEL: OURS}, "ownerReferences": owner("apps/v1", "Deployment", "web", living)})
            }
            Owner::OtherWebhook => {
                json!({"labels": {LABEL: OURS}, "ownerReferences": owner(webhook, "LinktreeWebhook", "other", living)})
            }
            Owner::OtherKindOfOurName => {
                json!({"labels": {LABEL: OURS}, "ownerReferences": owner("v1", "ConfigMap", "links", living)})
            }
            Owner::RestoredOurs => {
                json!({"labels": {LABEL: OURS}, "ownerReferences": owner(webhook, "LinktreeWebhook", "links", &"dead".into())})
            }
            Owner::OursUnowned => json!({"labels": {LABEL: OURS}}),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    kind: &'static str,
    name: &'static str,
    owner: Owner,
    /// Whether the object takes the name of one that the operator had created.
    replaces: bool,
}

fn create(cluster: &Cluster, case: Case) {
    // An owner that exists, so that the garbage collector leaves the object alone.
    let living = cluster.get("Secret", "linktree-api").unwrap()["metadata"]["uid"].clone();
    let mut object = match case.kind {
        "Secret" => json!({"data": {"other": "bWluZQ=="}}),
        "StatefulSet" => json!({"spec": {"replicas": 0, "revisionHistoryLimit": 3}}),
        _ => json!({"spec": {"mine": true}}),
    };
    object["metadata"] = case.owner.metadata(&living);
    cluster.apply(case.kind, case.name, object).unwrap();
}

/// The number of changes of the object, except those of its status.
fn versions(cluster: &Cluster, case: Case) -> usize {
    let key = cluster.key(case.kind, case.name);
    let content = |object: &Option<Value>| {
        let object = object.clone().unwrap_or_default();
        let metadata = ["labels", "annotations", "ownerReferences"].map(|it| object["metadata"][it].clone());
        (object["spec"].clone(), object["data"].clone(), metadata)
    };
    let is_change = |before: &Option<Value>, after: &Option<Value>| content(before) != content(after);
    cluster.kubernetes.read_log(|log| {
        log.iter().filter(|change| change.key == key && is_change(&change.before, &change.after)).count()
    })
}

fn webhook(cluster: &Cluster, kind: &str) {
    let exposure = match kind {
        "HTTPRoute" => json!({"type": "HTTPRoute", "gatewayRef": {"name": "public", "namespace": "infra"}}),
        _ => json!({"type": "Ingress", "className": "nginx"}),
    };
    cluster.webhook("links", |spec| spec["endpoint"]["managed"]["exposure"] = exposure);
}

async fn until_named(cluster: &Cluster, case: Case) -> Result<(), String> {
    let named = || {
        let conditions = cluster.status("links")["conditions"].as_array().cloned().unwrap_or_default();
        let object = format!("{} {}", case.kind, case.name);
        conditions.iter().any(|it| {
            let text = it["message"].as_str().unwrap_or_default();
            text.contains("the name is taken") && text.contains(&object)
        })
    };
    cluster.until("a condition names the object", named).await
}

async fn left_alone(cluster: &Cluster, case: Case) -> Result<(), String> {
    if case.replaces {
        webhook(cluster, case.kind);
        cluster.until_condition("links", "Ready", "True").await?;
        cluster.delete(case.kind, case.name);
        create(cluster, case);
    } else {
        create(cluster, case);
        webhook(cluster, case.kind);
    }
    if case.owner.is_ours() {
        return cluster.until_condition("links", "Ready", "True").await;
    }
    let before = versions(cluster, case);
    // The signing Secret is written only if Linktree returns a secret.
    if case.name != "links-signing" || !case.replaces {
        until_named(cluster, case).await?;
    }
    time::pass(700).await;
    cluster.delete("LinktreeWebhook", "links");
    cluster.until("the webhook is gone", || cluster.get("LinktreeWebhook", "links").is_none()).await?;
    time::pass(60).await;
    if cluster.get(case.kind, case.name).is_none() {
        return Err("the object was deleted with the webhook".to_owned());
    }
    match versions(cluster, case) - before {
        0 => {}
        written => return Err(format!("the object was written {written} times")),
    }
    // Without the object, a webhook of that name works.
    cluster.delete(case.kind, case.name);
    webhook(cluster, case.kind);
    cluster.until_condition("links", "Ready", "True").await
}

fn run(case: &Case) -> Vec<String> {
    time::simulated(async {
        let cluster = Cluster::start(1, 1);
        cluster.connect();
        left_alone(&cluster, *case).await.err().into_iter().collect()
    })
}

#[test]
fn foreign_objects() {
    let mut row = Row::new("foreign objects", "foreign_objects");
    let cases = [false, true].into_iter().flat_map(|replaces| {
        let of_kind = move |(kind, name)| OWNERS.map(|owner| Case { kind, name, owner, replaces });
        KINDS.into_iter().flat_map(of_kind)
    });
    let cases = sample(&row, cases.collect(), count(128, 12));
    row.tried(cases.len());
    for (case, violations) in cases.iter().zip(workers::map(&cases, run)) {
        violations.into_iter().for_each(|what| row.violated(format!("{case:?}: {what}")));
    }
    row.finish();
}
