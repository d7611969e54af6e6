//! Steps: events arrive and are counted, beside one that the sink rejects; forged and stale deliveries are rejected,
//! duplicates recognized.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Scenario, marketing, wait_for_reason};

impl Scenario {
    /// Changes something on Linktree, which must cause one delivery. Returns the simulator's response.
    pub(super) fn change(&mut self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let answer = match method {
            "POST" => self.simulator.post(path, body),
            "PATCH" => self.simulator.patch(path, body),
            _ => self.simulator.delete(path),
        }?;
        let ids: Vec<_> = answer["deliveries"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let event = answer["type"].as_str().unwrap_or("no event");
        self.transcript.note(&format!("Linktree: {method} {path} {body} causes {event}, delivery {}", ids.join(", ")));
        ensure!(ids.len() == 1, "expected one delivery to one subscription: {answer}");
        self.sent.extend(ids.iter().map(|id| (*id).to_owned()));
        Ok(answer)
    }

    /// Changes the link's title; returns the delivery's id.
    pub(super) fn rename_link(&mut self, title: &str) -> Result<String> {
        let path = format!("/links/{}", self.link);
        self.change("PATCH", &path, &json!({ "title": title }))?;
        self.sent.last().cloned().context("no delivery was recorded")
    }

    /// Causes an event that the sink never accepts; returns the delivery's id.
    fn rejected_event(&mut self) -> Result<String> {
        let link = json!({"link_id": self.link, "title": "", "url": "https://shop.example/"});
        self.change("POST", "/events", &json!({"type": "link.updated", "data": link}))?;
        self.sent.pop().context("no delivery was recorded")
    }

    /// Waits until the sink has logged these events, and prints the lines.
    pub(super) fn arrived(&mut self, ids: &[String], seconds: u64) -> Result<()> {
        let lines = self.sink.wait_for(ids, seconds)?;
        self.transcript.note("$ kubectl --namespace=marketing logs deployment/event-sink");
        self.transcript.lines(lines.iter().map(String::as_str));
        Ok(())
    }
}

pub(super) fn arrive(scenario: &mut Scenario) -> Result<()> {
    let created = scenario.change("POST", "/links", &json!({"title": "Shop", "url": "https://shop.example/"}))?;
    scenario.link = created["data"]["link_id"].as_str().context("the response has no link_id")?.to_owned();
    scenario.rename_link("Our shop")?;
    let rejected = scenario.rejected_event()?;
    scenario.change("PATCH", "/profile", &json!({"bio": "Now with a shop"}))?;
    let milestone = json!({"link_id": scenario.link, "metric": "clicks", "value": 1001, "threshold": 1000});
    scenario.change("POST", "/milestones", &milestone)?;
    let gone = scenario.change("POST", "/links", &json!({"title": "Old", "url": "https://old.example/"}))?;
    let gone = gone["data"]["link_id"].as_str().context("the response has no link_id")?;
    scenario.change("DELETE", &format!("/links/{gone}"), &Value::Null)?;

    scenario.arrived(&scenario.sent.clone(), 30)?;
    scenario.transcript.note(&format!("the sink rejects {rejected}, and has all others"));
    scenario
        .show(&marketing("wait ltw/links-to-cms --for=jsonpath={.status.sinks[0].deadLettered}=1 --timeout=60s"))?;
    wait_for_reason("Delivering", "DeadLetters", 30)?;
    scenario.show_conditions(&["Delivering"])?;
    // A status write for counters alone happens at most once a minute.
    let verified = scenario.sent.len() + 1;
    let count = format!("--for=jsonpath={{.status.receiver.lastHour.verified}}={verified}");
    scenario.show(&marketing("wait ltw/links-to-cms --timeout=90s").and(count))?;
    scenario.show(&marketing("get ltw links-to-cms --output=jsonpath={.status.receiver}"))?;
    scenario.show(&marketing("get ltw"))?;
    Ok(())
}

pub(super) fn are_rejected(scenario: &mut Scenario) -> Result<()> {
    let subscription = scenario.subscription_id()?;
    for (kind, what, status, body) in [
        ("wrong-signature", "signed with another secret", 403, "Invalid signature"),
        ("unsigned", "not signed", 401, "Missing signature"),
        ("stale", "correctly signed, an hour ago", 403, ""),
        ("repeat", "a genuine delivery, repeated", 200, r#"{"duplicate":true}"#),
        ("replay", "a genuine delivery under a new id", 200, r#"{"duplicate":true}"#),
    ] {
        let forgery = json!({"subscription": subscription, "kind": kind});
        let result = scenario.simulator.post("/deliveries/forge", &forgery)?;
        let answer = &result["answer"];
        let got = answer["body"].as_str().unwrap_or_default();
        scenario.transcript.note(&format!("{what}: the receiver answers {} {got}", answer["status"]));
        ensure!(answer["status"] == status && got.contains(body), "{kind}: expected {status} {body}, got {answer}");
    }
    scenario.nothing_else_arrived()
}

impl Scenario {
    /// Checks that the sink has logged no event that Linktree did not send.
    pub(super) fn nothing_else_arrived(&mut self) -> Result<()> {
        let lines = self.sink.read()?;
        let others: Vec<_> = lines.iter().filter(|(id, _)| !self.sent.contains(id)).map(|(_, line)| line).collect();
        ensure!(others.is_empty(), "the sink has events that Linktree did not send: {}", others.len());
        self.transcript.note(&format!("the sink has {} events, all sent by Linktree", lines.len()));
        Ok(())
    }
}
