//! The receiver gets another image while deliveries flow. Linktree's retries may be needed; no event may be missing.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{
    call::{Call, kubectl},
    load::Load,
    node,
    place::Place,
    wait,
};

const IMAGE: &str = "localhost/linktree-webhook-operator:dev";
/// The same image under another name, which is all that a rollout looks at.
const NEXT: &str = "localhost/linktree-webhook-operator:next";

pub fn check(place: &mut Place) -> Result<()> {
    // In the node's own container runtime, since there is no registry to push to.
    node::ctr(&format!("images tag --force {IMAGE} {NEXT}"))?;
    let before = place.receiver()?["metadata"]["uid"].clone();
    let load = Load::start("acc_rolled")?;
    wait_for_more(place, 20)?;

    let _back = ReceiverImage::set(place, NEXT)?;
    let image = format!("--for=jsonpath={{.spec.template.spec.containers[0].image}}={NEXT}");
    place.narrator.show(&place.kubectl("wait statefulset/links-to-cms-receiver --timeout=60s").and(image))?;
    place.narrator.show(&place.kubectl("rollout status statefulset/links-to-cms-receiver --timeout=120s"))?;
    let after = place.receiver()?;
    ensure!(after["metadata"]["uid"] != before, "the pod should have been replaced");
    ensure!(after["spec"]["containers"][0]["image"] == NEXT, "the pod should have the new image");
    wait_for_more(place, 20)?;

    let sent = load.stop()?;
    place.sink.wait_for(&sent, 120)?;
    let deliveries = place.simulator.state()?.deliveries;
    let tried_again = deliveries.iter().filter(|it| sent.contains(&it.id) && it.attempts.len() > 1).count();
    place.narrator.say(&format!("{} deliveries, {tried_again} of them tried again, all at the sink", sent.len()));
    Ok(())
}

/// Waits until so many events more have arrived at the sink.
fn wait_for_more(place: &mut Place, events: usize) -> Result<()> {
    let before = place.sink.read()?.len();
    wait::until("more events arrive", 60, || Ok((place.sink.read()?.len() >= before + events).then_some(())))
}

/// The image that the operator starts receivers with; put back when dropped.
struct ReceiverImage {
    back: Call,
}

impl ReceiverImage {
    fn set(place: &Place, image: &str) -> Result<Self> {
        let deployment = kubectl("--namespace=linktree-system get deployment linktree-webhook-operator").json()?;
        let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        let flag = format!("--receiver-image={IMAGE}");
        let position = arguments.as_array().and_then(|all| all.iter().position(|argument| *argument == flag.as_str()));
        let position = position.with_context(|| format!("no {flag} among {arguments}"))?;
        let patch = |image: &str| {
            let path = format!("/spec/template/spec/containers/0/args/{position}");
            let value = format!("--receiver-image={image}");
            let patch = json!([{"op": "replace", "path": path, "value": value}]).to_string();
            kubectl("--namespace=linktree-system patch deployment linktree-webhook-operator --type=json --patch")
                .and(patch)
        };
        let set = ReceiverImage { back: patch(IMAGE) };
        place.narrator.show(&patch(image))?;
        Ok(set)
    }
}

impl Drop for ReceiverImage {
    fn drop(&mut self) {
        println!("{}", self.back.anything());
        let done = "--namespace=linktree-system rollout status deployment/linktree-webhook-operator --timeout=60s";
        println!("{}", kubectl(done).anything());
    }
}
