//! Computes `status.endpoint`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::webhook_status::{EndpointStatus, LinktreeWebhookStatus, ProbeResult as ReportedResult},
    operator::{
        kubernetes::conditions::whole_seconds,
        webhook::observed::{Observed, ProbeResult},
    },
};

/// The result of the last probe; without a probe, the previous `status.endpoint`.
///
/// `reachable`: whether the receiver at the URL accepts deliveries.
pub(super) fn status(observed: &Observed, reachable: bool) -> Option<EndpointStatus> {
    let known = observed.status.endpoint.clone();
    let Some((result, certificate)) = reported(&observed.probe, reachable) else { return known };
    let time = |time: Timestamp| Time(whole_seconds(time));
    Some(EndpointStatus {
        last_probe_time: time(observed.probed_at?),
        last_probe_result: result,
        certificate_expiration_time: match certificate {
            Certificate::Received(expires) => expires.map(time),
            Certificate::NotReceived => known.and_then(|known| known.certificate_expiration_time),
        },
    })
}

/// `next` with the probe time of `previous`, since a new probe time alone must not cause a status write.
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

/// Whether the probe received the host's certificate, and when the certificate expires.
enum Certificate {
    Received(Option<Timestamp>),
    NotReceived,
}

/// The probe's result as reported in the status, and the certificate that it received; `None` without a probe.
fn reported(probe: &ProbeResult, reachable: bool) -> Option<(ReportedResult, Certificate)> {
    Some(match probe {
        ProbeResult::NotProbed => return None,
        ProbeResult::Succeeded { certificate_expires } => {
            (ReportedResult::Succeeded, Certificate::Received(*certificate_expires))
        }
        ProbeResult::CertificateExpired { at } => (ReportedResult::CertificateExpired, Certificate::Received(*at)),
        ProbeResult::DnsFailed { .. } => (ReportedResult::DNSFailed, Certificate::NotReceived),
        ProbeResult::ConnectionFailed { .. } => (ReportedResult::ConnectionFailed, Certificate::NotReceived),
        ProbeResult::AddressDenied { .. } => (ReportedResult::AddressDenied, Certificate::NotReceived),
        ProbeResult::CertificateNameMismatch => (ReportedResult::CertificateNameMismatch, Certificate::NotReceived),
        ProbeResult::CertificateUntrusted => (ReportedResult::CertificateUntrusted, Certificate::NotReceived),
        ProbeResult::TlsFailed { .. } => (ReportedResult::TLSFailed, Certificate::NotReceived),
        ProbeResult::Foreign { certificate_expires, .. } => (
            if reachable { ReportedResult::Succeeded } else { ReportedResult::UnexpectedResponse },
            Certificate::Received(*certificate_expires),
        ),
        ProbeResult::Unexpected { .. } => (ReportedResult::UnexpectedResponse, Certificate::NotReceived),
    })
}
