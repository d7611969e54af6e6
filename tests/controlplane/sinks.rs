//! Sinks that the operator must resolve: an addressable object, and a URL in a Secret.

use k8s_openapi::api::core::v1::Secret;
use linktree_operator::{
    api::{sink_status::SinkState, webhook::LinktreeWebhook},
    route::{self, Route},
};
use serde_json::json;

use crate::{
    harness::{Harness, scenario},
    wait::{until, until_some},
};

/// The URL of the receiver's only sink in the route.
async fn sink_url(harness: &Harness) -> Option<String> {
    let secret = harness.api::<Secret>().get_opt("links-receiver-route").await.unwrap()?;
    let route = Route::parse(&secret.data?.remove(route::FILE)?.0).unwrap();
    Some(route.sinks.first()?.url.as_ref()?.expose().to_string())
}

/// Any object with `status.address.url` is addressable; a webhook has one itself.
#[tokio::test]
async fn a_sink_waits_for_its_addressable_object_and_uses_its_url() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let reference = json!({
            "apiVersion": "webhooks.linktree-operator.dev/v1alpha1", "kind": "LinktreeWebhook", "name": "other",
        });
        let sinks = json!([{"name": "other", "addressable": {"ref": reference}}]);
        let mut node = harness.webhook("links", |spec| spec["sinks"] = sinks).await;
        node.start().await;
        let message = harness.until_condition("links", "Delivering", "False", "SinkUnresolved").await;
        assert!(message.contains("there is no LinktreeWebhook other in this namespace"), "{message}");
        harness.until_condition("links", "Ready", "True", "Available").await;
        until("the sink is unresolved", async || {
            harness.status("links").await.sinks.first().is_some_and(|sink| sink.state == SinkState::Unresolved)
        })
        .await;
        assert_eq!(sink_url(harness).await, None);

        let _other = harness.webhook("other", |_| {}).await;
        let address =
            until_some("the webhook has an address", async || Some(harness.status("other").await.address?.url)).await;
        until("the route has the new URL", async || sink_url(harness).await.as_deref() == Some(address.as_str())).await;
        harness.until_condition("links", "Delivering", "True", "Healthy").await;
    })
    .await;
}

#[tokio::test]
async fn a_sink_url_from_a_secret_is_awaited_and_does_not_leak() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let sinks = json!([{"name": "chat", "http": {"urlSecretRef": {"name": "chat", "key": "url"}}}]);
        let mut node = harness.webhook("links", |spec| spec["sinks"] = sinks).await;
        node.start().await;
        let message = harness.until_condition("links", "Delivering", "False", "SinkUnresolved").await;
        assert!(message.ends_with("put a value into Secret chat, key url"), "{message}");
        harness.put_secret("chat", "url", "https://chat.example/hooks/only-here").await;
        harness.until_condition("links", "Delivering", "True", "Healthy").await;
        assert_eq!(sink_url(harness).await.as_deref(), Some("https://chat.example/hooks/only-here"));
        let status = serde_json::to_string(&harness.status("links").await).unwrap();
        assert!(!status.contains("only-here") && !harness.log().contains("only-here"));
    })
    .await;
}

#[tokio::test]
async fn a_filter_or_template_that_does_not_compile_is_reported() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let mut node =
            harness.webhook("links", |spec| spec["sinks"][0]["filter"] = "event.data.position <".into()).await;
        let message = harness.until_condition("links", "Stalled", "True", "InvalidSpec").await;
        assert!(message.starts_with("spec.sinks[cms].filter does not compile: line 1, column"), "{message}");
        let change = json!({"spec": {"sinks": [{
            "name": "cms", "http": {"url": "http://cms.marketing.svc/in"}, "format": "Template",
            "template": {"body": "{\n{{ event.data.title }"},
        }]}});
        harness.change::<LinktreeWebhook>("links", change).await;
        let template = "spec.sinks[cms].template.body does not compile: line 2";
        until("the condition names the template", async || {
            let conditions = harness.status("links").await.conditions;
            conditions.iter().any(|condition| condition.type_ == "Stalled" && condition.message.starts_with(template))
        })
        .await;
        let sinks = json!({"spec": {"sinks": [{"name": "cms", "http": {"url": "http://cms.marketing.svc/in"}}]}});
        harness.change::<LinktreeWebhook>("links", sinks).await;
        node.start().await;
        harness.until_condition("links", "Ready", "True", "Available").await;
    })
    .await;
}
