//! Missing milestones: reported once, also after a restart of the operator.

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

const EVENTS: [&str; 2] = ["SubscriptionCreated", "NoMilestonesSeen"];

async fn awaited(harness: &Harness) -> Option<AwaitedMilestones> {
    harness.status("links").await.awaited_milestones
}

#[tokio::test]
async fn missing_milestones_are_reported_once_after_fourteen_days_until_one_arrives() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let mut node = harness.webhook("links", |spec| spec["events"] = json!(["analytics.milestone"])).await;
        node.start().await;
        until("milestones are awaited", async || awaited(harness).await.is_some()).await;
        // The receiver then has its keys, and accepts the delivery below.
        harness.until_condition("links", "Ready", "True", "Available").await;

        let long_ago = clock::now() - SignedDuration::from_hours(15 * 24);
        let since = json!({"status": {"awaitedMilestones": {"sinceTime": long_ago.to_string()}}});
        harness.operator.kill();
        let webhooks = harness.api::<LinktreeWebhook>();
        webhooks.patch_status("links", &PatchParams::default(), &Patch::Merge(since)).await.unwrap();
        harness.restart_operator();
        harness.until_events(&EVENTS).await;
        let reported = awaited(harness).await;
        assert!(reported.as_ref().is_some_and(|it| it.reported_time.is_some()), "{reported:?}");

        harness.operator.kill();
        harness.restart_operator();
        harness.operator.ready().await;
        harness.trigger_reconciles("links", 3).await;
        assert_eq!((harness.events().await, awaited(harness).await), (EVENTS.map(str::to_owned).to_vec(), reported));

        let path = harness.delivery_path("links").await;
        let secret = harness.signing_secret("links").await;
        let milestone = r#"{"type":"analytics.milestone","data":{"link_id":"l1"},"timestamp":1700000000}"#;
        assert_eq!(node.deliver_body(&path, "d1", &secret, milestone).await, 200);
        until_some("the status has the milestone's time", async || {
            harness.status("links").await.receiver?.last_milestone_time.filter(|last| last.0 > long_ago)
        })
        .await;
        until("milestones are no longer awaited", async || awaited(harness).await.is_none()).await;
    })
    .await;
}
