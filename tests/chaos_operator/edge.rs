//! The ingress and gateway controllers: they set the status of an object that exposes a receiver, and decide whether a
//! URL is routed.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use crate::{
    cluster::NAMESPACE,
    kubernetes::{Kubernetes, Part},
};

/// The delay of the controllers.
const DELAY: Duration = Duration::from_secs(2);

/// Starts the controllers, which accept every Ingress and HTTPRoute after a delay.
pub fn start(kubernetes: &Kubernetes) {
    let kubernetes = kubernetes.clone();
    tokio::spawn(async move {
        let mut changes = kubernetes.changes();
        while changes.changed().await {
            tokio::time::sleep(DELAY).await;
            accept_all(&kubernetes);
        }
    });
}

fn accept_all(kubernetes: &Kubernetes) {
    let put = |object: &Value, status: Value| {
        let text = |field: &Value| field.as_str().unwrap().to_owned();
        let key = kubernetes.key(&text(&object["kind"]), NAMESPACE, &text(&object["metadata"]["name"]));
        if object["status"] != status {
            kubernetes.merge(&key, Part::Status, &json!({"status": status})).unwrap();
        }
    };
    for ingress in kubernetes.list("Ingress", NAMESPACE) {
        put(&ingress, json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}));
    }
    for route in kubernetes.list("HTTPRoute", NAMESPACE) {
        put(&route, json!({"parents": [accepted_parent(&route)]}));
    }
}

fn accepted_parent(route: &Value) -> Value {
    let condition = |of: &str| {
        json!({
            "type": of, "status": "True", "reason": of, "message": "", "observedGeneration": route["metadata"]["generation"],
            "lastTransitionTime": route["metadata"]["creationTimestamp"],
        })
    };
    json!({
        "controllerName": "example.com/gateway", "parentRef": route["spec"]["parentRefs"][0],
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    })
}

/// Whether a URL is routed to a receiver's Service: by an accepted object, or without an object of the operator.
pub fn is_routed(kubernetes: &Kubernetes, url: &Url) -> bool {
    let webhooks = kubernetes.list("LinktreeWebhook", NAMESPACE);
    let webhook = webhooks.iter().find(|it| it["status"]["address"]["url"] == url.as_str());
    let exposure = webhook.map_or(&Value::Null, |it| &it["spec"]["endpoint"]["managed"]["exposure"]["type"]);
    let routes = |object: &Value| !object["status"].is_null() && object["spec"].to_string().contains(url.path());
    match exposure.as_str() {
        Some("Ingress" | "HTTPRoute") => {
            ["Ingress", "HTTPRoute"].iter().any(|kind| kubernetes.list(kind, NAMESPACE).iter().any(routes))
        }
        _ => true,
    }
}
