//! Compares the in-memory API server of `tests/chaos_operator` with a real one: the same requests to both must get the
//! same responses, except for times, ids and wording.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::DeleteParams};
use serde_json::{Value, json};

use crate::{
    harness::{client, install_crds, namespace, webhook_spec},
    kubernetes::Kubernetes,
};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

enum Server {
    Real(Client),
    InMemory(Kubernetes),
}

/// The requests to one server and their responses so far.
struct Dialogue {
    server: Server,
    namespace: String,
    responses: Vec<(String, Value)>,
}

impl Dialogue {
    fn path(&self, what: &str) -> String {
        let (plural, rest) = what.split_at(what.find(['/', '?']).unwrap_or(what.len()));
        let group = match plural {
            "secrets" | "services" => "api/v1",
            _ => "apis/webhooks.linktree-operator.dev/v1alpha1",
        };
        format!("/{group}/namespaces/{}/{plural}{rest}", self.namespace)
    }

    /// Sends a request, records the response under `of`, and returns it.
    async fn send(&mut self, of: &str, method: Method, what: &str, content: &str, body: Value) -> Value {
        let request = Request::builder().method(method).uri(self.path(what)).header("content-type", content);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (code, bytes) = match &self.server {
            Server::Real(client) => {
                let answer = client.send(request.body(body.into()).unwrap()).await.unwrap();
                (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
            }
            Server::InMemory(kubernetes) => {
                let answer = kubernetes.answer(&request.body(Bytes::from(body)).unwrap());
                (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
            }
        };
        let objects: Vec<Value> =
            serde_json::Deserializer::from_slice(&bytes).into_iter().map(Result::unwrap).collect();
        let compared: Vec<Value> = objects.iter().filter_map(comparable).collect();
        self.responses.push((of.to_owned(), json!([code.as_u16(), compared])));
        objects.into_iter().next().unwrap_or_default()
    }

    async fn get(&mut self, of: &str, what: &str) -> Value {
        self.send(of, Method::GET, what, "", Value::Null).await
    }

    async fn post(&mut self, of: &str, what: &str, object: Value) -> Value {
        self.send(of, Method::POST, what, "application/json", object).await
    }

    async fn apply(&mut self, of: &str, manager: &str, what: &str, object: Value) -> Value {
        let joint = if what.contains('?') { '&' } else { '?' };
        let what = format!("{what}{joint}fieldManager={manager}&force=true");
        self.send(of, Method::PATCH, &what, APPLY, object).await
    }

    async fn merge(&mut self, of: &str, manager: &str, what: &str, patch: Value) -> Value {
        self.send(of, Method::PATCH, &format!("{what}?fieldManager={manager}"), MERGE, patch).await
    }

    async fn delete(&mut self, of: &str, what: &str, options: Value) -> Value {
        self.send(of, Method::DELETE, what, "application/json", options).await
    }
}

/// The part of a response that is compared.
fn comparable(object: &Value) -> Option<Value> {
    if let Some(event) = object["type"].as_str().filter(|_| !object["object"].is_null()) {
        // The number of bookmarks is up to the server.
        let compared = comparable(&object["object"]);
        return (event != "BOOKMARK").then(|| json!([event, compared]));
    }
    if object["kind"] == "Status" {
        // The details of a success vary, and so does the wording of a failure.
        return Some(if object["status"] == "Failure" {
            json!([object["code"], object["reason"]])
        } else {
            Value::Null
        });
    }
    if let Some(items) = object["items"].as_array() {
        return Some(items.iter().filter_map(comparable).collect());
    }
    let metadata = &object["metadata"];
    let kept = ["name", "labels", "annotations", "finalizers", "generation"];
    let mut metadata: Value =
        kept.iter().filter(|it| !metadata[**it].is_null()).map(|it| (*it, metadata[*it].clone())).collect();
    metadata["deleting"] = (!object["metadata"]["deletionTimestamp"].is_null()).into();
    // The real server adds addresses and defaults to a Service.
    let spec = if object["kind"] == "Service" { ports(&object["spec"]["ports"]) } else { object["spec"].clone() };
    Some(json!({"metadata": metadata, "spec": spec, "status": no_service_status(object), "data": object["data"]}))
}

fn no_service_status(object: &Value) -> Value {
    if object["kind"] == "Service" { Value::Null } else { object["status"].clone() }
}

fn ports(ports: &Value) -> Value {
    ports.as_array().into_iter().flatten().map(|port| json!([port["name"], port["port"]])).collect()
}

fn custom(kind: &str, name: &str, spec: impl Into<Value>) -> Value {
    json!({
        "apiVersion": "webhooks.linktree-operator.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec.into(),
    })
}

fn brand(edit: impl FnOnce(&mut Value)) -> Value {
    let mut object = custom("LinktreeConnection", "brand", json!({"tokenSecretRef": {"name": "linktree-api"}}));
    edit(&mut object);
    object
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

async fn schemas(dialogue: &mut Dialogue) {
    const ALL: &str = "linktreeconnections";
    dialogue.get("absent", "linktreeconnections/brand").await;
    dialogue.post("created, with defaults", ALL, brand(|_| {})).await;
    dialogue.post("created twice", ALL, brand(|_| {})).await;
    dialogue
        .post(
            "an unknown field",
            ALL,
            brand(|it| {
                it["metadata"]["name"] = "unknown".into();
                it["spec"]["unknownField"] = 1.into();
            }),
        )
        .await;
    for (of, field, value) in [
        ("another type", "syncPeriodSeconds", json!("x")),
        ("below the minimum", "syncPeriodSeconds", json!(0)),
        ("a fraction", "syncPeriodSeconds", json!(90.5)),
        ("a required field null", "tokenSecretRef", Value::Null),
        ("a pattern", "baseURL", json!("ftp://x")),
        ("an object for a string", "baseURL", json!({})),
    ] {
        dialogue.merge(of, "a", "linktreeconnections/brand", json!({"spec": {field: value}})).await;
    }
    dialogue
        .merge("null is the default", "a", "linktreeconnections/brand", json!({"spec": {"syncPeriodSeconds": null}}))
        .await;
    for (of, exposure) in [
        ("a rule violated", json!({"type": "HTTPRoute"})),
        ("another rule violated", json!({"type": "None", "className": "nginx"})),
        ("no rule violated", json!({"type": "Ingress", "className": "nginx"})),
    ] {
        let mut spec = webhook_spec();
        spec["endpoint"] = json!({"managed": {"host": "hooks.example.com", "exposure": exposure}});
        dialogue.post(of, "linktreewebhooks", custom("LinktreeWebhook", "links", spec)).await;
    }
    let events = |events: Value| json!({"spec": {"events": events}});
    dialogue
        .merge("a set with a duplicate", "a", "linktreewebhooks/links", events(json!(["link.created", "link.created"])))
        .await;
    dialogue.merge("not in the enumeration", "a", "linktreewebhooks/links", events(json!(["link.exploded"]))).await;
    dialogue.merge("an empty list", "a", "linktreewebhooks/links", events(json!([]))).await;
}

async fn writes(dialogue: &mut Dialogue) {
    const BRAND: &str = "linktreeconnections/brand";
    let before = dialogue.get("before", BRAND).await;
    let labels = |label: &str| json!({"metadata": {"labels": {(label): "x"}}});
    let labelled = dialogue.merge("labelled", "a", BRAND, labels("one")).await;
    let same = dialogue.merge("labelled again", "a", BRAND, labels("one")).await;
    let unchanged = version(&labelled) == version(&same) && version(&labelled) != version(&before);
    dialogue.responses.push(("only a change increases the version".to_owned(), unchanged.into()));
    for (of, seen) in [("of an old version", &before), ("of the current version", &same)] {
        let mut patch = labels("two");
        patch["metadata"]["resourceVersion"] = version(seen).into();
        dialogue.merge(&format!("a merge {of}"), "a", BRAND, patch).await;
    }
    let now = dialogue.merge("a field removed", "a", BRAND, json!({"metadata": {"labels": {"one": null}}})).await;
    let mut put = now.clone();
    put["spec"]["syncPeriodSeconds"] = 77.into();
    put["status"] = json!({"observedGeneration": 7});
    dialogue.send("put, status ignored", Method::PUT, BRAND, "application/json", put.clone()).await;
    dialogue.send("put with an old version", Method::PUT, BRAND, "application/json", put).await;
}

async fn statuses(dialogue: &mut Dialogue) {
    const BRAND: &str = "linktreeconnections/brand";
    const STATUS: &str = "linktreeconnections/brand/status";
    let status = |status: Value| {
        brand(|it| {
            it.as_object_mut().unwrap().remove("spec");
            it["status"] = status;
        })
    };
    let budget = |remaining: i64, reset: Option<&str>| {
        let mut budget = json!({"remaining": remaining});
        if let Some(reset) = reset {
            budget["resetTime"] = reset.into();
        }
        json!({"requestBudget": budget})
    };
    let now = Some("2026-01-01T00:00:00Z");
    dialogue
        .merge("a status through the main resource", "a", BRAND, json!({"status": {"observedGeneration": 5}}))
        .await;
    dialogue.merge("a spec through the status", "a", STATUS, json!({"spec": {"syncPeriodSeconds": 99}})).await;
    dialogue.merge("another type", "a", STATUS, json!({"status": {"observedGeneration": "x"}})).await;
    dialogue.apply("applied", "a", STATUS, status(budget(5, now))).await;
    dialogue.apply("omitted and removed", "a", STATUS, status(budget(10, None))).await;
    dialogue.merge("merged by the same manager", "a", STATUS, json!({"status": budget(4, now)})).await;
    dialogue.apply("omitted, owned by another", "a", STATUS, status(budget(10, None))).await;
    dialogue.merge("removed", "a", STATUS, json!({"status": {"requestBudget": {"resetTime": null}}})).await;
    let before = dialogue.get("before", BRAND).await;
    dialogue.apply("applied again", "a", STATUS, status(budget(3, now))).await;
    let mut seen = status(budget(2, now));
    seen["metadata"]["resourceVersion"] = version(&before).into();
    dialogue.apply("applied to an old version", "a", STATUS, seen).await;
    dialogue
        .apply("applied to an absent object", "a", "linktreeconnections/absent/status", {
            let mut absent = status(budget(2, now));
            absent["metadata"]["name"] = "absent".into();
            absent
        })
        .await;
}

async fn owners(dialogue: &mut Dialogue) {
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "labels": {"of": "a"}}, "spec": {"ports": ports}});
    let port = |name: &str, port: u16| json!({"name": name, "port": port});
    dialogue.apply("created by apply", "a", "services/s", service(json!([port("http", 80)]))).await;
    dialogue.apply("a port of another manager is kept", "b", "services/s", service(json!([port("https", 443)]))).await;
    dialogue.apply("applied unchanged", "a", "services/s", service(json!([port("http", 80)]))).await;
    dialogue.apply("an own port is removed", "a", "services/s", service(json!([port("web", 8080)]))).await;
    dialogue
        .merge("a merge replaces the list", "c", "services/s", json!({"spec": {"ports": [port("only", 81)]}}))
        .await;

