//! Whether the API server in memory that `tests/chaos_operator` runs the operator against answers as the real one does:
//! the same requests to both, and the answers compared, but for times, ids and words.

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

/// What was said to a request, and its answers so far.
struct Course {
    server: Server,
    namespace: String,
    said: Vec<(String, Value)>,
}

impl Course {
    fn path(&self, what: &str) -> String {
        let (plural, rest) = what.split_at(what.find(['/', '?']).unwrap_or(what.len()));
        let group = match plural {
            "secrets" | "services" => "api/v1",
            _ => "apis/webhooks.linktree-operator.dev/v1alpha1",
        };
        format!("/{group}/namespaces/{}/{plural}{rest}", self.namespace)
    }

    /// Asks, notes the answer as `of`, and returns it as it came.
    async fn ask(&mut self, of: &str, method: Method, what: &str, content: &str, body: Value) -> Value {
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
        let told: Vec<Value> = objects.iter().filter_map(told).collect();
        self.said.push((of.to_owned(), json!([code.as_u16(), told])));
        objects.into_iter().next().unwrap_or_default()
    }

    async fn get(&mut self, of: &str, what: &str) -> Value {
        self.ask(of, Method::GET, what, "", Value::Null).await
    }

    async fn post(&mut self, of: &str, what: &str, object: Value) -> Value {
        self.ask(of, Method::POST, what, "application/json", object).await
    }

    async fn apply(&mut self, of: &str, manager: &str, what: &str, object: Value) -> Value {
        let joint = if what.contains('?') { '&' } else { '?' };
        let what = format!("{what}{joint}fieldManager={manager}&force=true");
        self.ask(of, Method::PATCH, &what, APPLY, object).await
    }

    async fn merge(&mut self, of: &str, manager: &str, what: &str, patch: Value) -> Value {
        self.ask(of, Method::PATCH, &format!("{what}?fieldManager={manager}"), MERGE, patch).await
    }

    async fn delete(&mut self, of: &str, what: &str, options: Value) -> Value {
        self.ask(of, Method::DELETE, what, "application/json", options).await
    }
}

