//! Steps: the operator is installed, a webhook is applied and becomes ready.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{NAMESPACE, Story, marketing};
use crate::{
    call::{Call, helm, kubectl},
    edge::{self, Edge, YEAR},
    narrator::Narrator,
};

/// Has the API server refuse pods that are not restricted.
pub const RESTRICTED: &str = "pod-security.kubernetes.io/enforce=restricted";

/// Installs the chart, or brings an installed one up to date.
///
/// # Errors
/// When Helm fails, or the pods do not become ready.
pub fn install(narrator: Narrator, flags: &str) -> Result<()> {
    if kubectl("get namespace linktree-system").output().is_err() {
        narrator.show(&kubectl("create namespace linktree-system"))?;
    }
    narrator.show(&kubectl(&format!("label --overwrite namespace linktree-system {RESTRICTED}")))?;
    let trust = edge::trust(narrator)?;
    narrator.show(&helm(&format!(
        "upgrade --install linktree-webhook-operator charts/linktree-webhook-operator --namespace linktree-system \
         {flags} {trust} --wait --timeout 120s"
    )))?;
    Ok(())
}

/// The example's webhook.
pub const WEBHOOK: &str = "examples/quickstart/4-webhook.yaml";

pub(super) fn install_the_operator(story: &mut Story) -> Result<()> {
    install(story.narrator, &story.install_flags)?;
    story.show(&kubectl("--namespace=linktree-system get pods"))?;
    Ok(())
}

pub(super) fn apply(story: &mut Story) -> Result<()> {
    story.show(&kubectl("apply --filename examples/quickstart/1-token.yaml"))?;
    story.show(&kubectl(&format!("label --overwrite namespace {NAMESPACE} {RESTRICTED}")))?;
    for file in ["2-connection", "3-sink"] {
        story.show(&kubectl(&format!("apply --filename examples/quickstart/{file}.yaml")))?;
    }
    story.edge = Edge::open(story.narrator, "hooks", NAMESPACE)?;
    match &story.edge {
        None => story.show(&kubectl(&format!("apply --filename {WEBHOOK}"))),
        Some(edge) => {
            let webhook = story.show(&behind(edge, WEBHOOK))?;
            story.show(&kubectl("apply --filename -").input(webhook))
        }
    }
    .map(drop)
}

/// Prints the example's webhook as it is behind an edge.
pub fn behind(edge: &Edge, file: &str) -> Call {
    let managed = json!({"host": edge.host, "exposure": {"type": "None"}});
    let patch = json!({"spec": {"endpoint": {"managed": managed}}});
    kubectl(&format!("patch --local --filename {file} --type=merge --output=yaml --patch")).and(patch.to_string())
}

pub(super) fn become_ready(story: &mut Story) -> Result<()> {
    story.show(&marketing("wait --for=condition=Ready ltconn/brand ltw/links-to-cms --timeout=120s"))?;
    story.show(&marketing("rollout status deployment/event-sink --timeout=60s"))?;
    story.show(&kubectl("get ltw,ltconn --all-namespaces --output=wide"))?;
    reached_over_https(story)?;
    story.show(&marketing("get pods,persistentvolumeclaims"))?;
    let pod = marketing("get pod links-to-cms-receiver-0").json()?;
    let spec = &pod["spec"];
    ensure!(spec["automountServiceAccountToken"] == false, "the receiver's pod mounts a token: {spec}");
    let volumes: Vec<_> = spec["volumes"].as_array().into_iter().flatten().collect();
    ensure!(!volumes.iter().any(|volume| volume.get("projected").is_some()), "a token is mounted: {volumes:?}");
    story
        .narrator
        .say("the receiver's pod: admitted as restricted, automountServiceAccountToken: false, no token volume");
    Ok(())
}

/// The probe went the way that deliveries go, and has seen the edge's certificate.
fn reached_over_https(story: &Story) -> Result<()> {
    let Some(edge) = &story.edge else { return Ok(()) };
    let end = format!("--for=jsonpath={{.status.endpoint.certificateExpirationTime}}={YEAR}-12-31T00:00:00Z");
    story.show(&marketing("wait ltw/links-to-cms --timeout=60s").and(end))?;
    let url = story.show(&marketing("get ltw links-to-cms --output=jsonpath={.status.address.url}"))?;
    ensure!(url.starts_with(&format!("https://{}/h/", edge.host)), "the URL should be the edge's: {url}");
    let probe = story.show(&marketing("get ltw links-to-cms --output=jsonpath={.status.endpoint}"))?;
    ensure!(probe.contains(r#""lastProbeResult":"Succeeded""#), "the probe should have succeeded: {probe}");
    story.show_conditions(&["EndpointReachable"])
}
