//! Steps: the sink is away for a while, and then the operator.

use anyhow::{Result, ensure};

use super::{Story, marketing};
use crate::{call::kubectl, wait};

pub(super) fn of_the_sink(story: &mut Story) -> Result<()> {
    // What its pods printed goes with them.
    story.sink.read()?;
    story.show(&marketing("scale deployment/event-sink --replicas=0"))?;
    story.show(&marketing("wait --for=delete pod --selector=app=event-sink --timeout=60s"))?;
    let mut missed = Vec::new();
    for title in ["Shop, closed", "Shop, still closed", "Shop, open soon"] {
        missed.push(story.rename_link(title)?);
    }
    story.accepted(&missed, 30)?;
    story.show(&marketing("wait --for=condition=Delivering=False ltw/links-to-cms --timeout=60s"))?;
    story.show_conditions(&["Ready", "Delivering"])?;
    story.show(&marketing("scale deployment/event-sink --replicas=1"))?;
    story.arrived(&missed, 60)
}

pub(super) fn of_the_operator(story: &mut Story) -> Result<()> {
    let before = story.last_call()?;
    let operator = "--selector=app.kubernetes.io/name=linktree-webhook-operator";
    story.show(&kubectl(&format!("--namespace=linktree-system delete pod {operator} --grace-period=0 --force")))?;
    // Receiver and sink do not need it.
    let meanwhile = story.rename_link("Shop, unattended")?;
    story.arrived(&[meanwhile], 30)?;
    story.show(&kubectl(
        "--namespace=linktree-system rollout status deployment/linktree-webhook-operator --timeout=60s",
    ))?;
    let listed = wait::until("the new operator lists the account", 60, || {
        let calls = story.simulator.get(&format!("/calls?since={before}"))?;
        Ok(calls["calls"].as_array().into_iter().flatten().find(|call| is_list(call)).map(ToString::to_string))
    })?;
    story.narrator.say(&format!("the new operator has looked at the account: {listed}"));
    story.show(&marketing("wait --for=condition=Registered ltw/links-to-cms --timeout=60s"))?;
    let calls = story.simulator.get("/calls")?;
    let posts = calls["calls"].as_array().into_iter().flatten().filter(|call| is_registration(call)).count();
    ensure!(posts == 1, "there should have been one registration from the beginning, and there were {posts}: {calls}");
    Ok(())
}

fn is_list(call: &serde_json::Value) -> bool {
    call["method"] == "GET" && call["path"].as_str().is_some_and(|path| path.starts_with("/v1/webhooks"))
}

fn is_registration(call: &serde_json::Value) -> bool {
    call["method"] == "POST" && call["path"] == "/v1/webhooks" && call["account"] == "acc_brand"
}

impl Story {
    /// Waits until the receiver has answered 200 to these deliveries.
    pub(super) fn accepted(&mut self, ids: &[String], seconds: u64) -> Result<()> {
        let simulator = &mut self.simulator;
        wait::until("the receiver accepts the deliveries", seconds, || {
            let state = simulator.state()?;
            let accepted = |id: &&String| state.deliveries.iter().any(|it| it.id == **id && it.state == "delivered");
            Ok((ids.iter().filter(accepted).count() == ids.len()).then_some(()))
        })?;
        self.narrator.say(&format!("the receiver has answered 200 to {}", ids.join(", ")));
        Ok(())
    }

    /// The number of the last call to Linktree's API.
    fn last_call(&mut self) -> Result<u64> {
        let calls = self.simulator.get("/calls")?;
        Ok(calls["calls"].as_array().and_then(|calls| calls.last()?["number"].as_u64()).unwrap_or(0))
    }
}
