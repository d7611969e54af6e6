//! A planned rotation under load: the receiver has the new secret before Linktree signs with it, and rejects no
//! delivery.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{harness::Harness, load::Load, wait};

const NEXT: &str = "the next signing secret, known beforehand";

pub fn check(harness: &mut Harness) -> Result<()> {
    let id = harness.field(".status.subscription.id")?;
    let load = Load::start("acc_keys-rotated")?;

    let current = harness.kubectl("get secret links-to-cms-signing").json()?;
    let current = current["data"]["secret"].as_str().context("the Secret has no key `secret`")?;
    let patch = json!({"data": {"previous": current}, "stringData": {"secret": NEXT}}).to_string();
    harness.kubectl("patch secret links-to-cms-signing --patch").and(patch).output()?;
    harness.transcript.note("the next secret is in the cluster, the current one is under `previous`");
    // This reason means that the receiver uses both.
    harness.wait_for_reason("SignaturesVerified", "PreviousKeyInUse", 60)?;

    harness.simulator.post(&format!("/subscriptions/{id}/rotate-secret"), &json!({ "signing_secret": NEXT }))?;
    harness.transcript.note("Linktree signs with the next secret");
    harness.wait_for_reason("SignaturesVerified", "Verified", 60)?;

    let sent = load.stop()?;
    let answers = wait::until("every delivery is answered", 60, || answers(harness, &sent))?;
    let other: Vec<_> = answers.iter().filter(|answer| !answer.starts_with("200 ")).collect();
    harness.transcript.note(&format!(
        "{} deliveries during the rotation, {} not answered 200",
        sent.len(),
        other.len()
    ));
    ensure!(other.is_empty(), "{other:?}");
    harness.sink.wait_for(&sent, 60)?;
    ensure!(
        harness.field(".status.receiver.lastHour.rejectedSignature")? == "0",
        "the status counts a rejected signature"
    );
    Ok(())
}

/// All responses to these deliveries, including retries, once each delivery has succeeded.
fn answers(harness: &mut Harness, ids: &[String]) -> Result<Option<Vec<String>>> {
    let deliveries = harness.simulator.state()?.deliveries;
    let ours: Vec<_> = deliveries.iter().filter(|it| ids.contains(&it.id)).collect();
    let done = ours.len() == ids.len() && ours.iter().all(|it| it.state == "delivered");
    let attempts = ours.iter().flat_map(|it| &it.attempts);
    Ok(done.then(|| attempts.map(|attempt| attempt.answer.to_string()).collect()))
}
