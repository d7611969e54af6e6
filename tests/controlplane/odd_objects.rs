//! Objects that the API server accepts and typed clients cannot read, beside healthy ones.

use http::{Request, StatusCode};
use kube::Client;
use linktree_operator::api::webhook::LinktreeWebhook;
use serde_json::{Value, json};

use crate::{
    harness::{Harness, object, scenario, webhook_spec},
    wait::until,
};

/// A time that Kubernetes reads and that is above the largest of our time library.
const ODD_TIME: &str = "9999-12-31T23:59:59Z";

/// Sends a request whose response is not parsed. Returns it as JSON, `null` if there is no such object.
async fn raw(client: &Client, method: &str, path: &str, body: Option<&Value>) -> Value {
    let body = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    match client.request_text(request.body(body).unwrap()).await {
        Ok(text) => serde_json::from_str(&text).unwrap(),
        Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND.as_u16() => Value::Null,
        Err(error) => panic!("{method} {path}: {error}"),
    }
}

/// Creates an object with a time in its metadata that typed clients cannot read, as a restored backup may have.
async fn create_odd(client: &Client, path: &str, object: &Value) {
    let mut created = raw(client, "POST", path, Some(object)).await;
    created["metadata"]["managedFields"][0]["manager"] = "restore".into();
    created["metadata"]["managedFields"][0]["time"] = ODD_TIME.into();
    // An update that changes nothing else is dropped.
    created["metadata"]["labels"] = json!({"restored": "yes"});
    let name = created["metadata"]["name"].as_str().unwrap().to_owned();
    // The API server ignores managedFields of a creation.
    let stored = raw(client, "PUT", &format!("{path}/{name}"), Some(&created)).await.to_string();
    assert!(stored.contains(ODD_TIME), "the API server does not keep the time: {stored}");
}

fn webhooks(harness: &Harness) -> String {
    format!("/apis/webhooks.linktree-operator.dev/v1alpha1/namespaces/{}/linktreewebhooks", harness.namespace)
}

#[tokio::test]
async fn an_odd_webhook_and_an_odd_secret_hinder_no_other_object_after_a_restart() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let secrets = format!("/api/v1/namespaces/{}/secrets", harness.namespace);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "odd"}});
        create_odd(&harness.client, &secrets, &secret).await;
        let path = webhooks(harness);
        // With the operator stopped: its first write replaces the time.
        harness.operator.kill();
        create_odd(&harness.client, &path, &object("LinktreeWebhook", "odd", webhook_spec())).await;
        let client = harness.client.clone();
        let read =
            async |pointer: &str| raw(&client, "GET", &format!("{path}/odd"), None).await.pointer(pointer).cloned();
        harness.restart_operator();
        harness.operator.ready().await;

        until("the odd webhook is reconciled, too", async || read("/status/conditions/0").await.is_some()).await;
        let sink = json!([{"name": "cms", "http": {"urlSecretRef": {"name": "cms", "key": "url"}}}]);
        harness.change::<LinktreeWebhook>("links", json!({"spec": {"sinks": sink}})).await;
        harness.until_condition("links", "Delivering", "False", "SinkUnresolved").await;
        harness.put_secret("cms", "url", "https://cms.example/in").await;
        // Only the watch of the Secrets reports this in time: a resync is five minutes away.
        harness.until_condition("links", "Delivering", "True", "Healthy").await;

        raw(&client, "DELETE", &format!("{path}/odd"), Some(&json!({}))).await;
        until("the odd webhook is finalized", async || read("/metadata").await.is_none()).await;
        raw(&client, "DELETE", &format!("{secrets}/odd"), Some(&json!({}))).await;
    })
    .await;
}
