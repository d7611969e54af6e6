//! Admission policies that change any field of any child object, once or always: the operator accepts the value that the
//! API server keeps, names the field, and retries ever more rarely.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    row::{Row, count},
    sample::sample,
    time, workers,
};

/// The child objects, with the exposure that the webhook needs for them.
const CHILDREN: [(&str, &str, &str); 7] = [
    ("ServiceAccount", "links-receiver", "Ingress"),
    ("Service", "links-receiver", "Ingress"),
    ("NetworkPolicy", "links-receiver", "Ingress"),
    ("Secret", "links-receiver-route", "Ingress"),
    ("StatefulSet", "links-receiver", "Ingress"),
    ("Ingress", "links-receiver", "Ingress"),
    ("HTTPRoute", "links-receiver", "HTTPRoute"),
];
/// Fields that policies add, with their values.
const ADDED: [(&str, &str); 6] = [
    ("/spec/template/spec/tolerations", r#"[{"key": "arch", "operator": "Exists"}]"#),
    ("/spec/template/spec/initContainers", r#"[{"name": "init", "image": "mesh"}]"#),
    ("/spec/template/spec/containers/0/env", r#"[{"name": "HTTP_PROXY", "value": "x"}]"#),
    ("/spec/template/spec/containers/-", r#"{"name": "side", "image": "mesh"}"#),
    ("/spec/template/metadata/annotations", r#"{"policy": "yes"}"#),
    ("/spec/template/metadata/labels/team", r#""web""#),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Once,
    Always,
    /// Each time with another value.
    Varying,
}

#[derive(Clone, Debug)]
struct Case {
    kind: &'static str,
    name: &'static str,
    exposure: &'static str,
    pointer: String,
    /// The value that is added; `None` if the present one is changed.
    added: Option<Value>,
    when: When,
}

fn exposed(cluster: &Cluster, exposure: &str) {
    cluster.connect();
    let exposure = match exposure {
        "HTTPRoute" => json!({"type": "HTTPRoute", "gatewayRef": {"name": "public", "namespace": "infra"}}),
        _ => json!({"type": "Ingress", "className": "nginx"}),
    };
    cluster.webhook("links", |spec| spec["endpoint"]["managed"]["exposure"] = exposure);
}

/// The pointers of all scalars in a value.
fn scalars(value: &Value, at: &str, found: &mut Vec<String>) {
    let escaped = |name: &String| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| scalars(value, &format!("{at}/{}", escaped(name)), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| scalars(item, &format!("{at}/{index}"), found));
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => found.push(at.to_owned()),
    }
}

/// Every scalar of every child object as the operator applies it, except its identity.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for exposure in ["Ingress", "HTTPRoute"] {
        let objects = time::simulated(async {
            let cluster = Cluster::start(1, 1);
            exposed(&cluster, exposure);
            cluster.until_condition("links", "Ready", "True").await.unwrap();
            let of = CHILDREN.into_iter().filter(|(.., needs)| *needs == exposure);
            of.map(|(kind, name, _)| (kind, name, cluster.get(kind, name).unwrap())).collect::<Vec<_>>()
        });
        for (kind, name, mut object) in objects {
            let labels = object["metadata"]["labels"].take();
            object
                .as_object_mut()
                .unwrap()
                .retain(|field, _| !["apiVersion", "kind", "metadata", "status"].contains(&field.as_str()));
            object["metadata"] = json!({"labels": labels});
            let mut pointers = Vec::new();
            scalars(&object, "", &mut pointers);
            for when in [When::Once, When::Always, When::Varying] {
                cases.extend(pointers.iter().map(|pointer| Case {
                    kind,
                    name,
                    exposure,
                    pointer: pointer.clone(),
                    added: None,
                    when,
                }));
                if kind == "StatefulSet" {
                    let added = |(pointer, value): (&str, &str)| Case {
                        kind,
                        name,
                        exposure,
                        pointer: pointer.to_owned(),
                        added: Some(serde_json::from_str(value).unwrap()),
                        when,
                    };
                    cases.extend(ADDED.into_iter().map(added));
                }
            }
        }
    }
    cases
}

/// Applies the policy of this case to an object; `number` makes the value differ.
fn change(case: &Case, object: &mut Value, number: u64) {
    if let Some(added) = &case.added {
        let (parent, name) = case.pointer.rsplit_once('/').unwrap();
        match object.pointer_mut(parent) {
            Some(Value::Array(items)) if !items.contains(added) => items.push(added.clone()),
            Some(Value::Object(fields)) => drop(fields.insert(name.to_owned(), added.clone())),
            _ => {}
        }
        return;
    }
    let Some(value) = object.pointer_mut(&case.pointer) else { return };
    *value = match &*value {
        Value::Bool(_) if case.when == When::Varying => number.is_multiple_of(2).into(),
        // Not the negated value: the policy also sees the values that it has set.
        Value::Bool(_) => (case.pointer != "/automountServiceAccountToken"
            && !case.pointer.ends_with("readOnly")
            && !case.pointer.contains("NonRoot")
            && !case.pointer.contains("readOnlyRoot"))
        .into(),
        Value::Number(_) => (4_000 + number).into(),
        Value::String(_) if case.pointer.starts_with("/data") => format!("cG9saWN5{:04}", number * 4).into(),
        Value::String(_) => format!("policy-{number}").into(),
        other @ (Value::Null | Value::Array(_) | Value::Object(_)) => other.clone(),
    };
}

/// Whether a message names the field: by its name, or by that of the list if an item has another key now.
fn names_field(message: &str, pointer: &str) -> bool {
    let names = pointer.rsplit('/').filter(|part| part.parse::<usize>().is_err()).take(2);
    names.map(|name| name.replace("~1", "/").replace("~0", "~")).any(|name| message.contains(&name))
}

fn writes(cluster: &Cluster, kind: &str) -> usize {
    let plural = match kind {
        "NetworkPolicy" => "networkpolicies".to_owned(),
        "Ingress" => "ingresses".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let made = cluster.calls.made();
    made.iter().filter(|call| call.is_effect && call.what.split(' ').nth(1) == Some(&plural)).count()
}

fn messages(cluster: &Cluster) -> String {
    let status = cluster.status("links");
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().filter_map(|it| it["message"].as_str().map(str::to_owned)).collect::<Vec<_>>().join("\n")
}

fn run(case: &Case) -> Vec<String> {
    time::simulated(async {
        let cluster = Cluster::start(1, 1);
        let (policy, done) = (case.clone(), AtomicBool::new(false));
        let number = std::sync::atomic::AtomicU64::new(1);
        cluster.kubernetes.set_policy(move |key, object| {
            let is_meant = key.kind.kind == policy.kind && key.name == policy.name;
            if !is_meant || (policy.when == When::Once && done.swap(true, Ordering::Relaxed)) {
                return;
            }
            let next = match policy.when {
                When::Varying => number.fetch_add(1, Ordering::Relaxed),
                When::Once | When::Always => 1,
            };
            change(&policy, object, next);
        });
        exposed(&cluster, case.exposure);
        time::pass(240).await;
        // A Secret's writes include those of the signing Secret.
        let others = if case.kind == "Secret" { 4 } else { 0 };
        let mut violations = Vec::new();
        let first = writes(&cluster, case.kind);
        if first > 4 + others {
            violations.push(format!("{first} writes in the first minutes: {}", cluster.last_calls(20)));
        }
        let desired = case.added.is_none() && case.when != When::Once;
        let told = messages(&cluster);
        if desired
            && !(told.contains(case.kind) && (names_field(&told, &case.pointer) || told.contains("name is taken")))
        {
            violations.push(format!("no condition names {} of {}:\n{told}", case.pointer, case.kind));
        }
        time::pass(6 * 3600).await;
        let all = writes(&cluster, case.kind);
        if all > 12 + 2 * others {
            violations.push(format!("{all} writes in six hours"));
        }
        if case.when == When::Once
            && !cluster.condition("links", "Ready").starts_with("True")
            && !told.contains("name is taken")
        {
            violations.push(format!("not ready after a single change\n{}", cluster.describe()));
        }
        // The claim's template is immutable, and stays as it was created.
        let stays = case.pointer.starts_with("/spec/volumeClaimTemplates");
        if case.when == When::Once && !stays && messages(&cluster).contains("the cluster keeps") {
            violations.push(format!("still reported:\n{}", messages(&cluster)));
        }
        violations
    })
}

#[test]
fn admission_of_any_field() {
    let mut row = Row::new("admission changes any field", "admission_of_any_field");
    let cases = sample(&row, cases(), count(1_000, 12));
    row.tried(cases.len());
    for (case, violations) in cases.iter().zip(workers::map(&cases, run)) {
        let name = format!("{} {} {:?}", case.kind, case.pointer, case.when);
        violations.into_iter().for_each(|what| row.violated(format!("{name}: {what}")));
    }
    row.finish();
}
