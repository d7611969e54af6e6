//! Milestones that were subscribed to and do not come: told once, also by an operator that starts anew.

use jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use linktree_operator::{
    api::{webhook::LinktreeWebhook, webhook_status::AwaitedMilestones},
    clock,
};
use serde_json::json;

use crate::{
    harness::{Harness, scenario},
    wait::{until, until_some},
};

const TOLD: [&str; 2] = ["SubscriptionCreated", "NoMilestonesSeen"];

async fn awaited(harness: &Harness) -> Option<AwaitedMilestones> {
    harness.status("links").await.awaited_milestones
}

#[tokio::test]
async fn that_none_came_in_fourteen_days_is_told_once_and_forgotten_when_one_comes() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let mut node = harness.webhook("links", |spec| spec["events"] = json!(["analytics.milestone"])).await;
        node.start().await;
        until("it is waited for them", async || awaited(harness).await.is_some()).await;
        // The receiver has its keys by then, and takes what is delivered below.
        harness.until_condition("links", "Ready", "True", "Available").await;

        let long_ago = clock::now() - SignedDuration::from_hours(15 * 24);
        let since = json!({"status": {"awaitedMilestones": {"sinceTime": long_ago.to_string()}}});
        harness.operator.kill();
        let webhooks = harness.api::<LinktreeWebhook>();
        webhooks.patch_status("links", &PatchParams::default(), &Patch::Merge(since)).await.unwrap();
        harness.restart_operator();
        harness.until_events(&TOLD).await;
        let told = awaited(harness).await;
        assert!(told.as_ref().is_some_and(|told| told.reported_time.is_some()), "{told:?}");

        harness.operator.kill();
        harness.restart_operator();
        harness.operator.ready().await;
        harness.touch_looks("links", 3).await;
        assert_eq!((harness.events().await, awaited(harness).await), (TOLD.map(str::to_owned).to_vec(), told));

        let path = harness.delivery_path("links").await;
        let secret = harness.signing_secret("links").await;
        let milestone = r#"{"type":"analytics.milestone","data":{"link_id":"l1"},"timestamp":1700000000}"#;
        assert_eq!(node.deliver_body(&path, "d1", &secret, milestone).await, 200);
        until_some("it is known that one came", async || {
            harness.status("links").await.receiver?.last_milestone_time.filter(|last| last.0 > long_ago)
        })
        .await;
        until("they are not waited for any more", async || awaited(harness).await.is_none()).await;
    })
    .await;
}
