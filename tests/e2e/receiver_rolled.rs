//! A rollout of the receiver's image under load. Linktree may retry; no event may be missing.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{
    call::{Call, kubectl},
    harness::Harness,
    load::Load,
    node, wait,
};

const IMAGE: &str = "localhost/linktree-webhook-operator:dev";
/// The same image under another name, which suffices for a rollout.
const NEXT: &str = "localhost/linktree-webhook-operator:next";

pub fn check(harness: &mut Harness) -> Result<()> {
    // In the node's container runtime, since there is no registry.
    node::ctr(&format!("images tag --force {IMAGE} {NEXT}"))?;
    let before = harness.receiver()?["metadata"]["uid"].clone();
    let load = Load::start("acc_receiver-rolled")?;
    wait_for_more(harness, 20)?;

    let _image = ReceiverImage::set(harness, NEXT)?;
    let image = format!("--for=jsonpath={{.spec.template.spec.containers[0].image}}={NEXT}");
    harness.transcript.show(&harness.kubectl("wait statefulset/links-to-cms-receiver --timeout=60s").and(image))?;
    harness.transcript.show(&harness.kubectl("rollout status statefulset/links-to-cms-receiver --timeout=120s"))?;
    let after = harness.receiver()?;
    ensure!(after["metadata"]["uid"] != before, "the pod was not replaced");
    ensure!(after["spec"]["containers"][0]["image"] == NEXT, "the pod does not have the new image");
    wait_for_more(harness, 20)?;

    let sent = load.stop()?;
    harness.sink.wait_for(&sent, 120)?;
    let deliveries = harness.simulator.state()?.deliveries;
    let retried = deliveries.iter().filter(|it| sent.contains(&it.id) && it.attempts.len() > 1).count();
    harness.transcript.note(&format!("{} deliveries, {retried} of them retried, all at the sink", sent.len()));
    Ok(())
}

/// Waits until this number of further events has arrived at the sink.
fn wait_for_more(harness: &mut Harness, events: usize) -> Result<()> {
    let before = harness.sink.read()?.len();
    wait::until("more events arrive", 60, || Ok((harness.sink.read()?.len() >= before + events).then_some(())))
}

/// The `--receiver-image` of the operator. Restored on drop.
struct ReceiverImage {
    restore: Call,
}

impl ReceiverImage {
    fn set(harness: &Harness, image: &str) -> Result<Self> {
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
        let set = ReceiverImage { restore: patch(IMAGE) };
        harness.transcript.show(&patch(image))?;
        Ok(set)
    }
}

impl Drop for ReceiverImage {
    fn drop(&mut self) {
        println!("{}", self.restore.output_or_error());
        let done = "--namespace=linktree-system rollout status deployment/linktree-webhook-operator --timeout=60s";
        println!("{}", kubectl(done).output_or_error());
    }
}