    let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "k"}, "data": data});
    dialogue.apply("dry run", "a", "secrets/k?dryRun=All", secret(json!({"one": "MQ=="}))).await;
    dialogue.get("absent after a dry run", "secrets/k").await;
    dialogue.apply("a secret", "a", "secrets/k", secret(json!({"one": "MQ==", "two": "Mg=="}))).await;
    dialogue.apply("one key owned by two", "b", "secrets/k", secret(json!({"two": "Mg=="}))).await;
    dialogue.apply("a key omitted", "a", "secrets/k", secret(json!({"three": "Mw=="}))).await;
    dialogue.merge("merged by another", "c", "secrets/k", json!({"data": {"three": "NA=="}})).await;
    dialogue.apply("a key of another stays", "a", "secrets/k", secret(json!({"one": "MQ=="}))).await;
}

async fn deletions(dialogue: &mut Dialogue) {
    const BRAND: &str = "linktreeconnections/brand";
    let finalizers = |names: &[&str]| json!({"metadata": {"finalizers": names}});
    dialogue.merge("held", "a", BRAND, finalizers(&["example.com/a", "example.com/b"])).await;
    dialogue
        .delete("another uid", BRAND, json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}))
        .await;
    dialogue.delete("marked", BRAND, Value::Null).await;
    dialogue.delete("marked again", BRAND, Value::Null).await;
    dialogue
        .merge("a finalizer added", "a", BRAND, finalizers(&["example.com/a", "example.com/b", "example.com/c"]))
        .await;
    dialogue.merge("a finalizer removed", "a", BRAND, finalizers(&["example.com/b"])).await;
    dialogue.merge("changed while terminating", "a", BRAND, json!({"spec": {"syncPeriodSeconds": 91}})).await;
    dialogue.merge("released", "a", BRAND, finalizers(&[])).await;
    dialogue.get("gone", BRAND).await;
    dialogue.merge("a patch of a deleted object", "a", BRAND, json!({"metadata": {"labels": {"x": "y"}}})).await;
    dialogue.delete("deleted twice", BRAND, Value::Null).await;
}

