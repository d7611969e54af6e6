//! A deleted webhook takes its subscription along, and never hangs where there is none.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Secret, Service},
};
use kube::api::DeleteParams;
use linktree_operator::api::{connection::LinktreeConnection, webhook::LinktreeWebhook};
use serde_json::{Value, json};

use crate::{
    wait::until,
    world::{World, quiet_for, scenario},
};

async fn delete(world: &World, webhook: &str) {
    world.api::<LinktreeWebhook>().delete(webhook, &DeleteParams::default()).await.unwrap();
}

async fn until_gone(world: &World, webhook: &str) {
    let webhooks = world.api::<LinktreeWebhook>();
    until("the webhook is gone", async || webhooks.get_opt(webhook).await.unwrap().is_none()).await;
}

fn deletions(calls: &[String]) -> usize {
    calls.iter().filter(|call| call.starts_with("DELETE")).count()
}

#[tokio::test]
async fn the_subscription_and_all_objects_go() {
    scenario(async |world| {
        let _node = world.settled("links").await;
        delete(world, "links").await;
        until_gone(world, "links").await;
        assert_eq!(world.subscriptions().await, Vec::<Value>::new());
        until("the objects are collected", async || {
            world.api::<StatefulSet>().get_opt("links-receiver").await.unwrap().is_none()
                && world.api::<Service>().get_opt("links-receiver").await.unwrap().is_none()
                && world.api::<Secret>().get_opt("links-receiver-route").await.unwrap().is_none()
                && world.api::<Secret>().get_opt("links-signing").await.unwrap().is_none()
        })
        .await;
        assert!(world.api::<Secret>().get_opt("linktree-api").await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_subscription_that_is_gone_already_is_no_obstacle() {
    scenario(async |world| {
        let _node = world.settled("links").await;
        let id = world.status("links").await.subscription.unwrap().id.unwrap();
        world.linktree.control("DELETE", &format!("/subscriptions/{id}"), Value::Null).await;
        delete(world, "links").await;
        until_gone(world, "links").await;
    })
    .await;
}

#[tokio::test]
async fn what_was_never_registered_needs_no_linktree() {
    scenario(async |world| {
        let _unconnected = world.webhook("links", |_| {}).await;
        world.until_condition("links", "Ready", "False", "ConnectionMissing").await;
        delete(world, "links").await;
        until_gone(world, "links").await;
        assert_eq!(world.calls_since(0).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn it_waits_for_a_linktree_that_is_down_and_says_so() {
    scenario(async |world| {
        let _node = world.settled("links").await;
        world.fault(json!({"kind": "status", "status": 503, "method": "DELETE"})).await;
        delete(world, "links").await;
        let message = world.until_condition("links", "Reconciling", "True", "Terminating").await;
        assert!(message.contains("left behind at"), "{message}");
        until("the message says why", async || {
            let conditions = world.status("links").await.conditions;
            conditions.iter().any(|condition| condition.message.contains("Linktree answered 503; next attempt at"))
        })
        .await;
        world.until_condition("links", "Ready", "False", "Terminating").await;
        assert_eq!(world.subscriptions().await.len(), 1);
        let asked = deletions(&world.calls_since(0).await);
        quiet_for(Duration::from_secs(2)).await;
        assert_eq!(deletions(&world.calls_since(0).await), asked, "it is not asked again at once");
        world.mend().await;
        until_gone(world, "links").await;
        assert_eq!(world.subscriptions().await, Vec::<Value>::new());
    })
    .await;
}

#[tokio::test]
async fn connection_and_token_deleted_with_it_leave_no_orphan() {
    scenario(async |world| {
        let _node = world.settled("links").await;
        // The account cannot be reached at first, so that all three are gone before its turn comes.
        world.fault(json!({"kind": "status", "status": 503, "method": "DELETE", "times": 1})).await;
        delete(world, "links").await;
        world.api::<Secret>().delete("linktree-api", &DeleteParams::default()).await.unwrap();
        world.api::<LinktreeConnection>().delete("brand", &DeleteParams::default()).await.unwrap();
        until_gone(world, "links").await;
        assert_eq!(world.subscriptions().await, Vec::<Value>::new());
    })
    .await;
}
