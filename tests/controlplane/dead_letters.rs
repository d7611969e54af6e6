//! Held sinks, dead letters, and requests to send them again.

use linktree_operator::api::{
    sink_status::SinkState,
    webhook::LinktreeWebhook,
    webhook_status::{RedriveResult, RedriveStatus},
};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, scenario},
    kubelet::Kubelet,
    wait::until_some,
};

/// Creates a webhook with these sinks, waits until it is ready, and delivers one event.
async fn delivered(harness: &mut Harness, sinks: Value) -> Kubelet {
    harness.connect(|_| {}).await;
    let mut node = harness.webhook("links", |spec| spec["sinks"] = sinks).await;
    node.start().await;
    harness.until_condition("links", "Ready", "True", "Available").await;
    let (path, secret) = (harness.delivery_path("links").await, harness.signing_secret("links").await);
    assert_eq!(node.deliver(&path, "d1", &secret).await, 200);
    node
}

/// Requests that dead letters are sent again, and waits for the result.
async fn redrive(harness: &Harness, value: &str) -> RedriveStatus {
    let annotation = json!({"webhooks.linktree-operator.dev/redrive-requested": value});
    harness.change::<LinktreeWebhook>("links", json!({"metadata": {"annotations": annotation}})).await;
    until_some(&format!("request {value} is handled"), async || {
        let status = harness.status("links").await;
        (status.last_handled_redrive_request.as_deref() == Some(value)).then_some(status.last_redrive?)
    })
    .await
}

/// A sink whose filter fails for every event, which becomes a dead letter at once.
fn unfit(name: &str) -> Value {
    json!({"name": name, "http": {"url": "http://cms.marketing.svc/in"}, "filter": "event.data.threshold > 100"})
}

#[tokio::test]
async fn dead_letters_are_sent_again_once_for_each_request() {
    scenario(async |harness| {
        let _node = delivered(harness, json!([unfit("cms")])).await;
        let message = harness.until_condition("links", "Delivering", "True", "DeadLetters").await;
        assert!(message.contains("until they expire: cms; see lastFailure"), "{message}");

        let accepted = redrive(harness, "cms 2026-11-30T22:00:00Z").await;
        assert_eq!((accepted.result, accepted.matched), (RedriveResult::Accepted, Some(1)));
        let rejected = redrive(harness, "crm now").await;
        assert_eq!(rejected.result, RedriveResult::Rejected);
        assert!(rejected.message.unwrap().contains("spec.sinks has no sink crm"));
        // It became a dead letter again.
        harness.until_condition("links", "Delivering", "True", "DeadLetters").await;
    })
    .await;
}

#[tokio::test]
async fn the_dead_letters_of_a_renamed_sink_are_shown_and_sent_to_another() {
    scenario(async |harness| {
        let _node = delivered(harness, json!([unfit("old")])).await;
        harness.until_condition("links", "Delivering", "True", "DeadLetters").await;
        harness.change::<LinktreeWebhook>("links", json!({"spec": {"sinks": [unfit("new")]}})).await;
        let removed = until_some("the renamed sink is in the status", async || {
            harness.status("links").await.removed_sinks.into_iter().next()
        })
        .await;
        assert_eq!((removed.name.as_str(), removed.dead_lettered), ("old", 1));
        let accepted = redrive(harness, "old:new 1").await;
        assert_eq!((accepted.result, accepted.matched), (RedriveResult::Accepted, Some(1)));
        until_some("its dead letter is that of the new sink", async || {
            let status = harness.status("links").await;
            let moved = status.removed_sinks.is_empty() && status.sinks.first()?.dead_lettered == 1;
            moved.then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_sink_that_cannot_be_reached_is_held() {
    scenario(async |harness| {
        let _node = delivered(harness, json!([{"name": "cms", "http": {"url": "http://cms.marketing.svc/in"}}])).await;
        let message = harness.until_condition("links", "Delivering", "False", "SinkHeld").await;
        assert!(message.starts_with("sinks fail and are held: cms (could not be reached);"), "{message}");
        let sink = harness.status("links").await.sinks.remove(0);
        assert_eq!(sink.state, SinkState::Held);
        harness.until_condition("links", "Ready", "True", "Available").await;
    })
    .await;
}
