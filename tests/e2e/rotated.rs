//! A rotation by the book, under load: the receiver learns the new secret before Linktree signs with it, and not one
//! delivery is refused.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{load::Load, place::Place, wait};

const NEXT: &str = "the next signing secret, known beforehand";

pub fn check(place: &mut Place) -> Result<()> {
    let id = place.field(".status.subscription.id")?;
    let load = Load::start("acc_rotated")?;

    let current = place.kubectl("get secret links-to-cms-signing").json()?;
    let current = current["data"]["secret"].as_str().context("the Secret has the key `secret`")?;
    let patch = json!({"data": {"previous": current}, "stringData": {"secret": NEXT}}).to_string();
    place.kubectl("patch secret links-to-cms-signing --patch").and(patch).output()?;
    place.narrator.say("the next secret is in the cluster, the current one is kept as the previous");
    // Says that the receiver has taken up both.
    place.wait_for_reason("SignaturesVerified", "PreviousKeyInUse", 60)?;

    place.simulator.post(&format!("/subscriptions/{id}/rotate-secret"), &json!({ "signing_secret": NEXT }))?;
    place.narrator.say("Linktree signs with the next secret");
    place.wait_for_reason("SignaturesVerified", "Verified", 60)?;

    let sent = load.stop()?;
    let answers = wait::until("every delivery is answered", 60, || answers(place, &sent))?;
    let other: Vec<_> = answers.iter().filter(|answer| !answer.starts_with("200 ")).collect();
    place.narrator.say(&format!("{} deliveries during the rotation, {} not answered 200", sent.len(), other.len()));
    ensure!(other.is_empty(), "{other:?}");
    place.sink.wait_for(&sent, 60)?;
    ensure!(place.field(".status.receiver.lastHour.rejectedSignature")? == "0", "the status counts a refusal");
    Ok(())
}

/// All answers to these deliveries, retries included, once each has one.
fn answers(place: &mut Place, ids: &[String]) -> Result<Option<Vec<String>>> {
    let deliveries = place.simulator.state()?.deliveries;
    let ours: Vec<_> = deliveries.iter().filter(|it| ids.contains(&it.id)).collect();
    let done = ours.len() == ids.len() && ours.iter().all(|it| it.state == "delivered");
    let attempts = ours.iter().flat_map(|it| &it.attempts);
    Ok(done.then(|| attempts.map(|attempt| attempt.answer.to_string()).collect()))
}
