//! Steps: an outage of the sink, then of the operator.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::{Scenario, marketing, wait_for_reason};
use crate::{call::kubectl, wait};

/// The changes on Linktree while the sink is down, and the time that passes at Linktree after each: 20 minutes in all.
const TITLES: [&str; 4] = ["Shop, closed", "Shop, still closed", "Shop, at lunch", "Shop, open soon"];
const SECONDS_AFTER_EACH: u64 = 300;

pub(super) fn of_the_sink(scenario: &mut Scenario) -> Result<()> {
    // The log is lost with the pods.
    scenario.sink.read()?;
    scenario.show(&marketing("scale deployment/event-sink --replicas=0"))?;
    scenario.show(&marketing("wait --for=delete pod --selector=app=event-sink --timeout=60s"))?;
    let began = Instant::now();
    let mut missed = Vec::new();
    for title in TITLES {
        missed.push(scenario.rename_link(title)?);
        scenario.simulator.advance(SECONDS_AFTER_EACH)?;
    }
    scenario.accepted(&missed, 30)?;
    wait_for_reason("Delivering", "SinkHeld", 60)?;
    scenario.show_conditions(&["Ready", "Delivering"])?;
    scenario.show(&marketing("get ltw links-to-cms --output=jsonpath={.status.sinks[0]}"))?;
    scenario.show(&marketing("scale deployment/event-sink --replicas=1"))?;
    let minutes = TITLES.len() as u64 * SECONDS_AFTER_EACH / 60;
    scenario.transcript.note(&format!(
        "the sink was down for {minutes} minutes of Linktree's time, and for {} s of the receiver's, which is real",
        began.elapsed().as_secs()
    ));
    // A held sink gets a probe at the latest a minute after the last one.
    scenario.arrived(&missed, 120)?;
    wait_for_reason("Delivering", "DeadLetters", 60)?;
    let dead = marketing("get ltw links-to-cms --output=jsonpath={.status.sinks[0].deadLettered}").output()?;
    ensure!(dead == "1", "only the event that the sink rejects may be a dead letter, found {dead}");
    Ok(())
}

pub(super) fn of_the_operator(scenario: &mut Scenario) -> Result<()> {
    let before = scenario.last_call()?;
    let operator = "--selector=app.kubernetes.io/name=linktree-webhook-operator";
    scenario.show(&kubectl(&format!("--namespace=linktree-system delete pod {operator} --grace-period=0 --force")))?;
    // Receiver and sink work without the operator.
    let meanwhile = scenario.rename_link("Shop, unattended")?;
    scenario.arrived(&[meanwhile], 30)?;
    scenario.show(&kubectl(
        "--namespace=linktree-system rollout status deployment/linktree-webhook-operator --timeout=60s",
    ))?;
    let listed = wait::until("the new operator lists the account", 60, || {
        let calls = scenario.simulator.get(&format!("/calls?since={before}"))?;
        Ok(calls["calls"].as_array().into_iter().flatten().find(|call| is_list(call)).map(ToString::to_string))
    })?;
    scenario.transcript.note(&format!("the new operator has listed the account: {listed}"));
    scenario.show(&marketing("wait --for=condition=Registered ltw/links-to-cms --timeout=60s"))?;
    let calls = scenario.simulator.get("/calls")?;
    let posts = calls["calls"].as_array().into_iter().flatten().filter(|call| is_registration(call)).count();
    ensure!(posts == 1, "expected one registration in total, found {posts}: {calls}");
    Ok(())
}

fn is_list(call: &serde_json::Value) -> bool {
    call["method"] == "GET" && call["path"].as_str().is_some_and(|path| path.starts_with("/v1/webhooks"))
}

fn is_registration(call: &serde_json::Value) -> bool {
    call["method"] == "POST" && call["path"] == "/v1/webhooks" && call["account"] == "acc_brand"
}

impl Scenario {
    /// Waits until the receiver has answered 200 to these deliveries.
    pub(super) fn accepted(&mut self, ids: &[String], seconds: u64) -> Result<()> {
        let simulator = &mut self.simulator;
        wait::until("the receiver accepts the deliveries", seconds, || {
            let state = simulator.state()?;
            let accepted = |id: &&String| state.deliveries.iter().any(|it| it.id == **id && it.state == "delivered");
            Ok((ids.iter().filter(accepted).count() == ids.len()).then_some(()))
        })?;
        self.transcript.note(&format!("the receiver has answered 200 to {}", ids.join(", ")));
        Ok(())
    }

    /// The number of the latest call to Linktree's API.
    fn last_call(&mut self) -> Result<u64> {
        let calls = self.simulator.get("/calls")?;
        Ok(calls["calls"].as_array().and_then(|calls| calls.last()?["number"].as_u64()).unwrap_or(0))
    }
}
