//! The life cycle of a subscription as a sequence of steps, which the demo and a test run. A step fails if the cluster
//! does not reach the expected state. After each step Linktree must have the expected number of subscriptions for the
//! webhook, never more than one.

use std::{ops::RangeInclusive, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    call::{Call, kubectl},
    edge::Edge,
    simulator::Simulator,
    sink::Sink,
    transcript::Transcript,
};

mod deletion;
mod deliveries;
pub mod install;
mod outages;
mod rotation;
mod unreachable;
mod validation;

/// The namespace of the examples.
pub const NAMESPACE: &str = "marketing";
/// The host of the registered URL without an edge.
const RECEIVER: &str = "links-to-cms-receiver.marketing.svc";

/// The state that steps share.
#[derive(Debug)]
pub struct Scenario {
    pub transcript: Transcript,
    pub simulator: Simulator,
    pub sink: Sink,
    /// Flags of `helm install` besides the chart's name and namespace.
    pub install_flags: String,
    /// The edge that deliveries arrive through, over HTTPS; `None` in a cluster that the launcher did not start.
    edge: Option<Edge>,
    /// The id of a link on the Linktree page.
    link: String,
    /// The ids of all events that Linktree sent, which the sink must have at the end.
    sent: Vec<String>,
    /// The cordoned nodes, while the receiver is unreachable.
    cordon: Option<unreachable::Cordon>,
}

/// One step of the scenario.
struct Step {
    name: &'static str,
    run: fn(&mut Scenario) -> Result<()>,
    /// How many subscriptions for the webhook Linktree may have afterwards.
    subscriptions: RangeInclusive<usize>,
}

const STEPS: [Step; 12] = [
    Step { name: "Helm installs the operator", run: install::install_the_operator, subscriptions: 0..=0 },
    Step { name: "Apply a token, a connection, a sink and a webhook", run: install::apply, subscriptions: 0..=1 },
    Step { name: "The webhook becomes ready", run: install::become_ready, subscriptions: 1..=1 },
    Step {
        name: "Linktree sends events, and the sink receives all except one that it rejects",
        run: deliveries::arrive,
        subscriptions: 1..=1,
    },
    Step {
        name: "Forged and stale deliveries are rejected, duplicates recognized",
        run: deliveries::are_rejected,
        subscriptions: 1..=1,
    },
    Step {
        name: "The sink is down for 20 minutes of Linktree's time, and no event is lost",
        run: outages::of_the_sink,
        subscriptions: 1..=1,
    },
    Step { name: "The operator's pod is killed", run: outages::of_the_operator, subscriptions: 1..=1 },
    Step { name: "The receiver is unreachable for 72 hours", run: unreachable::for_72_hours, subscriptions: 1..=1 },
    Step {
        name: "The receiver is reachable again, and the operator enables the subscription",
        run: unreachable::reachable_again,
        subscriptions: 1..=1,
    },
    Step {
        name: "The signing secret is rotated in Linktree's dashboard",
        run: rotation::in_the_dashboard,
        subscriptions: 1..=1,
    },
    Step {
        name: "The API server rejects invalid specs and names the remedy",
        run: validation::invalid_specs_are_rejected,
        subscriptions: 1..=1,
    },
    Step { name: "The webhook is deleted", run: deletion::delete, subscriptions: 0..=0 },
];

impl Scenario {
    /// Creates a scenario before its first step.
    ///
    /// # Errors
    /// If the simulator's client cannot be created.
    pub fn new(transcript: Transcript, install_flags: &str) -> Result<Self> {
        Ok(Scenario {
            transcript,
            simulator: Simulator::new()?,
            sink: Sink::new(NAMESPACE, "event-sink"),
            install_flags: install_flags.to_owned(),
            edge: None,
            link: String::new(),
            sent: Vec::new(),
            cordon: None,
        })
    }

    /// Runs all steps.
    ///
    /// # Errors
    /// If a step fails; the error names it.
    pub fn run(&mut self) -> Result<()> {
        for (index, step) in STEPS.iter().enumerate() {
            self.transcript.heading(index + 1, STEPS.len(), step.name);
            let began = Instant::now();
            (step.run)(self).with_context(|| format!("step {}, \"{}\"", index + 1, step.name))?;
            let found = self.subscriptions().with_context(|| format!("after step {}", index + 1))?;
            ensure!(
                step.subscriptions.contains(&found),
                "after step {}, \"{}\", Linktree has {found} subscriptions for the webhook",
                index + 1,
                step.name,
            );
            self.transcript.succeeded(began.elapsed(), &format!("subscriptions for the webhook at Linktree: {found}"));
        }
        Ok(())
    }

    /// How many subscriptions at Linktree have the webhook's host, with any path.
    fn subscriptions(&mut self) -> Result<usize> {
        let host = self.edge.as_ref().map_or(RECEIVER, |edge| &edge.host);
        let state = self.simulator.state()?;
        Ok(state.subscriptions.iter().filter(|subscription| subscription.url.contains(host)).count())
    }

    /// The id of the webhook's subscription, from the status.
    fn subscription_id(&self) -> Result<String> {
        marketing("get ltw links-to-cms --output=jsonpath={.status.subscription.id}").output()
    }

    fn show(&self, call: &Call) -> Result<String> {
        self.transcript.show(call)
    }

    /// Prints conditions of the webhook: type, status, reason, message.
    fn show_conditions(&self, types: &[&str]) -> Result<()> {
        let rows: String = types
            .iter()
            .map(|name| {
                let field = |field: &str| format!("{{.status.conditions[?(@.type==\"{name}\")].{field}}}");
                format!("{name}={} {}: {}{{\"\\n\"}}", field("status"), field("reason"), field("message"))
            })
            .collect();
        let output = marketing("get ltw links-to-cms").and(format!("--output=jsonpath={rows}")).output()?;
        self.transcript.note("conditions of ltw/links-to-cms:");
        self.transcript.lines(output.lines());
        Ok(())
    }
}

/// `kubectl` in the namespace of the examples.
fn marketing(words: &str) -> Call {
    kubectl(&format!("--namespace={NAMESPACE} {words}"))
}

/// Waits until a condition of the webhook has this reason.
fn wait_for_reason(condition: &str, reason: &str, seconds: u64) -> Result<()> {
    let path = format!("--for=jsonpath={{.status.conditions[?(@.type==\"{condition}\")].reason}}={reason}");
    marketing(&format!("wait ltw/links-to-cms --timeout={seconds}s")).and(path).output().map(drop)
}
