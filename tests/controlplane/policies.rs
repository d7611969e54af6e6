//! Subscription policies: what the operator must not change, and how it reports it.

use kube::api::{DeleteParams, Patch, PatchParams};
use linktree_operator::api::{
    connection::LinktreeConnection,
    webhook::LinktreeWebhook,
    webhook_status::{Action, GapReason, PlannedAction, RecoveryStatus},
};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, scenario},
    network::Destination,
    wait::{until, until_some},
};

const PATH: &str = "/subscriptions";

/// Creates a subscription out of band, with these events.
async fn create_out_of_band(harness: &Harness, url: &str, events: &[&str]) -> String {
    let made = harness.linktree.control("POST", PATH, json!({"url": url, "events": events})).await;
    made["id"].as_str().unwrap().to_owned()
}

/// Creates a webhook with this policy and starts its receiver; returns the node and the url.
async fn with_policy(harness: &mut Harness, policy: Value) -> (crate::kubelet::Kubelet, String) {
    let mut node = harness.webhook("links", |spec| spec["subscription"] = policy).await;
    let url = until_some("the webhook has a url", async || Some(harness.status("links").await.address?.url)).await;
    node.start().await;
    (node, url)
}

async fn set(harness: &Harness, policy: Value) {
    harness.change::<LinktreeWebhook>("links", json!({"spec": {"subscription": policy}})).await;
}

async fn edit(harness: &Harness, change: Value) {
    let id = harness.status("links").await.subscription.unwrap().id.unwrap();
    harness.linktree.control("PATCH", &format!("{PATH}/{id}"), change).await;
}

/// The calls to Linktree that are not reads.
async fn writes(harness: &Harness) -> Vec<String> {
    harness.calls_since(0).await.into_iter().filter(|call| !call.starts_with("GET")).collect()
}

async fn delete_and_wait(harness: &Harness) {
    let webhooks = harness.api::<LinktreeWebhook>();
    webhooks.delete("links", &DeleteParams::default()).await.unwrap();
    until("the webhook is gone", async || webhooks.get_opt("links").await.unwrap().is_none()).await;
}

async fn until_plan(harness: &Harness, expected: &[(Action, &[&str])]) {
    let planned = |(action, fields): &(Action, &[&str])| PlannedAction {
        action: *action,
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    };
    let expected: Vec<_> = expected.iter().map(planned).collect();
    until(&format!("the plan is {expected:?}"), async || {
        harness.status("links").await.subscription.is_some_and(|subscription| subscription.plan == expected)
    })
    .await;
}

async fn attempts(harness: &Harness) -> Option<RecoveryStatus> {
    harness.status("links").await.subscription?.recovery
}

#[tokio::test]
async fn with_observe_the_plan_is_reported_and_not_executed() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let (_node, url) = with_policy(harness, json!({"managementPolicy": "Observe"})).await;
        harness.until_condition("links", "ReceiverAvailable", "True", "Available").await;
        until_plan(harness, &[(Action::Create, &[])]).await;

        let id = create_out_of_band(harness, &url, &["profile.updated"]).await;
        harness.linktree.control("PATCH", &format!("{PATH}/{id}"), json!({"status": "disabled"})).await;
        until_plan(harness, &[(Action::Adopt, &[]), (Action::Update, &["events"]), (Action::RotateSecret, &[])]).await;
        assert_eq!(writes(harness).await, Vec::<String>::new());
        let [left] = harness.subscriptions().await.try_into().unwrap();
        assert_eq!((&left["events"], &left["status"]), (&json!(["profile.updated"]), &json!("disabled")));

        delete_and_wait(harness).await;
        assert_eq!(writes(harness).await, Vec::<String>::new());
        assert_eq!(harness.subscriptions().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_existing_subscription_is_a_conflict_until_adoption_is_allowed() {
    scenario(async |harness| {
        let (_node, url) = with_policy(harness, json!({"adoptionPolicy": "Never"})).await;
        let id = create_out_of_band(harness, &url, &["link.created", "link.updated"]).await;
        harness.connect(|_| {}).await;
        let message = harness.until_condition("links", "Registered", "False", "Conflict").await;
        assert!(message.contains(&id) && message.contains("set adoptionPolicy to IfURLMatches"), "{message}");
        harness.until_condition("links", "Stalled", "True", "Conflict").await;
        assert_eq!(writes(harness).await, Vec::<String>::new());

        set(harness, json!({"adoptionPolicy": "IfURLMatches"})).await;
        harness.until_condition("links", "Registered", "True", "Adopted").await;
        assert_eq!(harness.status("links").await.subscription.unwrap().id, Some(id));
    })
    .await;
}

#[tokio::test]
async fn a_subscription_is_adopted_by_id_with_any_url_and_none_is_created() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let (_node, url) = with_policy(harness, json!({"adoptionPolicy": "ByID", "id": "wh_none"})).await;
        let message = harness.until_condition("links", "Registered", "False", "SubscriptionNotFound").await;
        assert!(message.contains("no subscription wh_none"), "{message}");
        assert_eq!(writes(harness).await, Vec::<String>::new());

        let id = create_out_of_band(harness, "https://old.example.com/hook", &["link.created"]).await;
        set(harness, json!({"id": id})).await;
        harness.until_condition("links", "Registered", "True", "Adopted").await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        harness.until_condition("links", "UpToDate", "True", "Matched").await;
        let [adopted] = harness.subscriptions().await.try_into().unwrap();
        assert_eq!((&adopted["id"], &adopted["url"]), (&json!(id), &json!(url)));
    })
    .await;
}