/// What of an answer is compared.
fn told(object: &Value) -> Option<Value> {
    if let Some(event) = object["type"].as_str().filter(|_| !object["object"].is_null()) {
        // How many bookmarks there are is the server's affair.
        let told = told(&object["object"]);
        return (event != "BOOKMARK").then(|| json!([event, told]));
    }
    if object["kind"] == "Status" {
        // Of success it says more or less, and of failure it has words of its own.
        return Some(if object["status"] == "Failure" {
            json!([object["code"], object["reason"]])
        } else {
            Value::Null
        });
    }
    if let Some(items) = object["items"].as_array() {
        return Some(items.iter().filter_map(told).collect());
    }
    let metadata = &object["metadata"];
    let kept = ["name", "labels", "annotations", "finalizers", "generation"];
    let mut metadata: Value =
        kept.iter().filter(|it| !metadata[**it].is_null()).map(|it| (*it, metadata[*it].clone())).collect();
    metadata["goes"] = (!object["metadata"]["deletionTimestamp"].is_null()).into();
    // A Service gets addresses and defaults here, which nobody gives it in memory.
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

async fn schemas(course: &mut Course) {
    const ALL: &str = "linktreeconnections";
    course.get("what is not there", "linktreeconnections/brand").await;
    course.post("made, with defaults", ALL, brand(|_| {})).await;
    course.post("made twice", ALL, brand(|_| {})).await;
    course
        .post(
            "an unknown field",
            ALL,
            brand(|it| {
                it["metadata"]["name"] = "unknown".into();
                it["spec"]["nobodyKnowsThis"] = 1.into();
            }),
        )
        .await;
    for (of, field, value) in [
        ("of another type", "syncPeriodSeconds", json!("x")),
        ("below the least", "syncPeriodSeconds", json!(0)),
        ("a fraction", "syncPeriodSeconds", json!(90.5)),
        ("a required field null", "tokenSecretRef", Value::Null),
        ("a pattern", "baseURL", json!("ftp://x")),
        ("an object for a string", "baseURL", json!({})),
    ] {
        course.merge(of, "a", "linktreeconnections/brand", json!({"spec": {field: value}})).await;
    }
    course
        .merge("null is the default", "a", "linktreeconnections/brand", json!({"spec": {"syncPeriodSeconds": null}}))
        .await;
    for (of, exposure) in [
        ("a rule", json!({"type": "HTTPRoute"})),
        ("another rule", json!({"type": "None", "className": "nginx"})),
        ("no rule broken", json!({"type": "Ingress", "className": "nginx"})),
    ] {
        let mut spec = webhook_spec();
        spec["endpoint"] = json!({"managed": {"host": "hooks.example.com", "exposure": exposure}});
        course.post(of, "linktreewebhooks", custom("LinktreeWebhook", "links", spec)).await;
    }
    let events = |events: Value| json!({"spec": {"events": events}});
    course
        .merge(
            "a set with an item twice",
            "a",
            "linktreewebhooks/links",
            events(json!(["link.created", "link.created"])),
        )
        .await;
    course.merge("not in the enumeration", "a", "linktreewebhooks/links", events(json!(["link.exploded"]))).await;
    course.merge("an empty list", "a", "linktreewebhooks/links", events(json!([]))).await;
}

async fn writes(course: &mut Course) {
    const BRAND: &str = "linktreeconnections/brand";
    let before = course.get("as it was", BRAND).await;
    let labels = |label: &str| json!({"metadata": {"labels": {(label): "x"}}});
    let labelled = course.merge("labelled", "a", BRAND, labels("one")).await;
    let same = course.merge("the same again", "a", BRAND, labels("one")).await;
    let unchanged = version(&labelled) == version(&same) && version(&labelled) != version(&before);
    course.said.push(("only a change is a new version".to_owned(), unchanged.into()));
    for (of, seen) in [("seen before", &before), ("as it is", &same)] {
        let mut patch = labels("two");
        patch["metadata"]["resourceVersion"] = version(seen).into();
        course.merge(&format!("a merge of what was {of}"), "a", BRAND, patch).await;
    }
    let now = course.merge("a field taken out", "a", BRAND, json!({"metadata": {"labels": {"one": null}}})).await;
    let mut put = now.clone();
    put["spec"]["syncPeriodSeconds"] = 77.into();
    put["status"] = json!({"observedGeneration": 7});
    course.ask("put, its status left alone", Method::PUT, BRAND, "application/json", put.clone()).await;
    course.ask("put again, from before", Method::PUT, BRAND, "application/json", put).await;
}

async fn statuses(course: &mut Course) {
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
    course.merge("a status beside the way", "a", BRAND, json!({"status": {"observedGeneration": 5}})).await;
    course.merge("a spec beside the way", "a", STATUS, json!({"spec": {"syncPeriodSeconds": 99}})).await;
    course.merge("of another type", "a", STATUS, json!({"status": {"observedGeneration": "x"}})).await;
    course.apply("applied", "a", STATUS, status(budget(5, now))).await;
    course.apply("left out and gone", "a", STATUS, status(budget(10, None))).await;
    course.merge("merged by the same name", "a", STATUS, json!({"status": budget(4, now)})).await;
    course.apply("left out, and another's", "a", STATUS, status(budget(10, None))).await;
    course.merge("taken out", "a", STATUS, json!({"status": {"requestBudget": {"resetTime": null}}})).await;
    let before = course.get("as it was", BRAND).await;
    course.apply("applied once more", "a", STATUS, status(budget(3, now))).await;
    let mut seen = status(budget(2, now));
    seen["metadata"]["resourceVersion"] = version(&before).into();
    course.apply("applied to what was seen before", "a", STATUS, seen).await;
    course
        .apply("of what is not there", "a", "linktreeconnections/nobody/status", {
            let mut nobody = status(budget(2, now));
            nobody["metadata"]["name"] = "nobody".into();
            nobody
        })
        .await;
}

async fn owners(course: &mut Course) {
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "labels": {"of": "a"}}, "spec": {"ports": ports}});
    let port = |name: &str, port: u16| json!({"name": name, "port": port});
    course.apply("made by apply", "a", "services/s", service(json!([port("http", 80)]))).await;
    course.apply("another's port stays beside it", "b", "services/s", service(json!([port("https", 443)]))).await;
    course.apply("and again", "a", "services/s", service(json!([port("http", 80)]))).await;
    course.apply("one's own goes", "a", "services/s", service(json!([port("web", 8080)]))).await;
    course
        .merge("a merge writes the list whole", "c", "services/s", json!({"spec": {"ports": [port("only", 81)]}}))
        .await;

    let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "k"}, "data": data});
    course.apply("tried only", "a", "secrets/k?dryRun=All", secret(json!({"one": "MQ=="}))).await;
    course.get("and nothing of it there", "secrets/k").await;
    course.apply("a secret", "a", "secrets/k", secret(json!({"one": "MQ==", "two": "Mg=="}))).await;
    course.apply("one key is another's, too", "b", "secrets/k", secret(json!({"two": "Mg=="}))).await;
    course.apply("what was left out", "a", "secrets/k", secret(json!({"three": "Mw=="}))).await;
    course.merge("written by hand", "c", "secrets/k", json!({"data": {"three": "NA=="}})).await;
    course.apply("what another has taken over stays", "a", "secrets/k", secret(json!({"one": "MQ=="}))).await;
}

