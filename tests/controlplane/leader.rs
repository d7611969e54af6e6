//! Two operators with leader election: the standby takes over in time, and two running operators never create a second
//! subscription.

use std::time::{Duration, Instant};

use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::api::{DeleteParams, PostParams};
use linktree_operator::api::webhook::LinktreeWebhook;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    harness::{Harness, scenario},
    operator::Operator,
    wait::{until, until_some},
};

const LEASE: &str = "linktree-webhook-operator";

/// Tolerance of goal P10 for a machine that runs four tests at once.
const BUSY: u32 = 3;

/// Replaces the harness's operator by two with leader election; returns the standby.
async fn two(harness: &mut Harness) -> Operator {
    harness.operator.kill();
    // As the chart creates it: without one, the first operator would wait until a possible holder has stopped.
    let free = Lease { metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() }, spec: None };
    harness.api::<Lease>().create(&PostParams::default(), &free).await.unwrap();
    harness.operator = harness.candidate();
    harness.operator.ready().await;
    until("the first operator leads", async || leads(&harness.operator).await).await;
    let mut standby = harness.candidate();
    standby.ready().await;
    assert_eq!(standby.admin("/readyz").await, "ok: standby, another process leads\n");
    standby
}

async fn leads(operator: &Operator) -> bool {
    operator.admin("/metrics").await.contains("linktree_operator_leader 1\n")
}

async fn holder(harness: &Harness) -> Option<String> {
    harness.api::<Lease>().get_opt(LEASE).await.unwrap()?.spec?.holder_identity.filter(|holder| !holder.is_empty())
}

#[allow(clippy::disallowed_methods, reason = "the test measures a deadline of the operator")]
fn now() -> Instant {
    Instant::now()
}

/// Creates a webhook; returns the time from `since` until it is reconciled, and prints it for `--no-capture`.
#[allow(clippy::print_stdout, reason = "a figure for goal P10")]
async fn until_reconciled(harness: &mut Harness, name: &str, since: Instant) -> Duration {
    let _node = harness.webhook(name, |_| {}).await;
    until("the new webhook has its finalizer", async || {
        !harness.get(name).await.metadata.finalizers.unwrap_or_default().is_empty()
    })
    .await;
    let took = since.elapsed();
    println!("next reconcile after {took:?}");
    took
}

#[tokio::test]
async fn a_killed_leader_is_replaced() {
    scenario(async |harness| {
        let mut standby = two(harness).await;
        let _node = harness.settled("links").await;
        assert_eq!(standby.reconciles("LinktreeWebhook").await, 0, "the standby reconciled a webhook");
        let since = now();
        harness.operator.kill();
        let took = until_reconciled(harness, "more", since).await;
        assert!(took <= BUSY * Duration::from_secs(16), "{took:?}");
        std::mem::swap(&mut harness.operator, &mut standby);
        harness.until_condition("links", "Ready", "True", "Available").await;
        assert_eq!(harness.subscriptions().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_exits_cleanly_is_replaced_at_once() {
    scenario(async |harness| {
        let mut standby = two(harness).await;
        let _node = harness.settled("links").await;
        let since = now();
        // Created after the leader has exited, which would reconcile it otherwise.
        assert!(harness.operator.terminate().await.success());
        let took = until_reconciled(harness, "more", since).await;
        assert!(took <= BUSY * Duration::from_secs(2), "{took:?}");
        std::mem::swap(&mut harness.operator, &mut standby);
        until("the standby leads", async || leads(&harness.operator).await).await;
    })
    .await;
}

#[tokio::test]
async fn a_deleted_lease_is_recreated_by_its_leader() {
    scenario(async |harness| {
        let standby = two(harness).await;
        let before = holder(harness).await.unwrap();
        harness.api::<Lease>().delete(LEASE, &DeleteParams::default()).await.unwrap();
        let after = until_some("the lease has a holder again", async || holder(harness).await).await;
        assert_eq!(before, after);
        assert!(leads(&harness.operator).await && !leads(&standby).await);
    })
    .await;
}

/// The leader is frozen during a registration and continues after the standby took over: it neither retries nor
/// proceeds.
#[tokio::test]
async fn a_frozen_leader_writes_nothing_when_it_continues_and_exits() {
    scenario(async |harness| {
        let mut standby = two(harness).await;
        harness.connect(|_| {}).await;
        let mut node = harness.webhook("links", |_| {}).await;
        harness.fault(json!({"kind": "delay", "milliseconds": 1500, "method": "POST", "times": 1})).await;
        node.start().await;
        until("Linktree has the subscription", async || harness.subscriptions().await.len() == 1).await;
        harness.operator.signal(Signal::SIGSTOP);
        let frozen = holder(harness).await.unwrap();
        until("another operator holds the lease", async || {
            holder(harness).await.is_some_and(|holder| holder != frozen)
        })
        .await;
        harness.until_condition("links", "Registered", "True", "Adopted").await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        let calls = harness.last_call().await;

        harness.operator.signal(Signal::SIGCONT);
        assert_eq!(harness.operator.exited().await.code(), Some(1));
        let writes: Vec<_> = harness.calls_since(calls).await.into_iter().filter(|it| !it.starts_with("GET")).collect();
        assert_eq!(writes, Vec::<String>::new());
        assert_eq!(harness.subscriptions().await.len(), 1);
        std::mem::swap(&mut harness.operator, &mut standby);
        harness.api::<LinktreeWebhook>().delete("links", &DeleteParams::default()).await.unwrap();
        until("the subscription is gone", async || harness.subscriptions().await.is_empty()).await;
    })
    .await;
}
