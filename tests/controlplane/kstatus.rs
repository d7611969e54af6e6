//! What tools that know nothing of webhooks read from the status (kstatus), and which Events tell the story.

use linktree_operator::api::webhook::LinktreeWebhook;
use serde_json::json;

use crate::world::scenario;

#[tokio::test]
async fn a_fresh_object_does_not_look_settled() {
    scenario(async |world| {
        world.operator.kill();
        let _node = world.webhook("links", |_| {}).await;
        world.connect(|_| {}).await;
        assert_eq!(world.status("links").await.observed_generation, Some(-1));
        assert_eq!(world.connection().await.status.unwrap().observed_generation, Some(-1));
        world.restart_operator();
        world.until_condition("links", "Reconciling", "True", "Progressing").await;
        let seen = world.get("links").await;
        assert_eq!(seen.status.unwrap().observed_generation, seen.metadata.generation);
    })
    .await;
}

#[tokio::test]
async fn the_observed_generation_follows_the_spec_and_a_change_is_told_once() {
    scenario(async |world| {
        let _node = world.settled("links").await;
        let settled = world.status("links").await;
        assert!(!settled.conditions.iter().any(|it| it.type_ == "Reconciling" || it.type_ == "Stalled"), "{settled:?}");
        world.change::<LinktreeWebhook>("links", json!({"spec": {"events": ["link.deleted"]}})).await;
        crate::wait::until("the change is settled", async || {
            let webhook = world.get("links").await;
            let status = webhook.status.unwrap();
            status.observed_generation == webhook.metadata.generation
                && status.conditions.iter().any(|it| it.type_ == "UpToDate" && it.status == "True")
        })
        .await;
        world.touch_looks("links", 5).await;
        world.until_events(&["SubscriptionCreated", "DriftCorrected"]).await;
    })
    .await;
}
