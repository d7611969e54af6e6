//! The webhook's conditions name a fault at the edge and its repair.

use anyhow::{Context, Result, ensure};

use crate::{
    certificate_authority::Certificate,
    edge::{Edge, YEAR},
    harness::Harness,
    scenario::install::{WEBHOOK, behind},
    wait,
};

pub fn check(harness: &mut Harness) -> Result<()> {
    let edge = Edge::open(harness.transcript, "diagnostics", &harness.name)?;
    let mut edge = edge.context("no test cluster: LINKTREE_CLUSTER_DIR is not set; run `make test-e2e`")?;
    let webhook = harness.for_namespace(&behind(&edge, WEBHOOK).output()?);
    harness.apply(&webhook)?;
    receives(harness, "Through the edge")?;

    let valid = edge.certificate()?;
    let other_name = edge.authority.certify("other.example.com", YEAR)?;
    let expired = edge.authority.certify(&edge.host, 2024)?;
    let no_chain = Certificate { chain: String::new(), ..edge.certificate()? };
    let pass = edge.pass.clone();
    let cases = [
        (&other_name, pass.as_str(), "CertificateNameMismatch", "is for another name"),
        (&expired, &pass, "CertificateExpired", "has expired at 2024-12-31T00:00:00Z"),
        (&no_chain, &pass, "CertificateUntrusted", "with the whole chain"),
        (&valid, "return 302 https://login.example.com/;", "UnexpectedResponse", "to https://login.example.com, which"),
        (&valid, "return 500;", "UnexpectedResponse", "500 Internal Server Error with an HTML page"),
    ];
    for (certificate, directives, reason, words) in cases {
        edge.restart(certificate, directives)?;
        reported(harness, reason, words)?;
    }
    edge.nginx.stop();
    reported(harness, "ConnectionFailed", "onnection refused")?;
    edge.restart(&valid, &pass)?;
    receives(harness, "Through the edge again")
}

/// Waits until the probe reports this reason and the webhook is not ready for the same reason.
fn reported(harness: &Harness, reason: &str, words: &str) -> Result<()> {
    if harness.field(".status.conditions[?(@.type==\"EndpointReachable\")].status")? == "True" {
        // A successful probe is valid for a minute unless a sync is requested.
        let request = "webhooks.linktree-operator.dev/sync-requested-at=now";
        harness.kubectl("annotate ltw links-to-cms").and(request).output()?;
    }
    harness.wait_for_reason("EndpointReachable", reason, 60)?;
    let message = wait::until(&format!("the message contains \"{words}\""), 30, || {
        let message = harness.field(".status.conditions[?(@.type==\"EndpointReachable\")].message")?;
        Ok(message.contains(words).then_some(message))
    })?;
    harness.transcript.note(&message);
    harness.wait_for_reason("Ready", reason, 30)?;
    let ready = harness.field(".status.conditions[?(@.type==\"Ready\")].status")?;
    ensure!(ready == "False", "the webhook is ready in spite of {reason}");
    Ok(())
}

/// Waits until the webhook is ready behind the edge and an event arrives through it.
fn receives(harness: &mut Harness, title: &str) -> Result<()> {
    harness.wait_for_reason("EndpointReachable", "ProbeSucceeded", 90)?;
    harness.wait_for_reason("UpToDate", "Matched", 60)?;
    harness.transcript.show(&harness.kubectl("wait --for=condition=Ready ltw/links-to-cms --timeout=60s"))?;
    let end = format!("--for=jsonpath={{.status.endpoint.certificateExpirationTime}}={YEAR}-12-31T00:00:00Z");
    harness.transcript.show(&harness.kubectl("wait ltw/links-to-cms --timeout=60s").and(end))?;
    let event = harness.new_link(title)?;
    harness.sink.wait_for(&[event], 30).map(drop)
}