async fn watches(dialogue: &mut Dialogue) {
    let named = |name: &str| brand(|it| it["metadata"]["name"] = name.into());
    let list = dialogue.get("listed", "linktreeconnections").await;
    let since = version(&list);
    dialogue.post("created", "linktreeconnections", named("w1")).await;
    dialogue.merge("labelled", "a", "linktreeconnections/w1", json!({"metadata": {"labels": {"x": "y"}}})).await;
    dialogue.get("listed by label", "linktreeconnections?labelSelector=x%3Dy").await;
    dialogue.delete("deleted", "linktreeconnections/w1", Value::Null).await;
    let watch = format!("watch=true&allowWatchBookmarks=true&timeoutSeconds=2&resourceVersion={since}");
    dialogue.get("watched", &format!("linktreeconnections?{watch}")).await;
    dialogue.get("watched by label", &format!("linktreeconnections?labelSelector=x%3Dy&{watch}")).await;
}

async fn run(server: Server, namespace: String) -> Vec<(String, Value)> {
    let mut dialogue = Dialogue { server, namespace, responses: Vec::new() };
    schemas(&mut dialogue).await;
    writes(&mut dialogue).await;
    statuses(&mut dialogue).await;
    owners(&mut dialogue).await;
    deletions(&mut dialogue).await;
    watches(&mut dialogue).await;
    dialogue.responses
}

#[tokio::test]
async fn the_in_memory_api_server_responds_like_the_real_one() {
    let client = client().await;
    install_crds(&client).await;
    let namespace = namespace(&client).await;
    let real = run(Server::Real(client.clone()), namespace.clone()).await;
    let in_memory = run(Server::InMemory(Kubernetes::start()), namespace.clone()).await;
    let pairs = real.iter().zip(&in_memory);
    let differing = pairs.filter(|(real, in_memory)| real != in_memory);
    let differing: Vec<String> = differing
        .map(|((of, real), (_, in_memory))| format!("{of}\n  real      {real}\n  in memory {in_memory}"))
        .collect();
    assert!(differing.is_empty(), "{} of {} responses differ:\n{}", differing.len(), real.len(), differing.join("\n"));
    assert_eq!(real.len(), in_memory.len());
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
}
