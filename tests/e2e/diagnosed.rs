//! What is wrong at the edge is said on the webhook, and good again is noticed.

use anyhow::{Context, Result, ensure};

use crate::{
    authority::Certificate,
    edge::{Edge, YEAR},
    place::Place,
    story::begin::{WEBHOOK, behind},
    wait,
};

pub fn check(place: &mut Place) -> Result<()> {
    let edge = Edge::open(place.narrator, "diagnosed", &place.name)?;
    let mut edge = edge.context("this needs the test cluster, whose pods reach this machine")?;
    let webhook = place.of_this_place(&behind(&edge, WEBHOOK).output()?);
    place.apply(&webhook)?;
    serves(place, "Through the edge")?;

    let right = edge.certificate()?;
    let strange = edge.authority.certify("other.example.com", YEAR)?;
    let expired = edge.authority.certify(&edge.host, 2024)?;
    let chainless = Certificate { chain: String::new(), ..edge.certificate()? };
    let pass = edge.pass.clone();
    let cases = [
        (&strange, pass.as_str(), "CertificateNameMismatch", "is for another name"),
        (&expired, &pass, "CertificateExpired", "has expired at 2024-12-31T00:00:00Z"),
        (&chainless, &pass, "CertificateUntrusted", "with the whole chain"),
        (&right, "return 302 https://login.example.com/;", "UnexpectedResponse", "to https://login.example.com/"),
        (&right, "return 500;", "UnexpectedResponse", "500 Internal Server Error with an HTML page"),
    ];
    for (certificate, directives, reason, words) in cases {
        edge.turn(certificate, directives)?;
        said(place, reason, words)?;
    }
    edge.nginx.end();
    said(place, "ConnectionFailed", "onnection refused")?;
    edge.turn(&right, &pass)?;
    serves(place, "Through the edge again")
}

/// The probe says so, and the webhook is not ready for that reason.
fn said(place: &Place, reason: &str, words: &str) -> Result<()> {
    if place.field(".status.conditions[?(@.type==\"EndpointReachable\")].status")? == "True" {
        // A good probe is believed for a minute unless somebody asks.
        let request = "webhooks.linktree-operator.dev/sync-requested-at=now";
        place.kubectl("annotate ltw links-to-cms").and(request).output()?;
    }
    place.wait_for_reason("EndpointReachable", reason, 60)?;
    let message = wait::until(words, 30, || {
        let message = place.field(".status.conditions[?(@.type==\"EndpointReachable\")].message")?;
        Ok(message.contains(words).then_some(message))
    })?;
    place.narrator.say(&message);
    place.wait_for_reason("Ready", reason, 30)?;
    let ready = place.field(".status.conditions[?(@.type==\"Ready\")].status")?;
    ensure!(ready == "False", "it should not be ready");
    Ok(())
}

/// It is ready behind the edge, and an event comes in through it.
fn serves(place: &mut Place, title: &str) -> Result<()> {
    place.wait_for_reason("EndpointReachable", "ProbeSucceeded", 90)?;
    place.wait_for_reason("UpToDate", "Matched", 60)?;
    place.narrator.show(&place.kubectl("wait --for=condition=Ready ltw/links-to-cms --timeout=60s"))?;
    let end = format!("--for=jsonpath={{.status.endpoint.certificateExpirationTime}}={YEAR}-12-31T00:00:00Z");
    place.narrator.show(&place.kubectl("wait ltw/links-to-cms --timeout=60s").and(end))?;
    let event = place.new_link(title)?;
    place.sink.wait_for(&[event], 30).map(drop)
}
