//! Renders the result of a probe as a finding for the condition `EndpointReachable`.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::condition::Reason,
    operator::{
        kubernetes::conditions::{Finding, Status},
        webhook::{
            observed::ProbeResult,
            spec::{Endpoint, Spec},
        },
    },
};

/// Remaining validity below which the condition reports that a certificate expires soon. Renewal usually happens a
/// month ahead.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The finding for `EndpointReachable` from the probe alone, without the state of the Ingress or HTTPRoute.
#[must_use]
pub fn probe_finding(spec: &Spec, probe: &ProbeResult, now: Timestamp) -> Finding {
    let url = &spec.url;
    let fails = |reason, message: String| Finding::new(false, reason, message);
    match probe {
        ProbeResult::NotProbed => Finding::new(Status::Unknown, Reason::NotProbed, format!("{url} was not probed yet")),
        ProbeResult::Succeeded { certificate_expires } => {
            let reachable = Finding::new(true, Reason::ProbeSucceeded, format!("{url} leads to the receiver"));
            expiring(spec, *certificate_expires, now).unwrap_or(reachable)
        }
        ProbeResult::DnsFailed { problem } => fails(
            Reason::DNSFailed,
            format!("DNS has no address for the host of {url}: {problem}; create its DNS record"),
        ),
        ProbeResult::ConnectionFailed { problem } => {
            fails(Reason::ConnectionFailed, format!("no answer from {url}: {problem}; {}", remedy(spec)))
        }
        ProbeResult::AddressDenied { address } => fails(
            Reason::AddressDenied,
            format!(
                "the host of {url} has the address {address}, which is not public: give it a public address, or add its network to the chart's egressAllow"
            ),
        ),
        ProbeResult::CertificateExpired { at } => {
            let since = at.map(|at| format!(" at {at}")).unwrap_or_default();
            let message = format!("the certificate of the host of {url} has expired{since}: renew it");
            fails(Reason::CertificateExpired, message)
        }
        ProbeResult::CertificateNameMismatch => fails(
            Reason::CertificateNameMismatch,
            format!("the certificate of the host of {url} is for another name: install one for this host"),
        ),
        ProbeResult::CertificateUntrusted => fails(
            Reason::CertificateUntrusted,
            format!(
                "the certificate of the host of {url} is not from a trusted CA, or its chain is incomplete: install one of a public CA, with the whole chain"
            ),
        ),
        ProbeResult::TlsFailed { problem } => fails(
            Reason::TLSFailed,
            format!(
                "the TLS handshake with {url} failed: {problem}; correct its TLS settings, since Linktree needs TLS 1.2 or later"
            ),
        ),
        ProbeResult::Foreign { status, problem, certificate_expires } => match spec.endpoint {
            Endpoint::Managed(_) => elsewhere(spec, problem),
            Endpoint::External => external(spec, *status, *certificate_expires, now),
        },
        ProbeResult::Unexpected { problem } => elsewhere(spec, problem),
    }
}

/// The finding for a certificate that expires soon; the endpoint still works.
fn expiring(spec: &Spec, end: Option<Timestamp>, now: Timestamp) -> Option<Finding> {
    let end = end.filter(|end| end.duration_since(now) < EXPIRES_SOON)?;
    let message = format!("{} leads to the receiver, but its certificate expires at {end}: renew it", spec.url);
    Some(Finding::new(true, Reason::CertificateExpiring, message))
}

fn elsewhere(spec: &Spec, problem: &str) -> Finding {
    let message = format!("{} does not lead to the receiver: {problem}; {}", spec.url, remedy(spec));
    Finding::new(false, Reason::UnexpectedResponse, message)
}

fn remedy(spec: &Spec) -> &'static str {
    match spec.endpoint {
        Endpoint::Managed(_) => "route it to the receiver's Service",
        Endpoint::External => "route it to your receiver",
    }
}

/// The finding for an external receiver, from the HTTP status of its response to an unsigned request.
fn external(spec: &Spec, status: u16, certificate_expires: Option<Timestamp>, now: Timestamp) -> Finding {
    let url = &spec.url;
    match answer(status) {
        Answer::Rejected => {
            let message = format!("your receiver at {url} rejects unsigned requests ({status})");
            let reachable = Finding::new(true, Reason::ProbeSucceeded, message);
            expiring(spec, certificate_expires, now).unwrap_or(reachable)
        }
        Answer::Accepted => {
            let message = format!(
                "your receiver at {url} answers {status} to an unsigned request: make it verify x-linktree-signature and answer 401"
            );
            Finding::new(true, Reason::UnsignedAccepted, message)
        }
        Answer::Absent => {
            let message =
                format!("{url} answers {status} to a POST: make your receiver answer 401 to unsigned requests there");
            Finding::new(false, Reason::UnexpectedResponse, message)
        }
    }
}

/// How an external receiver responds to an unsigned request.
enum Answer {
    /// It rejects the request, so it probably verifies signatures.
    Rejected,
    /// It accepts the request, so it does not verify signatures.
    Accepted,
    /// Nothing accepts deliveries at the URL now.
    Absent,
}

fn answer(status: u16) -> Answer {
    match status {
        200..300 => Answer::Accepted,
        404 | 405 | 408 | 410 | 429 => Answer::Absent,
        400..500 => Answer::Rejected,
        0..200 | 300..400 | 500.. => Answer::Absent,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operator::webhook::spec::tests::webhook;

    #[test]
    fn the_status_of_an_external_receivers_response_determines_the_finding() {
        let ours = Spec::parse(&webhook(|_| {})).unwrap();
        let theirs = Spec::parse(&webhook(|object| {
            object["spec"]["endpoint"] =
                json!({"type": "External", "external": {"url": "https://hooks.example.com/in"}});
        }));
        let theirs = theirs.unwrap();
        for (statuses, holds, reason) in [
            (vec![400, 401, 403, 415, 422], true, Reason::ProbeSucceeded),
            (vec![200, 202, 204], true, Reason::UnsignedAccepted),
            (vec![304, 404, 405, 408, 410, 429, 500, 502, 503, 599], false, Reason::UnexpectedResponse),
        ] {
            for status in statuses {
                let probe = ProbeResult::Foreign { status, problem: String::new(), certificate_expires: None };
                let finding = probe_finding(&theirs, &probe, Timestamp::UNIX_EPOCH);
                assert_eq!((finding.holds(), finding.reason), (holds, reason), "{status}");
                let ours = probe_finding(&ours, &probe, Timestamp::UNIX_EPOCH);
                assert!(!ours.holds(), "{status}, instead of the bundled receiver's 401");
            }
        }
    }
}
