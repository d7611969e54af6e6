//! The operator dies while it registers, again and again: Linktree has one subscription at the end, and never two.

use std::{thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{call::kubectl, place::Place, wait};

const KILLS: usize = 5;
/// From when the new operator's container runs it has listed and registered within this time, if it is let.
const REGISTRATION_MS: u64 = 2_000;

pub fn check(place: &mut Place) -> Result<()> {
    for kill in 1..=KILLS {
        // Gone behind the operator's back; the next operator lists at once, sees that, and registers.
        for subscription in place.subscriptions()? {
            place.simulator.delete(&format!("/subscriptions/{}", subscription.id))?;
        }
        // Every second time the registration takes effect, and the operator does not get to see the answer.
        if kill % 2 == 0 {
            let lost = json!({"kind": "drop-after", "method": "POST", "path": "/v1/webhooks", "times": 1});
            place.simulator.post("/faults/api", &lost)?;
        }
        kill_the_operator(place)?;
        let after = rand::random_range(0..REGISTRATION_MS);
        place.narrator.say(&format!("kill {kill} of {KILLS}: {after} ms after the operator's start"));
        sleep(Duration::from_millis(after));
        kill_the_operator(place)?;
        // Linktree's minute is over, so that its rate limit is not what is tested.
        place.simulator.advance(60)?;
        ensure!(place.subscriptions()?.len() <= 1, "after kill {kill} there are {:?}", place.subscriptions()?);
    }
    place.simulator.delete("/faults/api")?;
    let id = wait::until("the operator knows the one subscription", 120, || {
        let there = place.subscriptions()?;
        ensure!(there.len() <= 1, "there should never be two: {there:?}");
        let known = place.kubectl("get ltw links-to-cms --output=jsonpath={.status.subscription.id}").output()?;
        Ok(there.first().filter(|subscription| subscription.id == known && subscription.status == "active").cloned())
    })?;
    let calls = place.simulator.get("/calls")?;
    let calls = calls["calls"].as_array().into_iter().flatten().filter(|call| call["account"] == "acc_killed");
    let registrations = calls.filter(|call| call["method"] == "POST").count();
    place.narrator.say(&format!("after {KILLS} kills and {registrations} registrations: {id:?}"));
    ensure!(registrations > 1, "no operator but the first had anything to register");
    place.become_ready()?;
    let event = place.new_link("Still here")?;
    place.sink.wait_for(&[event], 30).map(drop)
}

/// Kills it, and waits until its successor's container runs.
fn kill_the_operator(place: &Place) -> Result<()> {
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
    place.narrator.say("a new operator runs");
    Ok(())
}
