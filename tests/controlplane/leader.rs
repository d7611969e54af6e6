//! Two operators, of which one leads: the other takes over in time, and no moment with two of them leaves a second
//! subscription.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::DeleteParams;
use linktree_operator::api::webhook::LinktreeWebhook;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    operator::Operator,
    wait::{until, until_some},
    world::{World, scenario},
};

const LEASE: &str = "linktree-webhook-operator";

/// How much longer than the goal P10 says it may take here: a machine that runs four tests at once is no place to measure.
const BUSY: u32 = 3;

/// Replaces the world's operator by two that stand for election, of which the returned one stands by.
async fn two(world: &mut World) -> Operator {
    world.operator.kill();
    world.operator = world.candidate();
    world.operator.ready().await;
    until("the first leads", async || leads(&world.operator).await).await;
    let mut standby = world.candidate();
    standby.ready().await;
    assert_eq!(standby.admin("/readyz").await, "ok: standby, another leads\n");
    standby
}

async fn leads(operator: &Operator) -> bool {
    operator.admin("/metrics").await.contains("linktree_operator_leader 1\n")
}

async fn holder(world: &World) -> Option<String> {
    world.api::<Lease>().get_opt(LEASE).await.unwrap()?.spec?.holder_identity.filter(|holder| !holder.is_empty())
}

#[allow(clippy::disallowed_methods, reason = "a deadline of the product's is measured here")]
fn now() -> Instant {
    Instant::now()
}

/// How long it takes from `since` until somebody looks after a webhook made now. Shown by `--no-capture`.
#[allow(clippy::print_stdout, reason = "a figure for goal P10")]
async fn until_looked_after(world: &mut World, name: &str, since: Instant) -> Duration {
    let _node = world.webhook(name, |_| {}).await;
    until("the new webhook is looked after", async || {
        !world.get(name).await.metadata.finalizers.unwrap_or_default().is_empty()
    })
    .await;
    let took = since.elapsed();
    println!("next reconcile after {took:?}");
    took
}

#[tokio::test]
async fn a_leader_that_is_killed_is_replaced() {
    scenario(async |world| {
        let mut standby = two(world).await;
        let _node = world.settled("links").await;
        assert_eq!(standby.looks("LinktreeWebhook").await, 0, "a standby does nothing");
        let since = now();
        world.operator.kill();
        let took = until_looked_after(world, "more", since).await;
        assert!(took <= BUSY * Duration::from_secs(16), "{took:?}");
        std::mem::swap(&mut world.operator, &mut standby);
        world.until_condition("links", "Ready", "True", "Available").await;
        assert_eq!(world.subscriptions().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_ends_cleanly_is_replaced_at_once() {
    scenario(async |world| {
        let mut standby = two(world).await;
        let _node = world.settled("links").await;
        let since = now();
        // Made when the first has ended: it would else be its last deed.
        assert!(world.operator.terminate().await.success());
        let took = until_looked_after(world, "more", since).await;
        assert!(took <= BUSY * Duration::from_secs(2), "{took:?}");
        std::mem::swap(&mut world.operator, &mut standby);
        until("the standby leads", async || leads(&world.operator).await).await;
    })
    .await;
}

#[tokio::test]
async fn a_lease_deleted_by_hand_is_made_anew_by_its_leader() {
    scenario(async |world| {
        let standby = two(world).await;
        let before = holder(world).await.unwrap();
        world.api::<Lease>().delete(LEASE, &DeleteParams::default()).await.unwrap();
        let after = until_some("there is a lease again", async || holder(world).await).await;
        assert_eq!(before, after);
        assert!(leads(&world.operator).await && !leads(&standby).await);
    })
    .await;
}

/// It is frozen with its registration under way, and wakes when another has taken over: it neither repeats nor goes on.
#[tokio::test]
async fn a_leader_that_was_frozen_writes_nothing_when_it_wakes_and_ends() {
    scenario(async |world| {
        let mut standby = two(world).await;
        world.connect(|_| {}).await;
        let mut node = world.webhook("links", |_| {}).await;
        world.fault(json!({"kind": "delay", "milliseconds": 1500, "method": "POST", "times": 1})).await;
        node.start().await;
        until("Linktree has the subscription", async || world.subscriptions().await.len() == 1).await;
        world.operator.signal(Signal::SIGSTOP);
        let frozen = holder(world).await.unwrap();
        until("another leads", async || holder(world).await.is_some_and(|holder| holder != frozen)).await;
        world.until_condition("links", "Registered", "True", "Adopted").await;
        world.until_condition("links", "Ready", "True", "Available").await;
        let calls = world.last_call().await;

        world.operator.signal(Signal::SIGCONT);
        assert_eq!(world.operator.ended().await.code(), Some(1));
        let writes: Vec<_> = world.calls_since(calls).await.into_iter().filter(|it| !it.starts_with("GET")).collect();
        assert_eq!(writes, Vec::<String>::new());
        assert_eq!(world.subscriptions().await.len(), 1);
        std::mem::swap(&mut world.operator, &mut standby);
        world.api::<LinktreeWebhook>().delete("links", &DeleteParams::default()).await.unwrap();
        until("its subscription is gone", async || world.subscriptions().await.is_empty()).await;
    })
    .await;
}
