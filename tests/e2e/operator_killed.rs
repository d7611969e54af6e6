//! The operator is killed repeatedly during registration: Linktree never has two subscriptions, and one at the end.

use std::{thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{call::kubectl, harness::Harness, wait};

const KILLS: usize = 5;
/// The time from the start of the container within which an undisturbed operator has listed and registered.
const REGISTRATION_MS: u64 = 2_000;

pub fn check(harness: &mut Harness) -> Result<()> {
    for kill in 1..=KILLS {
        // Deleted out of band: the next operator lists at once, detects it, and registers.
        for subscription in harness.subscriptions()? {
            harness.simulator.delete(&format!("/subscriptions/{}", subscription.id))?;
        }
        // Every second registration takes effect, but its response is lost.
        if kill % 2 == 0 {
            let lost = json!({"kind": "drop-after", "method": "POST", "path": "/v1/webhooks", "times": 1});
            harness.simulator.post("/faults/api", &lost)?;
        }
        kill_operator(harness)?;
        let after = rand::random_range(0..REGISTRATION_MS);
        harness.transcript.note(&format!("kill {kill} of {KILLS}: {after} ms after the operator's start"));
        sleep(Duration::from_millis(after));
        kill_operator(harness)?;
        // Starts another minute at Linktree, so that its rate limit does not interfere.
        harness.simulator.advance(60)?;
        ensure!(
            harness.subscriptions()?.len() <= 1,
            "after kill {kill} Linktree has more than one subscription: {:?}",
            harness.subscriptions()?
        );
    }
    harness.simulator.delete("/faults/api")?;
    let id = wait::until("the status has the id of the only subscription", 120, || {
        let there = harness.subscriptions()?;
        ensure!(there.len() <= 1, "Linktree has more than one subscription: {there:?}");
        let known = harness.kubectl("get ltw links-to-cms --output=jsonpath={.status.subscription.id}").output()?;
        Ok(there.first().filter(|subscription| subscription.id == known && subscription.status == "active").cloned())
    })?;
    let calls = harness.simulator.get("/calls")?;
    let calls = calls["calls"].as_array().into_iter().flatten().filter(|call| call["account"] == "acc_operator-killed");
    let registrations = calls.filter(|call| call["method"] == "POST").count();
    harness.transcript.note(&format!("after {KILLS} kills and {registrations} registrations: {id:?}"));
    ensure!(registrations > 1, "only the first operator registered a subscription");
    harness.become_ready()?;
    let event = harness.new_link("Still here")?;
    harness.sink.wait_for(&[event], 30).map(drop)
}

/// Kills the operator's pod, and waits until the container of the next one runs.
fn kill_operator(harness: &Harness) -> Result<()> {
    let operator = "--selector=app.kubernetes.io/name=linktree-webhook-operator";
    let pods = format!("--namespace=linktree-system get pods {operator} --output=jsonpath={{.items[*].metadata.name}}");
    let before = kubectl(&pods).output()?;
    kubectl(&format!("--namespace=linktree-system delete pod {operator} --grace-period=0 --force")).output()?;
    wait::until("a new operator runs", 60, || {
        let pods = kubectl(&format!("--namespace=linktree-system get pods {operator}")).json()?;
        let running = |pod: &&serde_json::Value| {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            !before.contains(name) && pod["status"]["containerStatuses"][0]["state"]["running"].is_object()
        };
        Ok(pods["items"].as_array().into_iter().flatten().find(running).map(|_| ()))
    })?;
    harness.transcript.note("a new operator runs");
    Ok(())
}