#[tokio::test]
async fn reported_drift_stays_with_both_values_in_the_status() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        set(harness, json!({"driftPolicy": "Report"})).await;
        edit(harness, json!({"events": ["profile.updated"]})).await;
        let message = harness.until_condition("links", "UpToDate", "False", "DriftDetected").await;
        assert!(message.contains("driftPolicy is Report"), "{message}");
        let [drift] = harness.status("links").await.subscription.unwrap().drift.try_into().unwrap();
        assert_eq!((drift.field.as_str(), drift.observed.as_str()), ("events", "profile.updated"));
        assert_eq!(drift.desired, "link.created,link.updated");
        harness.trigger_reconciles("links", 2).await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        assert!(!writes(harness).await.iter().any(|call| call.starts_with("PATCH")));

        set(harness, json!({"driftPolicy": "Correct"})).await;
        harness.until_condition("links", "UpToDate", "True", "Matched").await;
        assert!(harness.status("links").await.subscription.unwrap().drift.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_retained_subscription_outlives_its_webhook_and_is_adopted_by_the_next() {
    scenario(async |harness| {
        let node = harness.settled("links").await;
        set(harness, json!({"deletionPolicy": "Retain"})).await;
        let before = harness.subscriptions().await;
        delete_and_wait(harness).await;
        assert_eq!(harness.subscriptions().await, before);
        assert!(!writes(harness).await.iter().any(|call| call.starts_with("DELETE")));
        drop(node);

        let mut node = harness.webhook("links", |_| {}).await;
        node.start().await;
        harness.until_condition("links", "Registered", "True", "Adopted").await;
        assert_eq!(harness.subscriptions().await[0]["id"], before[0]["id"]);
    })
    .await;
}

#[tokio::test]
async fn a_failing_deletion_ends_at_its_deadline_and_the_orphan_is_counted() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let id = harness.status("links").await.subscription.unwrap().id.unwrap();
        set(harness, json!({"deletionDeadlineSeconds": 6})).await;
        harness.fault(json!({"kind": "status", "status": 503, "method": "DELETE"})).await;
        delete_and_wait(harness).await;
        until("the orphan is reported by an Event", async || {
            harness.events().await.contains(&"OrphanReleased".to_owned())
        })
        .await;
        assert!(!harness.events().await.contains(&"SubscriptionDeleted".to_owned()));
        until("the orphan is counted", async || {
            harness.connection().await.status.and_then(|status| status.subscriptions).is_some_and(|it| it.orphaned == 1)
        })
        .await;
        let [listed] = harness.connection().await.status.unwrap().unmanaged_subscriptions.try_into().unwrap();
        assert_eq!(listed.id, id);
    })
    .await;
}

