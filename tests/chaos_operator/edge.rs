//! The ingress and gateway controllers of the cluster: what they say of an object that exposes a receiver, and whether
//! a URL leads anywhere by it.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use crate::{
    cluster::NAMESPACE,
    kubernetes::{Kubernetes, Part},
};

const TAKES: Duration = Duration::from_secs(2);

/// Has every Ingress and HTTPRoute taken up, some time after it was made or changed.
pub fn start(kubernetes: &Kubernetes) {
    let kubernetes = kubernetes.clone();
    tokio::spawn(async move {
        let mut changes = kubernetes.changes();
        while changes.changed().await {
            tokio::time::sleep(TAKES).await;
            take_up(&kubernetes);
        }
    });
}

fn take_up(kubernetes: &Kubernetes) {
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
        put(&route, json!({"parents": [in_place(&route)]}));
    }
}

fn in_place(route: &Value) -> Value {
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

/// Whether the way to a receiver's Service is there: one that was taken up, or one that is none of the operator's.
pub fn leads_on(kubernetes: &Kubernetes, url: &Url) -> bool {
    let webhooks = kubernetes.list("LinktreeWebhook", NAMESPACE);
    let webhook = webhooks.iter().find(|it| it["status"]["address"]["url"] == url.as_str());
    let exposure = webhook.map_or(&Value::Null, |it| &it["spec"]["endpoint"]["managed"]["exposure"]["type"]);
    let leads = |object: &Value| !object["status"].is_null() && object["spec"].to_string().contains(url.path());
    match exposure.as_str() {
        Some("Ingress" | "HTTPRoute") => {
            ["Ingress", "HTTPRoute"].iter().any(|kind| kubernetes.list(kind, NAMESPACE).iter().any(leads))
        }
        _ => true,
    }
}
