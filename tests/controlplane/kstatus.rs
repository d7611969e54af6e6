//! The status as generic tools compute it (kstatus), and the published Events.

use std::{
    io::{Seek, Write},
    process::{Command, Stdio},
};

use linktree_operator::api::webhook::LinktreeWebhook;
use serde_json::{Value, json};

use crate::harness::scenario;

/// Panics unless the kstatus library, which Flux and Helm use, computes the intended status of each object.
pub fn assert_computes_intended(objects: &[Value]) {
    let mut lines = tempfile::tempfile().unwrap();
    objects.iter().for_each(|object| writeln!(lines, "{object}").unwrap());
    lines.rewind().unwrap();
    let output = Command::new("kstatus").stdin(Stdio::from(lines)).output();
    let output = output.expect("kstatus is not on PATH: run `make test-controlplane`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.lines().count(), objects.len());
    for (line, object) in printed.lines().zip(objects) {
        let status = line.split(' ').next().unwrap();
        assert_eq!(status, intended(object), "{line}\n{object:#}");
    }
}

fn intended(object: &Value) -> &'static str {
    let (metadata, status) = (&object["metadata"], &object["status"]);
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is = |of: &str| conditions.iter().any(|it| it["type"] == of && it["status"] == "True");
    if !metadata["deletionTimestamp"].is_null() {
        return "Terminating";
    }
    if status["observedGeneration"] != metadata["generation"] {
        return "InProgress";
    }
    match (is("Stalled"), is("Reconciling"), is("Ready")) {
        (true, false, _) => "Failed",
        (false, true, _) => "InProgress",
        (false, false, true) => "Current",
        // It waits for the user, and nothing failed.
        (false, false, false) if object["spec"]["pause"] == "Reconciliation" => "InProgress",
        (true, true, _) | (false, false, false) => panic!("the conditions are ambiguous: {object:#}"),
    }
}

#[tokio::test]
async fn a_new_object_is_not_current() {
    scenario(async |harness| {
        harness.operator.kill();
        let _node = harness.webhook("links", |_| {}).await;
        harness.connect(|_| {}).await;
        assert_eq!(harness.status("links").await.observed_generation, Some(-1));
        assert_eq!(harness.connection().await.status.unwrap().observed_generation, Some(-1));
        harness.restart_operator();
        harness.until_condition("links", "Reconciling", "True", "Progressing").await;
        let seen = harness.get("links").await;
        assert_eq!(seen.status.unwrap().observed_generation, seen.metadata.generation);
    })
    .await;
}

#[tokio::test]
async fn the_observed_generation_follows_the_spec_and_a_change_is_reported_once() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let settled = harness.status("links").await;
        assert!(!settled.conditions.iter().any(|it| it.type_ == "Reconciling" || it.type_ == "Stalled"), "{settled:?}");
        harness.change::<LinktreeWebhook>("links", json!({"spec": {"events": ["link.deleted"]}})).await;
        crate::wait::until("the change is in sync", async || {
            let webhook = harness.get("links").await;
            let status = webhook.status.unwrap();
            status.observed_generation == webhook.metadata.generation
                && status.conditions.iter().any(|it| it.type_ == "UpToDate" && it.status == "True")
        })
        .await;
        harness.trigger_reconciles("links", 5).await;
        harness.until_events(&["SubscriptionCreated", "DriftCorrected"]).await;
    })
    .await;
}
