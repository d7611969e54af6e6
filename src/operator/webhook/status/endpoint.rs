//! What the status says of the endpoint.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::webhook_status::{EndpointStatus, LinktreeWebhookStatus, ProbeResult as Told},
    operator::{
        kubernetes::conditions::whole_seconds,
        webhook::observed::{Observed, ProbeResult},
    },
};

/// The last probe; without one, what was known before. `answers`: what is at the url takes deliveries.
pub(super) fn status(observed: &Observed, answers: bool) -> Option<EndpointStatus> {
    let known = observed.status.endpoint.clone();
    let Some((result, end)) = told(&observed.probe, answers) else { return known };
    let time = |time: Timestamp| Time(whole_seconds(time));
    Some(EndpointStatus {
        last_probe_time: time(observed.probed_at?),
        last_probe_result: result,
        certificate_expiration_time: match end {
            Certificate::ObservedVersions(end) => end.map(time),
            Certificate::Unseen => known.and_then(|known| known.certificate_expiration_time),
        },
    })
}

/// `next`, with the time of the last probe as it stands: that alone is not worth a write.
pub(super) fn without_probe_time(
    next: LinktreeWebhookStatus,
    previous: &LinktreeWebhookStatus,
) -> LinktreeWebhookStatus {
    let known = previous.endpoint.as_ref().map(|endpoint| endpoint.last_probe_time.clone());
    let endpoint = next.endpoint.map(|endpoint| EndpointStatus {
        last_probe_time: known.unwrap_or_else(|| endpoint.last_probe_time.clone()),
        ..endpoint
    });
    LinktreeWebhookStatus { endpoint, ..next }
}

/// Whether the probe came as far as the certificate, and when that ends.
enum Certificate {
    ObservedVersions(Option<Timestamp>),
    Unseen,
}

fn told(probe: &ProbeResult, answers: bool) -> Option<(Told, Certificate)> {
    Some(match probe {
        ProbeResult::NotProbed => return None,
        ProbeResult::Succeeded { certificate_expires } => {
            (Told::Succeeded, Certificate::ObservedVersions(*certificate_expires))
        }
        ProbeResult::CertificateExpired { at } => (Told::CertificateExpired, Certificate::ObservedVersions(*at)),
        ProbeResult::DnsFailed { .. } => (Told::DNSFailed, Certificate::Unseen),
        ProbeResult::ConnectionFailed { .. } => (Told::ConnectionFailed, Certificate::Unseen),
        ProbeResult::CertificateNameMismatch => (Told::CertificateNameMismatch, Certificate::Unseen),
        ProbeResult::CertificateUntrusted => (Told::CertificateUntrusted, Certificate::Unseen),
        ProbeResult::TlsFailed { .. } => (Told::TLSFailed, Certificate::Unseen),
        ProbeResult::Foreign { certificate_expires, .. } => (
            if answers { Told::Succeeded } else { Told::UnexpectedResponse },
            Certificate::ObservedVersions(*certificate_expires),
        ),
        ProbeResult::Unexpected { .. } => (Told::UnexpectedResponse, Certificate::Unseen),
    })
}
