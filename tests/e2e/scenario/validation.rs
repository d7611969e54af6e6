//! Step: the API server rejects invalid specs.

use anyhow::{Result, ensure};

use super::Scenario;
use crate::call::{ROOT, kubectl};

/// Valid text of the quickstart, an invalid replacement, and a part of the expected message.
const INVALID: [(&str, &str, &str); 3] = [
    (
        "exposure: {type: Service}",
        "exposure: {type: None}",
        "endpoint.managed.host is missing: write the public host name",
    ),
    (
        "http://event-sink.marketing.svc.cluster.local/",
        "event-sink:80",
        "http.url must be an absolute http:// or https:// URL",
    ),
    (
        "name: links-to-cms",
        "name: 1-link",
        "metadata.name must be lower case letters, digits and '-', starting with a letter",
    ),
];

pub(super) fn invalid_specs_are_rejected(scenario: &mut Scenario) -> Result<()> {
    let example = std::fs::read_to_string(format!("{ROOT}/examples/quickstart/4-webhook.yaml"))?;
    for (valid, invalid, message) in INVALID {
        ensure!(example.contains(valid), "the example has no `{valid}`");
        scenario.transcript.note(&format!("the example with `{invalid}`:"));
        let apply = kubectl("apply --filename -").input(example.replace(valid, invalid));
        let rejection = scenario.transcript.show_rejection(&apply)?;
        ensure!(rejection.contains(message), "the rejection lacks `{message}`: {rejection}");
    }
    let manual = scenario.show(&kubectl("explain linktreewebhook.spec.signing"))?;
    ensure!(manual.contains("timestampToleranceSeconds"), "kubectl explain lacks timestampToleranceSeconds: {manual}");
    Ok(())
}
