//! Steps: the receiver is unreachable until Linktree disables the subscription, then it is reachable again.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Scenario, marketing, wait_for_reason};
use crate::{
    call::{Call, kubectl},
    wait,
};

/// Linktree disables a subscription after 72 hours without a successful delivery.
const SECONDS: u64 = 72 * 3600;

/// Nodes cordoned by the scenario. Uncordoned on drop, also after a failure.
#[derive(Debug)]
pub struct Cordon(Vec<String>);

impl Cordon {
    /// Cordons every schedulable node, and prints the commands.
    fn all_nodes(scenario: &Scenario) -> Result<Self> {
        let nodes = kubectl("get nodes").json()?;
        let open = nodes["items"].as_array().into_iter().flatten().filter(|node| node["spec"]["unschedulable"] != true);
        let mut cordon = Cordon(Vec::new());
        for name in open.filter_map(|node| node["metadata"]["name"].as_str()) {
            scenario.show(&kubectl("cordon").and(name))?;
            cordon.0.push(name.to_owned());
        }
        Ok(cordon)
    }

    fn uncordon_calls(&self) -> impl Iterator<Item = Call> {
        self.0.iter().map(|name| kubectl("uncordon").and(name.clone()))
    }

    fn uncordon(mut self, scenario: &Scenario) -> Result<()> {
        self.uncordon_calls().try_for_each(|call| scenario.show(&call).map(drop))?;
        self.0.clear();
        Ok(())
    }
}

impl Drop for Cordon {
    fn drop(&mut self) {
        self.uncordon_calls().for_each(|call| println!("   $ {call}\n     {}", call.output_or_error().trim()));
    }
}

pub(super) fn for_72_hours(scenario: &mut Scenario) -> Result<()> {
    let subscription = scenario.subscription_id()?;
    scenario.cordon = Some(Cordon::all_nodes(scenario)?);
    scenario.show(&marketing("delete pod links-to-cms-receiver-0"))?;
    scenario.show(&marketing("wait --for=condition=ReceiverAvailable=False ltw/links-to-cms --timeout=60s"))?;

    let lost = scenario.rename_link("Shop, on a new street")?;
    // Linktree never delivers this event: it is the loss that the conditions below report.
    scenario.sent.retain(|id| *id != lost);
    let answer = wait::until("the delivery fails", 30, || {
        let deliveries = scenario.simulator.state()?.deliveries;
        let attempts = deliveries.into_iter().find(|it| it.id == lost).map(|it| it.attempts);
        Ok(attempts.and_then(|attempts| attempts.last().map(|attempt| attempt.answer.to_string())))
    })?;
    scenario.transcript.note(&format!("Linktree tried to deliver {lost}: {answer}"));
    wait_for_reason("DeliveryAtRisk", "DeliveriesFailing", 60)?;
    scenario.show_conditions(&["Ready", "ReceiverAvailable", "EndpointReachable", "DeliveryAtRisk"])?;

    scenario.transcript.note("Linktree's clock advances by 72 hours");
    let passed = scenario.simulator.advance(SECONDS)?;
    let steps = passed["steps"].as_array().context("the simulator's response has no steps")?;
    scenario.transcript.lines(steps.iter().map(Value::to_string).collect::<Vec<_>>().iter().map(String::as_str));
    ensure!(
        steps.iter().any(|step| step["disabled"] == subscription),
        "Linktree did not disable {subscription}: {passed}"
    );

    for it in scenario.simulator.state()?.subscriptions {
        scenario.transcript.note(&format!("Linktree: subscription {} is {}", it.id, it.status));
    }
    scenario
        .show(&marketing("wait --for=jsonpath={.status.subscription.state}=Disabled ltw/links-to-cms --timeout=60s"))?;
    wait_for_reason("DeliveryAtRisk", "SubscriptionDisabled", 30)?;
    scenario.show(&marketing("get ltw --output=wide"))?;
    scenario.show(&marketing("get ltw links-to-cms --output=jsonpath={.status.subscription}"))?;
    scenario.show_conditions(&["Ready", "SubscriptionEnabled", "DeliveryAtRisk"])
}

pub(super) fn reachable_again(scenario: &mut Scenario) -> Result<()> {
    scenario.cordon.take().context("the previous step has not cordoned the nodes")?.uncordon(scenario)?;
    scenario.show(&marketing(
        "wait --for=condition=ReceiverAvailable --for=condition=EndpointReachable ltw/links-to-cms --timeout=90s",
    ))?;
    scenario
        .show(&marketing("wait --for=jsonpath={.status.subscription.state}=Enabled ltw/links-to-cms --timeout=90s"))?;
    scenario.show(&marketing("wait --for=condition=Ready ltw/links-to-cms --timeout=30s"))?;
    let event = scenario.rename_link("Shop, found again")?;
    scenario.arrived(&[event], 30)?;
    scenario.show(&marketing("get ltw"))?;
    scenario.show_conditions(&["SubscriptionEnabled", "DeliveryAtRisk"])?;
    scenario.show(&marketing("events --for=ltw/links-to-cms"))?;
    Ok(())
}