#[tokio::test]
async fn with_recovery_never_it_stays_disabled_and_the_gap_has_cause_and_end() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        set(harness, json!({"recovery": {"policy": "Never"}})).await;
        edit(harness, json!({"status": "disabled"})).await;
        let message = harness.until_condition("links", "SubscriptionEnabled", "False", "RecoveryDisabled").await;
        assert!(message.contains("enable it in the dashboard"), "{message}");
        harness.until_condition("links", "Stalled", "True", "RecoveryDisabled").await;
        let [gap] = harness.status("links").await.gaps.try_into().unwrap();
        assert_eq!((gap.reason, gap.end_time), (GapReason::SubscriptionDisabled, None));
        harness.trigger_reconciles("links", 2).await;
        assert!(!writes(harness).await.iter().any(|call| call.starts_with("PATCH")));

        edit(harness, json!({"status": "active"})).await;
        harness.until_condition("links", "SubscriptionEnabled", "True", "Enabled").await;
        let [gap] = harness.status("links").await.gaps.try_into().unwrap();
        assert!(gap.end_time.is_some_and(|end| end.0 >= gap.start_time.0));
    })
    .await;
}

#[tokio::test]
async fn repeated_recovery_respects_cooldown_and_daily_budget() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        set(harness, json!({"recovery": {"cooldownSeconds": 600, "maxAttemptsPerDay": 2}})).await;
        edit(harness, json!({"status": "disabled"})).await;
        harness.until_condition("links", "SubscriptionEnabled", "True", "Enabled").await;
        let first = until_some("the attempt is recorded", async || attempts(harness).await).await;
        assert_eq!(first.attempts_today, 1);

        edit(harness, json!({"status": "disabled"})).await;
        let message = harness.until_condition("links", "SubscriptionEnabled", "False", "ReenableBackoff").await;
        let next = attempts(harness).await.unwrap().next_attempt_time.unwrap();
        assert_eq!(next.0.duration_since(first.last_attempt_time.0).as_secs(), 600);
        assert!(message.contains(&next.0.to_string()), "{message}");

        // The next attempt of this day would be the third.
        let used = json!({"status": {"subscription": {"recovery": {"attemptsToday": 2}}}});
        harness.operator.kill();
        let webhooks = harness.api::<LinktreeWebhook>();
        webhooks.patch_status("links", &PatchParams::default(), &Patch::Merge(used)).await.unwrap();
        harness.restart_operator();
        harness.operator.ready().await;
        let message = harness.until_condition("links", "SubscriptionEnabled", "False", "ReenableBudgetExhausted").await;
        let next = attempts(harness).await.unwrap().next_attempt_time.unwrap();
        assert_eq!(next.0.duration_since(first.day_start_time.0).as_hours(), 24);
        assert!(message.contains(&next.0.to_string()), "{message}");
        let patches = writes(harness).await.iter().filter(|call| call.starts_with("PATCH")).count();
        assert_eq!(patches, 1);
    })
    .await;
}

#[tokio::test]
async fn the_risk_is_reported_again_as_the_disable_deadline_approaches() {
    const HOUR: u64 = 3600;
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        // The simulator cannot reach the receiver, so its deliveries fail.
        let link = json!({"title": "Shop", "url": "https://shop.example.com"});
        harness.linktree.control("POST", "/links", link).await;
        for (hours, passed) in [(1, None), (36, Some("50 %")), (18, Some("75 %")), (11, Some("90 %"))] {
            harness.linktree.advance(hours * HOUR).await;
            harness.request_sync::<LinktreeConnection>("brand", &hours.to_string()).await;
            until(&format!("the message has {}", passed.unwrap_or("no percentage")), async || {
                let at_risk = harness.condition("links", "DeliveryAtRisk").await;
                at_risk.is_some_and(|it| match passed {
                    None => it.status == "True" && !it.message.contains('%'),
                    Some(passed) => it.message.contains(&format!("more than {passed} of that time has passed")),
                })
            })
            .await;
        }
        // 72 hours after the first failure.
        harness.network.route(&harness.host("links"), Destination::Closed);
        harness.linktree.advance(7 * HOUR).await;
        harness.request_sync::<LinktreeConnection>("brand", "7").await;
        harness.until_condition("links", "DeliveryAtRisk", "True", "SubscriptionDisabled").await;
        let status = harness.status("links").await;
        let [gap] = status.gaps.try_into().unwrap();
        assert_eq!(gap.reason, GapReason::SubscriptionDisabled);
    })
    .await;
}
