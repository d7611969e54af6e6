//! Steps: install the operator, apply a webhook, wait until it is ready.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{NAMESPACE, Scenario, marketing};
use crate::{
    call::{Call, helm, kubectl},
    edge::{self, Edge, YEAR},
    transcript::Transcript,
};

/// The namespace label that makes the API server reject pods that are not restricted.
pub const RESTRICTED: &str = "pod-security.kubernetes.io/enforce=restricted";

/// Installs or upgrades the chart.
///
/// # Errors
/// If Helm fails, or the pods do not become ready.
pub fn install(transcript: Transcript, flags: &str) -> Result<()> {
    if kubectl("get namespace linktree-system").output().is_err() {
        transcript.show(&kubectl("create namespace linktree-system"))?;
    }
    transcript.show(&kubectl(&format!("label --overwrite namespace linktree-system {RESTRICTED}")))?;
    let trust = edge::trust(transcript)?;
    transcript.show(&helm(&format!(
        "upgrade --install linktree-webhook-operator charts/linktree-webhook-operator --namespace linktree-system \
         {flags} {trust} --wait --timeout 120s"
    )))?;
    Ok(())
}

/// The quickstart's webhook.
pub const WEBHOOK: &str = "examples/quickstart/4-webhook.yaml";

pub(super) fn install_the_operator(scenario: &mut Scenario) -> Result<()> {
    install(scenario.transcript, &scenario.install_flags)?;
    scenario.show(&kubectl("--namespace=linktree-system get pods"))?;
    Ok(())
}

pub(super) fn apply(scenario: &mut Scenario) -> Result<()> {
    scenario.show(&kubectl("apply --filename examples/quickstart/1-token.yaml"))?;
    scenario.show(&kubectl(&format!("label --overwrite namespace {NAMESPACE} {RESTRICTED}")))?;
    for file in ["2-connection", "3-sink"] {
        scenario.show(&kubectl(&format!("apply --filename examples/quickstart/{file}.yaml")))?;
    }
    scenario.edge = Edge::open(scenario.transcript, "hooks", NAMESPACE)?;
    match &scenario.edge {
        None => scenario.show(&kubectl(&format!("apply --filename {WEBHOOK}"))),
        Some(edge) => {
            let webhook = scenario.show(&behind(edge, WEBHOOK))?;
            scenario.show(&kubectl("apply --filename -").input(webhook))
        }
    }
    .map(drop)
}

/// A call that prints the webhook in `file` with the edge as its endpoint.
pub fn behind(edge: &Edge, file: &str) -> Call {
    let managed = json!({"host": edge.host, "exposure": {"type": "None"}});
    let patch = json!({"spec": {"endpoint": {"managed": managed}}});
    kubectl(&format!("patch --local --filename {file} --type=merge --output=yaml --patch")).and(patch.to_string())
}

pub(super) fn become_ready(scenario: &mut Scenario) -> Result<()> {
    scenario.show(&marketing("wait --for=condition=Ready ltconn/brand ltw/links-to-cms --timeout=120s"))?;
    scenario.show(&marketing("rollout status deployment/event-sink --timeout=60s"))?;
    scenario.show(&kubectl("get ltw,ltconn --all-namespaces --output=wide"))?;
    probed_over_https(scenario)?;
    scenario.show(&marketing("get pods,persistentvolumeclaims"))?;
    let pod = marketing("get pod links-to-cms-receiver-0").json()?;
    let spec = &pod["spec"];
    ensure!(spec["automountServiceAccountToken"] == false, "the receiver's pod does not disable its token: {spec}");
    let volumes: Vec<_> = spec["volumes"].as_array().into_iter().flatten().collect();
    ensure!(
        !volumes.iter().any(|volume| volume.get("projected").is_some()),
        "the receiver's pod has a token volume: {volumes:?}"
    );
    scenario
        .transcript
        .note("the receiver's pod: admitted as restricted, automountServiceAccountToken: false, no token volume");
    Ok(())
}

/// Checks that the probe took the path of deliveries, through the edge over HTTPS.
fn probed_over_https(scenario: &Scenario) -> Result<()> {
    let Some(edge) = &scenario.edge else { return Ok(()) };
    let end = format!("--for=jsonpath={{.status.endpoint.certificateExpirationTime}}={YEAR}-12-31T00:00:00Z");
    scenario.show(&marketing("wait ltw/links-to-cms --timeout=60s").and(end))?;
    let url = scenario.show(&marketing("get ltw links-to-cms --output=jsonpath={.status.address.url}"))?;
    ensure!(url.starts_with(&format!("https://{}/h/", edge.host)), "the URL is not the edge's: {url}");
    let probe = scenario.show(&marketing("get ltw links-to-cms --output=jsonpath={.status.endpoint}"))?;
    ensure!(probe.contains(r#""lastProbeResult":"Succeeded""#), "the probe did not succeed: {probe}");
    scenario.show_conditions(&["EndpointReachable"])
}
