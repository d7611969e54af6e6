//! The condition that the result of a probe supports.

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

/// A certificate that ends sooner is told of. What renews certificates does so a month ahead.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The condition `EndpointReachable` as the probe alone supports it.
#[must_use]
pub fn probe_finding(spec: &Spec, probe: &ProbeResult, now: Timestamp) -> Finding {
    let url = &spec.url;
    let fails = |reason, message: String| Finding::new(false, reason, message);
    match probe {
        ProbeResult::NotProbed => Finding::new(Status::Unknown, Reason::NotProbed, format!("{url} was not tried yet")),
        ProbeResult::Succeeded { certificate_expires } => {
            let leads = Finding::new(true, Reason::ProbeSucceeded, format!("{url} leads to the receiver"));
            expiring(spec, *certificate_expires, now).unwrap_or(leads)
        }
        ProbeResult::DnsFailed { problem } => {
            fails(Reason::DNSFailed, format!("the host of {url} does not resolve: {problem}; create its DNS record"))
        }
        ProbeResult::ConnectionFailed { problem } => {
            fails(Reason::ConnectionFailed, format!("no answer from {url}: {problem}; {}", route_it(spec)))
        }
        ProbeResult::CertificateExpired { at } => {
            let since = at.map(|at| format!(" at {at}")).unwrap_or_default();
            let message = format!("the certificate that the host of {url} shows has expired{since}: renew it");
            fails(Reason::CertificateExpired, message)
        }
        ProbeResult::CertificateNameMismatch => fails(
            Reason::CertificateNameMismatch,
            format!("the certificate that the host of {url} shows is for another name: have one made for this host"),
        ),
        ProbeResult::CertificateUntrusted => fails(
            Reason::CertificateUntrusted,
            format!(
                "the certificate that the host of {url} shows is of an authority that is not known here: Linktree needs one of a public authority, with the whole chain"
            ),
        ),
        ProbeResult::TlsFailed { problem } => fails(
            Reason::TLSFailed,
            format!("no TLS connection to {url}: {problem}; Linktree will not deliver to it either"),
        ),
        ProbeResult::Foreign { status, problem, certificate_expires } => match spec.endpoint {
            Endpoint::Managed(_) => elsewhere(spec, problem),
            Endpoint::External => external(spec, *status, *certificate_expires, now),
        },
        ProbeResult::Unexpected { problem } => elsewhere(spec, problem),
    }
}

/// Reachable for a while.
fn expiring(spec: &Spec, end: Option<Timestamp>, now: Timestamp) -> Option<Finding> {
    let end = end.filter(|end| end.duration_since(now) < EXPIRES_SOON)?;
    let message = format!("{} leads to the receiver, until the host's certificate ends at {end}: renew it", spec.url);
    Some(Finding::new(true, Reason::CertificateExpiring, message))
}

fn elsewhere(spec: &Spec, problem: &str) -> Finding {
    let message = format!("something else than the receiver answers at {}: {problem}; {}", spec.url, route_it(spec));
    Finding::new(false, Reason::UnexpectedResponse, message)
}

fn route_it(spec: &Spec) -> &'static str {
    match spec.endpoint {
        Endpoint::Managed(_) => "route it to the receiver's Service",
        Endpoint::External => "route it to your receiver",
    }
}

/// What can be said of somebody's own receiver by its answer to an unsigned request.
fn external(spec: &Spec, status: u16, certificate_expires: Option<Timestamp>, now: Timestamp) -> Finding {
    let url = &spec.url;
    match answer(status) {
        Answer::Refused => {
            let message = format!("your receiver at {url} refuses what is not signed ({status}), as it should");
            let refuses = Finding::new(true, Reason::ProbeSucceeded, message);
            expiring(spec, certificate_expires, now).unwrap_or(refuses)
        }
        Answer::Accepted => {
            let message = format!(
                "your receiver at {url} answers {status} to an unsigned request: have it verify x-linktree-signature and answer 401"
            );
            Finding::new(true, Reason::UnsignedAccepted, message)
        }
        Answer::Absent => {
            let message =
                format!("{url} answers {status} to a POST: have your receiver answer 401 there to what is not signed");
            Finding::new(false, Reason::UnexpectedResponse, message)
        }
    }
}

/// What an answer to an unsigned request makes of somebody's own receiver.
enum Answer {
    /// It is there, and verifies, as far as one can see.
    Refused,
    /// It is there, and does not.
    Accepted,
    /// It is not there, or does not take deliveries now.
    Absent,
}

fn answer(status: u16) -> Answer {
    match status {
        200..300 => Answer::Accepted,
        404 | 405 | 408 | 410 | 429 => Answer::Absent,
        400..500 => Answer::Refused,
        0..200 | 300..400 | 500.. => Answer::Absent,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operator::webhook::spec::tests::webhook;

    #[test]
    fn a_receiver_of_somebodys_own_is_there_if_it_answers_like_one() {
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
                assert!(!ours.holds(), "{status}, where ours should answer");
            }
        }
    }
}
