//! Step: the signing secret is rotated in Linktree's dashboard, and copied into the cluster later.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Scenario, marketing, wait_for_reason};
use crate::{simulator::Delivery, wait};

pub(super) fn in_the_dashboard(scenario: &mut Scenario) -> Result<()> {
    let subscription = scenario.subscription_id()?;
    let rotated = scenario.simulator.post(&format!("/subscriptions/{subscription}/rotate-secret"), &json!({}))?;
    let secret = rotated["signing_secret"].as_str().context("the response has no signing_secret")?;
    scenario.transcript.note("Linktree's dashboard shows a new signing secret");

    let mut rejected = Vec::new();
    for title in ["Shop, new signature", "Shop, same signature", "Shop, signed"] {
        rejected.push(scenario.rename_link(title)?);
    }
    wait::until("the receiver rejects deliveries signed with the new secret", 30, || {
        let deliveries = deliveries(scenario, &rejected)?;
        let answers: Vec<_> = deliveries.iter().filter_map(|it| Some(&it.attempts.first()?.answer)).collect();
        ensure!(answers.iter().all(|answer| answer.status == Some(403)), "expected 403 for all: {answers:?}");
        Ok((answers.len() == rejected.len()).then_some(()))
    })?;
    scenario.transcript.note("the receiver answers 403 Invalid signature, and Linktree will retry");
    wait_for_reason("SignaturesVerified", "SecretMismatch", 60)?;
    scenario.show_conditions(&["Ready", "SignaturesVerified", "DeliveryAtRisk"])?;

    copy(scenario, secret)?;
    wait::until("Linktree's retries are accepted", 90, || {
        let deliveries = deliveries(scenario, &rejected)?;
        Ok(deliveries.iter().all(|it| it.state == "delivered").then_some(()))
    })?;
    for delivery in deliveries(scenario, &rejected)? {
        let answers: Vec<_> = delivery.attempts.iter().map(|attempt| attempt.answer.to_string()).collect();
        scenario.transcript.note(&format!("Linktree's attempts to deliver {}: {}", delivery.id, answers.join(" → ")));
    }
    scenario.arrived(&rejected, 30)?;
    let all = scenario.sink.wait_for(&scenario.sent, 10)?.len();
    scenario.transcript.note(&format!("the sink has all {all} events that Linktree has sent so far"));
    wait_for_reason("SignaturesVerified", "Verified", 60)?;
    scenario.show(&marketing("get ltw links-to-cms --output=jsonpath={.status.signing}"))?;
    scenario.show_conditions(&["Ready", "SignaturesVerified"])
}

/// Follows the remedy of the condition's message. The previous secret stays valid for deliveries signed with it.
fn copy(scenario: &Scenario, secret: &str) -> Result<()> {
    let before = marketing("get secret links-to-cms-signing").json()?;
    let previous = before["data"]["secret"].as_str().context("the Secret has no key `secret`")?;
    let patch = json!({"data": {"previous": previous}, "stringData": {"secret": secret}}).to_string();
    marketing("patch secret links-to-cms-signing --patch").and(patch).output()?;
    scenario.transcript.note(
        "$ kubectl patch secret links-to-cms-signing: the new secret under `secret`, the old one under `previous`",
    );
    Ok(())
}

fn deliveries(scenario: &mut Scenario, ids: &[String]) -> Result<Vec<Delivery>> {
    Ok(scenario.simulator.state()?.deliveries.into_iter().filter(|it| ids.contains(&it.id)).collect())
}
