//! The receiver is somebody's own: only the subscription is kept.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use kube::{api::DeleteParams, core::NamespaceResourceScope};
use linktree_operator::api::webhook::LinktreeWebhook;
use serde_json::{Value, json};

use crate::{
    network::Place,
    wait::until,
    world::{World, object, scenario, webhook_spec},
};

const REFUSES: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 17\r\nconnection: close\r\n\r\nMissing signature";
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The host of somebody's own receiver.
fn host(world: &World) -> String {
    format!("own.{}.svc.cluster.local", world.namespace)
}

fn url(world: &World) -> String {
    format!("http://{}/in", host(world))
}

fn spec(world: &World) -> Value {
    let endpoint = json!({"type": "External", "external": {"url": url(world)}});
    json!({"connectionRef": {"name": "brand"}, "events": ["link.created", "link.updated"], "endpoint": endpoint})
}

async fn apply(world: &World, name: &str, spec: Value) {
    world.create::<LinktreeWebhook>(object("LinktreeWebhook", name, spec)).await.unwrap();
}

async fn none<K>(world: &World, name: &str) -> bool
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + serde::de::DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    world.api::<K>().get_opt(name).await.unwrap().is_none()
}

/// Whether there is nothing of a bundled receiver.
async fn no_receiver(world: &World) -> bool {
    none::<StatefulSet>(world, "theirs-receiver").await
        && none::<Service>(world, "theirs-receiver").await
        && none::<ServiceAccount>(world, "theirs-receiver").await
        && none::<NetworkPolicy>(world, "theirs-receiver").await
        && none::<Secret>(world, "theirs-receiver-route").await
}

#[tokio::test]
async fn only_the_subscription_is_kept_and_it_comes_back_when_the_receiver_answers() {
    scenario(async |world| {
        world.connect(|_| {}).await;
        let host = host(world);
        world.network.route(&host, Place::Answers(BROKEN));
        apply(world, "theirs", spec(world)).await;
        let message = world.until_condition("theirs", "EndpointReachable", "False", "UnexpectedResponse").await;
        assert!(message.contains("500"), "{message}");
        world.until_condition("theirs", "Registered", "False", "Pending").await;
        assert_eq!(world.subscriptions().await, Vec::<Value>::new());

        world.network.route(&host, Place::Answers(REFUSES));
        world.until_condition("theirs", "Ready", "True", "Available").await;
        world.until_condition("theirs", "SigningKeysReady", "True", "SecretKept").await;
        let kept = world.subscriptions().await[0].clone();
        assert_eq!(kept["url"], url(world));
        assert_eq!(world.signing_secret("theirs").await, kept["signing_secret"]);
        assert!(no_receiver(world).await);

        apply(world, "twice", spec(world)).await;
        let message = world.until_condition("twice", "Registered", "False", "Conflict").await;
        assert!(message.contains("/theirs has a subscription with this url"), "{message}");

        world.network.route(&host, Place::Answers(BROKEN));
        let id = kept["id"].as_str().unwrap();
        world.linktree.control("PATCH", &format!("/subscriptions/{id}"), json!({"status": "disabled"})).await;
        world.until_condition("theirs", "SubscriptionEnabled", "False", "WaitingForHealth").await;
        world.network.route(&host, Place::Answers(REFUSES));
        world.until_condition("theirs", "SubscriptionEnabled", "True", "Enabled").await;
        assert_eq!(world.subscriptions().await[0]["status"], "active");

        world.api::<LinktreeWebhook>().delete("theirs", &DeleteParams::default()).await.unwrap();
        until("the webhook is gone", async || {
            world.api::<LinktreeWebhook>().get_opt("theirs").await.unwrap().is_none()
        })
        .await;
        // The url is free, so the other one has it now.
        world.until_condition("twice", "Registered", "True", "Created").await;
        assert_eq!(world.subscriptions().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_webhook_moves_to_somebodys_own_receiver_and_back_with_one_subscription() {
    scenario(async |world| {
        let mut node = world.settled("theirs").await;
        let [managed] = world.subscriptions().await.try_into().unwrap();
        let only = async |world: &World| {
            let [found] = world.subscriptions().await.try_into().unwrap();
            assert_eq!((&found["id"], &found["signing_secret"]), (&managed["id"], &managed["signing_secret"]));
            found["url"].clone()
        };

        // Nothing answers there yet, so Linktree goes on sending to the bundled receiver.
        apply(world, "theirs", spec(world)).await;
        world.until_condition("theirs", "EndpointReachable", "False", "ConnectionFailed").await;
        let message = world.until_condition("theirs", "UpToDate", "False", "DriftDetected").await;
        assert!(message.contains("as soon as the receiver answers"), "{message}");
        world.touch_looks("theirs", 2).await;
        assert_eq!(only(world).await, managed["url"]);
        assert!(!no_receiver(world).await);

        world.network.route(&host(world), Place::Answers(REFUSES));
        world.until_condition("theirs", "Ready", "True", "Available").await;
        until("the bundled receiver is gone", async || no_receiver(world).await).await;
        assert_eq!(only(world).await, url(world));
        node.stop().await;

        apply(world, "theirs", webhook_spec()).await;
        world.until_condition("theirs", "ReceiverAvailable", "False", "Progressing").await;
        world.touch_looks("theirs", 2).await;
        assert_eq!(only(world).await, url(world), "the bundled receiver does not answer yet");
        node.start().await;
        world.until_condition("theirs", "Ready", "True", "Available").await;
        world.until_condition("theirs", "UpToDate", "True", "Matched").await;
        assert_eq!(only(world).await, managed["url"]);
        let calls = world.calls_since(0).await;
        assert_eq!(calls.iter().filter(|call| call.starts_with("POST")).count(), 1, "{calls:?}");
    })
    .await;
}
