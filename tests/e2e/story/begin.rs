//! Steps: the operator is installed, a webhook is applied and becomes ready.

use anyhow::{Result, ensure};

use super::{NAMESPACE, Story, marketing};
use crate::{
    call::{helm, kubectl},
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
    narrator.show(&helm(&format!(
        "upgrade --install linktree-webhook-operator charts/linktree-webhook-operator --namespace linktree-system \
         {flags} --wait --timeout 120s"
    )))?;
    Ok(())
}

pub(super) fn install_the_operator(story: &mut Story) -> Result<()> {
    install(story.narrator, &story.install_flags)?;
    story.show(&kubectl("--namespace=linktree-system get pods"))?;
    Ok(())
}

pub(super) fn apply(story: &mut Story) -> Result<()> {
    story.show(&kubectl("apply --filename examples/quickstart/1-token.yaml"))?;
    story.show(&kubectl(&format!("label --overwrite namespace {NAMESPACE} {RESTRICTED}")))?;
    for file in ["2-connection.yaml", "3-sink.yaml", "4-webhook.yaml"] {
        story.show(&kubectl(&format!("apply --filename examples/quickstart/{file}")))?;
    }
    Ok(())
}

pub(super) fn become_ready(story: &mut Story) -> Result<()> {
    story.show(&marketing("wait --for=condition=Ready ltconn/brand ltw/links-to-cms --timeout=120s"))?;
    story.show(&marketing("rollout status deployment/event-sink --timeout=60s"))?;
    story.show(&kubectl("get ltw,ltconn --all-namespaces"))?;
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
