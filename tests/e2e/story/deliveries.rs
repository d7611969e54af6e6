//! Steps: events arrive and are counted; what is no true delivery is refused or recognized.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Story, marketing};

impl Story {
    /// Something happens on Linktree. Returns the simulator's answer; the events it makes must reach the sink.
    pub(super) fn change(&mut self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let answer = match method {
            "POST" => self.simulator.post(path, body),
            "PATCH" => self.simulator.patch(path, body),
            _ => self.simulator.delete(path),
        }?;
        let ids: Vec<_> = answer["deliveries"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let event = answer["type"].as_str().unwrap_or("nothing");
        self.narrator.say(&format!("Linktree: {method} {path} {body} makes {event}, delivery {}", ids.join(", ")));
        ensure!(ids.len() == 1, "one subscription should have got one delivery: {answer}");
        self.sent.extend(ids.iter().map(|id| (*id).to_owned()));
        Ok(answer)
    }

    /// A link is given a new title; returns the delivery's id.
    pub(super) fn rename_link(&mut self, title: &str) -> Result<String> {
        let path = format!("/links/{}", self.link);
        self.change("PATCH", &path, &json!({ "title": title }))?;
        self.sent.last().cloned().context("a delivery was noted")
    }

    /// Waits until the sink has printed these events, and shows the lines.
    pub(super) fn arrived(&mut self, ids: &[String], seconds: u64) -> Result<()> {
        let lines = self.sink.wait_for(ids, seconds)?;
        self.narrator.say("$ kubectl --namespace=marketing logs deployment/event-sink");
        self.narrator.lines(lines.iter().map(String::as_str));
        Ok(())
    }
}

pub(super) fn arrive(story: &mut Story) -> Result<()> {
    let created = story.change("POST", "/links", &json!({"title": "Shop", "url": "https://shop.example/"}))?;
    story.link = created["data"]["link_id"].as_str().context("a link has an id")?.to_owned();
    story.rename_link("Our shop")?;
    story.change("PATCH", "/profile", &json!({"bio": "Now with a shop"}))?;
    let milestone = json!({"link_id": story.link, "metric": "clicks", "value": 1001, "threshold": 1000});
    story.change("POST", "/milestones", &milestone)?;
    let gone = story.change("POST", "/links", &json!({"title": "Old", "url": "https://old.example/"}))?;
    let gone = gone["data"]["link_id"].as_str().context("a link has an id")?;
    story.change("DELETE", &format!("/links/{gone}"), &Value::Null)?;

    story.arrived(&story.sent.clone(), 30)?;
    // The status is written at most once a minute for its counters alone.
    let verified = story.sent.len();
    let count = format!("--for=jsonpath={{.status.receiver.lastHour.verified}}={verified}");
    story.show(&marketing("wait ltw/links-to-cms --timeout=90s").and(count))?;
    story.show(&marketing("get ltw links-to-cms --output=jsonpath={.status.receiver}"))?;
    story.show(&marketing("get ltw"))?;
    Ok(())
}

pub(super) fn are_refused(story: &mut Story) -> Result<()> {
    let subscription = story.subscription_id()?;
    for (kind, what, status, body) in [
        ("wrong-signature", "signed by somebody else", 403, "Invalid signature"),
        ("unsigned", "not signed at all", 401, "Missing signature"),
        ("stale", "rightly signed, an hour ago", 403, ""),
        ("repeat", "a true delivery once more", 200, r#"{"duplicate":true}"#),
        ("replay", "a true delivery under a fresh id", 200, r#"{"duplicate":true}"#),
    ] {
        let forgery = json!({"subscription": subscription, "kind": kind});
        let result = story.simulator.post("/deliveries/forge", &forgery)?;
        let answer = &result["answer"];
        let got = answer["body"].as_str().unwrap_or_default();
        story.narrator.say(&format!("{what}: the receiver answers {} {got}", answer["status"]));
        ensure!(answer["status"] == status && got.contains(body), "{kind}: expected {status} {body}, got {answer}");
    }
    story.nothing_else_arrived()
}

impl Story {
    /// What the sink has printed is what Linktree has sent, and nothing besides.
    pub(super) fn nothing_else_arrived(&mut self) -> Result<()> {
        let lines = self.sink.read()?;
        let others: Vec<_> = lines.iter().filter(|(id, _)| !self.sent.contains(id)).map(|(_, line)| line).collect();
        ensure!(others.is_empty(), "the sink got events that Linktree never sent: {others:?}");
        self.narrator.say(&format!("the sink has {} events, all of them Linktree's own", lines.len()));
        Ok(())
    }
}
