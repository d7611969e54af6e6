//! External endpoints: the operator manages only the subscription.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use kube::{api::DeleteParams, core::NamespaceResourceScope};
use linktree_operator::api::webhook::LinktreeWebhook;
use serde_json::{Value, json};

use crate::{
    harness::{Harness, object, scenario, webhook_spec},
    network::Destination,
    wait::until,
};

const REFUSES: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 17\r\nconnection: close\r\n\r\nMissing signature";
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The host of the user's receiver.
fn host(harness: &Harness) -> String {
    format!("own.{}.svc.cluster.local", harness.namespace)
}

fn url(harness: &Harness) -> String {
    format!("http://{}/in", host(harness))
}

fn spec(harness: &Harness) -> Value {
    let endpoint = json!({"type": "External", "external": {"url": url(harness)}});
    json!({"connectionRef": {"name": "brand"}, "events": ["link.created", "link.updated"], "endpoint": endpoint})
}

async fn apply(harness: &Harness, name: &str, spec: Value) {
    harness.create::<LinktreeWebhook>(object("LinktreeWebhook", name, spec)).await.unwrap();
}

async fn none<K>(harness: &Harness, name: &str) -> bool
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + serde::de::DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    harness.api::<K>().get_opt(name).await.unwrap().is_none()
}

/// Whether no object of a bundled receiver exists.
async fn no_receiver(harness: &Harness) -> bool {
    none::<StatefulSet>(harness, "theirs-receiver").await
        && none::<Service>(harness, "theirs-receiver").await
        && none::<ServiceAccount>(harness, "theirs-receiver").await
        && none::<NetworkPolicy>(harness, "theirs-receiver").await
        && none::<Secret>(harness, "theirs-receiver-route").await
}

#[tokio::test]
async fn only_the_subscription_is_managed_and_enabled_again_once_the_receiver_answers() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let host = host(harness);
        harness.network.route(&host, Destination::Answers(BROKEN));
        apply(harness, "theirs", spec(harness)).await;
        let message = harness.until_condition("theirs", "EndpointReachable", "False", "UnexpectedResponse").await;
        assert!(message.contains("500"), "{message}");
        harness.until_condition("theirs", "Registered", "False", "Pending").await;
        assert_eq!(harness.subscriptions().await, Vec::<Value>::new());

        harness.network.route(&host, Destination::Answers(REFUSES));
        harness.until_condition("theirs", "Ready", "True", "Available").await;
        harness.until_condition("theirs", "SigningKeysReady", "True", "SecretKept").await;
        let kept = harness.subscriptions().await[0].clone();
        assert_eq!(kept["url"], url(harness));
        assert_eq!(harness.signing_secret("theirs").await, kept["signing_secret"]);
        assert!(no_receiver(harness).await);

        apply(harness, "twice", spec(harness)).await;
        let message = harness.until_condition("twice", "Registered", "False", "Conflict").await;
        assert!(message.contains("/theirs has a subscription with this URL"), "{message}");

        harness.network.route(&host, Destination::Answers(BROKEN));
        let id = kept["id"].as_str().unwrap();
        harness.linktree.control("PATCH", &format!("/subscriptions/{id}"), json!({"status": "disabled"})).await;
        harness.until_condition("theirs", "SubscriptionEnabled", "False", "WaitingForHealth").await;
        harness.network.route(&host, Destination::Answers(REFUSES));
        harness.until_condition("theirs", "SubscriptionEnabled", "True", "Enabled").await;
        assert_eq!(harness.subscriptions().await[0]["status"], "active");

        harness.api::<LinktreeWebhook>().delete("theirs", &DeleteParams::default()).await.unwrap();
        until("the webhook is gone", async || {
            harness.api::<LinktreeWebhook>().get_opt("theirs").await.unwrap().is_none()
        })
        .await;
        // The url is free, so the other webhook registers it.
        harness.until_condition("twice", "Registered", "True", "Created").await;
        assert_eq!(harness.subscriptions().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_webhook_moves_to_an_external_receiver_and_back_with_one_subscription() {
    scenario(async |harness| {
        let mut node = harness.settled("theirs").await;
        let [managed] = harness.subscriptions().await.try_into().unwrap();
        let only = async |harness: &Harness| {
            let [found] = harness.subscriptions().await.try_into().unwrap();
            assert_eq!((&found["id"], &found["signing_secret"]), (&managed["id"], &managed["signing_secret"]));
            found["url"].clone()
        };

        // The external receiver does not answer yet, so Linktree still sends to the bundled one.
        apply(harness, "theirs", spec(harness)).await;
        harness.until_condition("theirs", "EndpointReachable", "False", "ConnectionFailed").await;
        let message = harness.until_condition("theirs", "UpToDate", "False", "DriftDetected").await;
        assert!(message.contains("once the receiver responds"), "{message}");
        harness.trigger_reconciles("theirs", 2).await;
        assert_eq!(only(harness).await, managed["url"]);
        assert!(!no_receiver(harness).await);

        harness.network.route(&host(harness), Destination::Answers(REFUSES));
        harness.until_condition("theirs", "Ready", "True", "Available").await;
        until("the bundled receiver is gone", async || no_receiver(harness).await).await;
        assert_eq!(only(harness).await, url(harness));
        node.stop().await;

        apply(harness, "theirs", webhook_spec()).await;
        harness.until_condition("theirs", "ReceiverAvailable", "False", "Progressing").await;
        harness.trigger_reconciles("theirs", 2).await;
        assert_eq!(only(harness).await, url(harness), "the subscription moved before the bundled receiver answered");
        node.start().await;
        harness.until_condition("theirs", "Ready", "True", "Available").await;
        harness.until_condition("theirs", "UpToDate", "True", "Matched").await;
        assert_eq!(only(harness).await, managed["url"]);
        let calls = harness.calls_since(0).await;
        assert_eq!(calls.iter().filter(|call| call.starts_with("POST")).count(), 1, "{calls:?}");
    })
    .await;
}
