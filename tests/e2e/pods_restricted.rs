//! Every pod of the chart and every receiver meets the Pod Security Standard `restricted`, by admission and field by
//! field.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{call::kubectl, harness::Harness};

pub fn check(harness: &mut Harness) -> Result<()> {
    for namespace in ["linktree-system", &harness.name] {
        // With this label the API server admits only restricted pods.
        let level = kubectl("get namespace --output=jsonpath={.metadata.labels}").and(namespace).output()?;
        ensure!(level.contains(r#""pod-security.kubernetes.io/enforce":"restricted""#), "{namespace}: {level}");
        let pods = kubectl(&format!("--namespace={namespace} get pods")).json()?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        ensure!(!pods.is_empty(), "namespace {namespace} has no pods");
        pods.iter().try_for_each(restricted)?;
    }
    Ok(())
}

fn restricted(pod: &Value) -> Result<()> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let spec = &pod["spec"];
    ensure!(spec["securityContext"]["runAsNonRoot"] == true, "{name} may run as root");
    ensure!(spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", "{name} has no seccomp profile");
    let containers = spec["containers"].as_array().cloned().unwrap_or_default();
    for container in &containers {
        let context = &container["securityContext"];
        ensure!(context["allowPrivilegeEscalation"] == false, "{name} may gain privileges");
        ensure!(context["readOnlyRootFilesystem"] == true, "{name} may write to its image");
        ensure!(context["capabilities"]["drop"] == json!(["ALL"]), "{name} keeps capabilities");
        ensure!(container["resources"]["limits"]["memory"].is_string(), "{name} has no memory limit");
    }
    let operator = pod["metadata"]["labels"]["app.kubernetes.io/name"] == "linktree-webhook-operator";
    let token = containers.iter().any(|container| container["volumeMounts"].to_string().contains("serviceaccount"));
    ensure!(token == operator, "{name}: token mounted: {token}, operator: {operator}");
    Ok(())
}
