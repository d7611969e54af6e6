//! The whole life of a subscription, told once: the demo prints it, and a test runs it. A step is a function that fails
//! when the cluster does not show what it should. Between steps Linktree is asked whether there is exactly one
//! subscription for the webhook: never two, whatever happened.

use std::{ops::RangeInclusive, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    call::{Call, kubectl},
    edge::Edge,
    narrator::Narrator,
    simulator::Simulator,
    sink::Sink,
};

pub mod begin;
mod deliveries;
mod end;
mod outages;
mod rotation;
mod unreachable;

/// The namespace of the examples.
pub const NAMESPACE: &str = "marketing";
/// The host of the URL that is registered at Linktree where there is no edge.
const RECEIVER: &str = "links-to-cms-receiver.marketing.svc";

/// What the steps hand on to each other.
#[derive(Debug)]
pub struct Story {
    pub narrator: Narrator,
    pub simulator: Simulator,
    pub sink: Sink,
    /// Flags of `helm install` besides the chart's name and place.
    pub install_flags: String,
    /// What deliveries come in through, over HTTPS; none in a cluster that is not ours.
    edge: Option<Edge>,
    /// The id of a link on the Linktree page.
    link: String,
    /// The ids of all events that Linktree told the receiver of, which the sink must have at the end.
    sent: Vec<String>,
    /// Keeps the nodes from taking pods.
    cordon: Option<unreachable::Cordon>,
}

/// A part of the story.
struct Step {
    name: &'static str,
    act: fn(&mut Story) -> Result<()>,
    /// How many subscriptions for the webhook there may be at Linktree afterwards.
    subscriptions: RangeInclusive<usize>,
}

const STEPS: [Step; 12] = [
    Step { name: "Helm installs the operator", act: begin::install_the_operator, subscriptions: 0..=0 },
    Step { name: "A token, a connection, a sink and a webhook are applied", act: begin::apply, subscriptions: 0..=1 },
    Step { name: "The webhook becomes ready", act: begin::become_ready, subscriptions: 1..=1 },
    Step {
        name: "Things change on Linktree, and the sink hears of them",
        act: deliveries::arrive,
        subscriptions: 1..=1,
    },
    Step { name: "Forged, stale and repeated deliveries", act: deliveries::are_refused, subscriptions: 1..=1 },
    Step {
        name: "The sink dies and comes back, and has lost nothing",
        act: outages::of_the_sink,
        subscriptions: 1..=1,
    },
    Step { name: "The operator's pod is killed", act: outages::of_the_operator, subscriptions: 1..=1 },
    Step { name: "The receiver cannot be reached for 72 hours", act: unreachable::for_72_hours, subscriptions: 1..=1 },
    Step {
        name: "It is reachable again, and the operator mends the rest",
        act: unreachable::no_more,
        subscriptions: 1..=1,
    },
    Step {
        name: "The signing secret is rotated in the dashboard",
        act: rotation::in_the_dashboard,
        subscriptions: 1..=1,
    },
    Step {
        name: "What is wrong is refused, with what to write instead",
        act: end::broken_is_refused,
        subscriptions: 1..=1,
    },
    Step { name: "The webhook is deleted", act: end::delete, subscriptions: 0..=0 },
];

impl Story {
    /// A story that has not begun.
    ///
    /// # Errors
    /// When there can be no connection to the simulator.
    pub fn new(narrator: Narrator, install_flags: &str) -> Result<Self> {
        Ok(Story {
            narrator,
            simulator: Simulator::new()?,
            sink: Sink::new(NAMESPACE, "event-sink"),
            install_flags: install_flags.to_owned(),
            edge: None,
            link: String::new(),
            sent: Vec::new(),
            cordon: None,
        })
    }

    /// Tells all of it.
    ///
    /// # Errors
    /// The step that did not go as it should, and why.
    pub fn tell(&mut self) -> Result<()> {
        for (index, step) in STEPS.iter().enumerate() {
            self.narrator.heading(index + 1, STEPS.len(), step.name);
            let began = Instant::now();
            (step.act)(self).with_context(|| format!("step {}, \"{}\"", index + 1, step.name))?;
            let there = self.subscriptions().with_context(|| format!("after step {}", index + 1))?;
            ensure!(
                step.subscriptions.contains(&there),
                "after step {}, \"{}\", Linktree has {there} subscriptions for the webhook",
                index + 1,
                step.name,
            );
            self.narrator.done(began.elapsed(), &format!("subscriptions for the webhook at Linktree: {there}"));
        }
        Ok(())
    }

    /// How many subscriptions Linktree has for the webhook, whatever their path.
    fn subscriptions(&mut self) -> Result<usize> {
        let host = self.edge.as_ref().map_or(RECEIVER, |edge| &edge.host);
        let state = self.simulator.state()?;
        Ok(state.subscriptions.iter().filter(|subscription| subscription.url.contains(host)).count())
    }

    /// Linktree's id of the webhook's subscription, as the status has it.
    fn subscription_id(&self) -> Result<String> {
        marketing("get ltw links-to-cms --output=jsonpath={.status.subscription.id}").output()
    }

    fn show(&self, call: &Call) -> Result<String> {
        self.narrator.show(call)
    }

    /// Shows conditions of the webhook: type, status, reason, message.
    fn show_conditions(&self, types: &[&str]) -> Result<()> {
        let rows: String = types
            .iter()
            .map(|name| {
                let field = |field: &str| format!("{{.status.conditions[?(@.type==\"{name}\")].{field}}}");
                format!("{name}={} {}: {}{{\"\\n\"}}", field("status"), field("reason"), field("message"))
            })
            .collect();
        let output = marketing("get ltw links-to-cms").and(format!("--output=jsonpath={rows}")).output()?;
        self.narrator.say("conditions of ltw/links-to-cms:");
        self.narrator.lines(output.lines());
        Ok(())
    }
}

/// kubectl in the namespace of the examples.
fn marketing(words: &str) -> Call {
    kubectl(&format!("--namespace={NAMESPACE} {words}"))
}

/// Waits until a condition of the webhook has this reason.
fn wait_for_reason(condition: &str, reason: &str, seconds: u64) -> Result<()> {
    let path = format!("--for=jsonpath={{.status.conditions[?(@.type==\"{condition}\")].reason}}={reason}");
    marketing(&format!("wait ltw/links-to-cms --timeout={seconds}s")).and(path).output().map(drop)
}