async fn deletions(course: &mut Course) {
    const BRAND: &str = "linktreeconnections/brand";
    let finalizers = |names: &[&str]| json!({"metadata": {"finalizers": names}});
    course.merge("held", "a", BRAND, finalizers(&["example.com/a", "example.com/b"])).await;
    course
        .delete(
            "another of this name",
            BRAND,
            json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}),
        )
        .await;
    course.delete("marked", BRAND, Value::Null).await;
    course.delete("marked again", BRAND, Value::Null).await;
    course
        .merge("held by one more", "a", BRAND, finalizers(&["example.com/a", "example.com/b", "example.com/c"]))
        .await;
    course.merge("held by one less", "a", BRAND, finalizers(&["example.com/b"])).await;
    course.merge("changed meanwhile", "a", BRAND, json!({"spec": {"syncPeriodSeconds": 91}})).await;
    course.merge("let go", "a", BRAND, finalizers(&[])).await;
    course.get("gone", BRAND).await;
    course.merge("a patch of what is gone", "a", BRAND, json!({"metadata": {"labels": {"x": "y"}}})).await;
    course.delete("deleted twice", BRAND, Value::Null).await;
}

async fn watches(course: &mut Course) {
    let named = |name: &str| brand(|it| it["metadata"]["name"] = name.into());
    let list = course.get("listed", "linktreeconnections").await;
    let since = version(&list);
    course.post("made", "linktreeconnections", named("w1")).await;
    course.merge("labelled", "a", "linktreeconnections/w1", json!({"metadata": {"labels": {"x": "y"}}})).await;
    course.get("with this label", "linktreeconnections?labelSelector=x%3Dy").await;
    course.delete("deleted", "linktreeconnections/w1", Value::Null).await;
    let watch = format!("watch=true&allowWatchBookmarks=true&timeoutSeconds=2&resourceVersion={since}");
    course.get("watched", &format!("linktreeconnections?{watch}")).await;
    course.get("watched by label", &format!("linktreeconnections?labelSelector=x%3Dy&{watch}")).await;
}

async fn run(server: Server, namespace: String) -> Vec<(String, Value)> {
    let mut course = Course { server, namespace, said: Vec::new() };
    schemas(&mut course).await;
    writes(&mut course).await;
    statuses(&mut course).await;
    owners(&mut course).await;
    deletions(&mut course).await;
    watches(&mut course).await;
    course.said
}

#[tokio::test]
async fn the_api_server_in_memory_answers_as_the_real_one() {
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
    assert!(differing.is_empty(), "{} of {} answers differ:\n{}", differing.len(), real.len(), differing.join("\n"));
    assert_eq!(real.len(), in_memory.len());
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
}
