//! A namespace of a test's own with the quickstart's objects in it, and the Linktree account `acc_NAME`.

use std::fs::read_to_string;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    call::{Call, ROOT, kubectl},
    narrator::Narrator,
    simulator::{Simulator, Subscription},
    sink::Sink,
    story::begin::RESTRICTED,
};

#[derive(Debug)]
pub struct Place {
    pub name: String,
    pub narrator: Narrator,
    pub simulator: Simulator,
    pub sink: Sink,
}

impl Place {
    /// Applies the quickstart there, its webhook with `more` at the end of its spec.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub fn new(narrator: Narrator, name: &str, more: &str) -> Result<Self> {
        let sink = Sink::new(name, "event-sink");
        let place = Place { name: name.to_owned(), narrator, simulator: Simulator::new()?, sink };
        place.apply(&place.example("1-token")?)?;
        narrator.show(&kubectl(&format!("label namespace {name} {RESTRICTED}")))?;
        for file in ["2-connection", "3-sink"] {
            place.apply(&place.example(file)?)?;
        }
        place.apply(&(place.example("4-webhook")? + more))?;
        Ok(place)
    }

    /// A file of the quickstart, as it is for this namespace and account.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn example(&self, file: &str) -> Result<String> {
        Ok(self.of_this_place(&read_to_string(format!("{ROOT}/examples/quickstart/{file}.yaml"))?))
    }

    /// A manifest of the quickstart, as it is for this namespace and account.
    pub fn of_this_place(&self, manifest: &str) -> String {
        manifest.replace("marketing", &self.name).replace("lt_test_brand", &format!("lt_test_{}", self.name))
    }

    /// # Errors
    /// When the API server does not take it.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.narrator.show(&kubectl("apply --filename -").input(manifest)).map(drop)
    }

    /// kubectl in this namespace.
    pub fn kubectl(&self, words: &str) -> Call {
        kubectl(&format!("--namespace={} {words}", self.name))
    }

    /// # Errors
    /// When it does not become ready in time.
    pub fn become_ready(&mut self) -> Result<()> {
        self.narrator.show(&self.kubectl("wait --for=condition=Ready ltw/links-to-cms --timeout=120s"))?;
        self.narrator.show(&self.kubectl("rollout status deployment/event-sink --timeout=60s")).map(drop)
    }

    /// Linktree's subscriptions for the webhook of this namespace, whatever their path.
    ///
    /// # Errors
    /// When the simulator cannot be asked.
    pub fn subscriptions(&mut self) -> Result<Vec<Subscription>> {
        let host = format!("links-to-cms-receiver.{}.svc", self.name);
        let all = self.simulator.state()?.subscriptions;
        Ok(all.into_iter().filter(|subscription| subscription.url.contains(&host)).collect())
    }

    /// A new link on the account's Linktree page; returns the delivery's id.
    ///
    /// # Errors
    /// When Linktree delivers it to nobody.
    pub fn new_link(&mut self, title: &str) -> Result<String> {
        let account = format!("acc_{}", self.name);
        let link = serde_json::json!({"account": account, "title": title, "url": "https://shop.example/"});
        let answer = self.simulator.post("/links", &link)?;
        let id = answer["deliveries"][0].as_str().with_context(|| format!("nobody is told of it: {answer}"))?;
        Ok(id.to_owned())
    }

    /// Waits until a condition of the webhook has this reason.
    ///
    /// # Errors
    /// When it has another one at the deadline.
    pub fn wait_for_reason(&self, condition: &str, reason: &str, seconds: u64) -> Result<()> {
        let path = format!("--for=jsonpath={{.status.conditions[?(@.type==\"{condition}\")].reason}}={reason}");
        let wait = self.kubectl(&format!("wait ltw/links-to-cms --timeout={seconds}s")).and(path);
        self.narrator.show(&wait).map(drop)
    }

    /// A field of the webhook, by its JSON path.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn field(&self, path: &str) -> Result<String> {
        self.kubectl("get ltw links-to-cms").and(format!("--output=jsonpath={{{path}}}")).output()
    }

    /// The receiver's pod.
    ///
    /// # Errors
    /// When there is none.
    pub fn receiver(&self) -> Result<Value> {
        self.kubectl("get pod links-to-cms-receiver-0").json()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // First the webhook, whose finalizer needs the connection and its token.
        for words in ["delete ltw --all --timeout=60s", "delete namespace --wait=false"] {
            let call = self.kubectl(words);
            let call = if words.contains("namespace") { call.and(self.name.clone()) } else { call };
            println!("   $ {call}\n     {}", call.anything().trim());
        }
    }
}
