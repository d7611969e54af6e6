//! The harness of one test: its own namespace with the quickstart's objects, and the Linktree account `acc_NAME`.

use std::fs::read_to_string;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    call::{Call, ROOT, kubectl},
    scenario::install::RESTRICTED,
    simulator::{Simulator, Subscription},
    sink::Sink,
    transcript::Transcript,
};

/// One namespace. Deleted on drop.
#[derive(Debug)]
pub struct Harness {
    pub name: String,
    pub transcript: Transcript,
    pub simulator: Simulator,
    pub sink: Sink,
}

impl Harness {
    /// Applies the quickstart, with `more` appended to the webhook's spec.
    ///
    /// # Errors
    /// If the API server rejects it.
    pub fn new(transcript: Transcript, name: &str, more: &str) -> Result<Self> {
        let sink = Sink::new(name, "event-sink");
        let harness = Harness { name: name.to_owned(), transcript, simulator: Simulator::new()?, sink };
        harness.apply(&harness.example("1-token")?)?;
        transcript.show(&kubectl(&format!("label namespace {name} {RESTRICTED}")))?;
        for file in ["2-connection", "3-sink"] {
            harness.apply(&harness.example(file)?)?;
        }
        harness.apply(&(harness.example("4-webhook")? + more))?;
        Ok(harness)
    }

    /// A file of the quickstart, adapted to this namespace and account.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn example(&self, file: &str) -> Result<String> {
        Ok(self.for_namespace(&read_to_string(format!("{ROOT}/examples/quickstart/{file}.yaml"))?))
    }

    /// A manifest of the quickstart, adapted to this namespace and account.
    pub fn for_namespace(&self, manifest: &str) -> String {
        manifest.replace("marketing", &self.name).replace("lt_test_brand", &format!("lt_test_{}", self.name))
    }

    /// Applies a manifest.
    ///
    /// # Errors
    /// If the API server rejects it.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.transcript.show(&kubectl("apply --filename -").input(manifest)).map(drop)
    }

    /// kubectl in this namespace.
    pub fn kubectl(&self, words: &str) -> Call {
        kubectl(&format!("--namespace={} {words}", self.name))
    }

    /// Waits until the webhook and the sink are ready.
    ///
    /// # Errors
    /// If one is not ready in time.
    pub fn become_ready(&mut self) -> Result<()> {
        self.transcript.show(&self.kubectl("wait --for=condition=Ready ltw/links-to-cms --timeout=120s"))?;
        self.transcript.show(&self.kubectl("rollout status deployment/event-sink --timeout=60s")).map(drop)
    }

    /// Linktree's subscriptions whose URL has the webhook's host, with any path.
    ///
    /// # Errors
    /// If the simulator is unreachable.
    pub fn subscriptions(&mut self) -> Result<Vec<Subscription>> {
        let host = format!("links-to-cms-receiver.{}.svc", self.name);
        let all = self.simulator.state()?.subscriptions;
        Ok(all.into_iter().filter(|subscription| subscription.url.contains(&host)).collect())
    }

    /// Creates a link on the account's Linktree page; returns the delivery's id.
    ///
    /// # Errors
    /// If it causes no delivery.
    pub fn new_link(&mut self, title: &str) -> Result<String> {
        let account = format!("acc_{}", self.name);
        let link = serde_json::json!({"account": account, "title": title, "url": "https://shop.example/"});
        let answer = self.simulator.post("/links", &link)?;
        let id =
            answer["deliveries"][0].as_str().with_context(|| format!("the new link caused no delivery: {answer}"))?;
        Ok(id.to_owned())
    }

    /// Waits until a condition of the webhook has this reason.
    ///
    /// # Errors
    /// If it has another one at the deadline.
    pub fn wait_for_reason(&self, condition: &str, reason: &str, seconds: u64) -> Result<()> {
        let path = format!("--for=jsonpath={{.status.conditions[?(@.type==\"{condition}\")].reason}}={reason}");
        let wait = self.kubectl(&format!("wait ltw/links-to-cms --timeout={seconds}s")).and(path);
        self.transcript.show(&wait).map(drop)
    }

    /// A field of the webhook, by its JSON path.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn field(&self, path: &str) -> Result<String> {
        self.kubectl("get ltw links-to-cms").and(format!("--output=jsonpath={{{path}}}")).output()
    }

    /// The receiver's pod.
    ///
    /// # Errors
    /// If there is none.
    pub fn receiver(&self) -> Result<Value> {
        self.kubectl("get pod links-to-cms-receiver-0").json()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        // The webhook first, whose finalizer needs the connection and its token.
        for words in ["delete ltw --all --timeout=60s", "delete namespace --wait=false"] {
            let call = self.kubectl(words);
            let call = if words.contains("namespace") { call.and(self.name.clone()) } else { call };
            println!("   $ {call}\n     {}", call.output_or_error().trim());
        }
    }
}
