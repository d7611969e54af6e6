//! Steps: nothing answers at the registered URL until Linktree gives up, and what happens when it answers again.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Story, marketing, wait_for_reason};
use crate::{
    call::{Call, kubectl},
    wait,
};

/// Linktree disables a subscription after so long without a success.
const SECONDS: u64 = 72 * 3600;

/// Nodes that take no pods. They do again when this is dropped, also after a failure.
#[derive(Debug)]
pub struct Cordon(Vec<String>);

impl Cordon {
    /// Cordons every node that is not so already, and shows the commands.
    fn of_all_nodes(story: &Story) -> Result<Self> {
        let nodes = kubectl("get nodes").json()?;
        let open = nodes["items"].as_array().into_iter().flatten().filter(|node| node["spec"]["unschedulable"] != true);
        let mut cordon = Cordon(Vec::new());
        for name in open.filter_map(|node| node["metadata"]["name"].as_str()) {
            story.show(&kubectl("cordon").and(name))?;
            cordon.0.push(name.to_owned());
        }
        Ok(cordon)
    }

    fn lifting(&self) -> impl Iterator<Item = Call> {
        self.0.iter().map(|name| kubectl("uncordon").and(name.clone()))
    }

    fn lift(mut self, story: &Story) -> Result<()> {
        self.lifting().try_for_each(|call| story.show(&call).map(drop))?;
        self.0.clear();
        Ok(())
    }
}

impl Drop for Cordon {
    fn drop(&mut self) {
        self.lifting().for_each(|call| println!("   $ {call}\n     {}", call.anything().trim()));
    }
}

pub(super) fn for_72_hours(story: &mut Story) -> Result<()> {
    let subscription = story.subscription_id()?;
    story.cordon = Some(Cordon::of_all_nodes(story)?);
    story.show(&marketing("delete pod links-to-cms-receiver-0"))?;
    story.show(&marketing("wait --for=condition=ReceiverAvailable=False ltw/links-to-cms --timeout=60s"))?;

    let lost = story.rename_link("Shop, on a new street")?;
    // Linktree never delivers it: this is the loss that the conditions below announce.
    story.sent.retain(|id| *id != lost);
    let answer = wait::until("the delivery fails", 30, || {
        let deliveries = story.simulator.state()?.deliveries;
        let attempts = deliveries.into_iter().find(|it| it.id == lost).map(|it| it.attempts);
        Ok(attempts.and_then(|attempts| attempts.last().map(|attempt| attempt.answer.to_string())))
    })?;
    story.narrator.say(&format!("Linktree tried to deliver {lost}: {answer}"));
    wait_for_reason("DeliveryAtRisk", "DeliveriesFailing", 60)?;
    story.show_conditions(&["Ready", "ReceiverAvailable", "EndpointReachable", "DeliveryAtRisk"])?;

    story.narrator.say("72 hours pass at Linktree");
    let passed = story.simulator.advance(SECONDS)?;
    let steps = passed["steps"].as_array().context("the simulator tells what fell due")?;
    story.narrator.lines(steps.iter().map(Value::to_string).collect::<Vec<_>>().iter().map(String::as_str));
    ensure!(steps.iter().any(|step| step["disabled"] == subscription), "it did not disable {subscription}: {passed}");

    for there in story.simulator.state()?.subscriptions {
        story.narrator.say(&format!("Linktree: subscription {} is {}", there.id, there.status));
    }
    story
        .show(&marketing("wait --for=jsonpath={.status.subscription.state}=Disabled ltw/links-to-cms --timeout=60s"))?;
    wait_for_reason("DeliveryAtRisk", "SubscriptionDisabled", 30)?;
    story.show(&marketing("get ltw --output=wide"))?;
    story.show(&marketing("get ltw links-to-cms --output=jsonpath={.status.subscription}"))?;
    story.show_conditions(&["Ready", "SubscriptionEnabled", "DeliveryAtRisk"])
}

pub(super) fn no_more(story: &mut Story) -> Result<()> {
    story.cordon.take().context("the nodes were cordoned by the step before")?.lift(story)?;
    story.show(&marketing(
        "wait --for=condition=ReceiverAvailable --for=condition=EndpointReachable ltw/links-to-cms --timeout=90s",
    ))?;
    story
        .show(&marketing("wait --for=jsonpath={.status.subscription.state}=Enabled ltw/links-to-cms --timeout=90s"))?;
    story.show(&marketing("wait --for=condition=Ready ltw/links-to-cms --timeout=30s"))?;
    let welcome = story.rename_link("Shop, found again")?;
    story.arrived(&[welcome], 30)?;
    story.show(&marketing("get ltw"))?;
    story.show_conditions(&["SubscriptionEnabled", "DeliveryAtRisk"])?;
    story.show(&marketing("events --for=ltw/links-to-cms"))?;
    Ok(())
}
