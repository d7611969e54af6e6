//! Step: somebody rotates the signing secret in Linktree's dashboard, and copies it into the cluster a while later.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Story, marketing, wait_for_reason};
use crate::{simulator::Delivery, wait};

pub(super) fn in_the_dashboard(story: &mut Story) -> Result<()> {
    let subscription = story.subscription_id()?;
    let rotated = story.simulator.post(&format!("/subscriptions/{subscription}/rotate-secret"), &json!({}))?;
    let secret = rotated["signing_secret"].as_str().context("the dashboard shows the new secret")?;
    story.narrator.say("Linktree's dashboard shows a new signing secret");

    let mut refused = Vec::new();
    for title in ["Shop, new signature", "Shop, same signature", "Shop, signed"] {
        refused.push(story.rename_link(title)?);
    }
    wait::until("the receiver refuses what is signed with the new secret", 30, || {
        let deliveries = deliveries(story, &refused)?;
        let answers: Vec<_> = deliveries.iter().filter_map(|it| Some(&it.attempts.first()?.answer)).collect();
        ensure!(answers.iter().all(|answer| answer.status == Some(403)), "they should be answered 403: {answers:?}");
        Ok((answers.len() == refused.len()).then_some(()))
    })?;
    story.narrator.say("the receiver answers 403 Invalid signature, and Linktree will try again");
    wait_for_reason("SignaturesVerified", "SecretMismatch", 60)?;
    story.show_conditions(&["Ready", "SignaturesVerified", "DeliveryAtRisk"])?;

    copy(story, secret)?;
    wait::until("Linktree's retries are accepted", 90, || {
        let deliveries = deliveries(story, &refused)?;
        Ok(deliveries.iter().all(|it| it.state == "delivered").then_some(()))
    })?;
    for delivery in deliveries(story, &refused)? {
        let answers: Vec<_> = delivery.attempts.iter().map(|attempt| attempt.answer.to_string()).collect();
        story.narrator.say(&format!("Linktree's attempts to deliver {}: {}", delivery.id, answers.join(" → ")));
    }
    story.arrived(&refused, 30)?;
    let all = story.sink.wait_for(&story.sent, 10)?.len();
    story.narrator.say(&format!("the sink now has all {all} events that Linktree has told of since the beginning"));
    wait_for_reason("SignaturesVerified", "Verified", 60)?;
    story.show(&marketing("get ltw links-to-cms --output=jsonpath={.status.signing}"))?;
    story.show_conditions(&["Ready", "SignaturesVerified"])
}

/// Does what the condition's message says. The one before stays valid, for deliveries that are signed with it still.
fn copy(story: &Story, secret: &str) -> Result<()> {
    let before = marketing("get secret links-to-cms-signing").json()?;
    let previous = before["data"]["secret"].as_str().context("the Secret has the key `secret`")?;
    let patch = json!({"data": {"previous": previous}, "stringData": {"secret": secret}}).to_string();
    marketing("patch secret links-to-cms-signing --patch").and(patch).output()?;
    story
        .narrator
        .say("$ kubectl patch secret links-to-cms-signing: the new one under `secret`, the old one under `previous`");
    Ok(())
}

fn deliveries(story: &mut Story, ids: &[String]) -> Result<Vec<Delivery>> {
    Ok(story.simulator.state()?.deliveries.into_iter().filter(|it| ids.contains(&it.id)).collect())
}
