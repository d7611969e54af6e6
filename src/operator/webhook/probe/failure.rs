//! Why a request got no answer, told apart by who can mend it: DNS, the certificate, or the way to the host.

use std::{error::Error, io};

use jiff::Timestamp;
use rustls::CertificateError;

use crate::operator::webhook::observed::ProbeResult;

/// What failed on the way.
pub(super) fn classify(error: &(dyn Error + 'static)) -> ProbeResult {
    let mut chain = vec![error];
    let mut next = error.source();
    while let Some(cause) = next {
        chain.push(cause);
        next = cause.source();
    }
    let problem = chain.last().map(ToString::to_string).unwrap_or_default();
    if let Some(error) = chain.iter().find_map(|error| tls_error(*error)) {
        return tls(error);
    }
    if chain.iter().any(|error| error.to_string().contains("dns error")) {
        return ProbeResult::DnsFailed { problem };
    }
    ProbeResult::ConnectionFailed { problem }
}

/// TLS speaks through I/O errors, one in another, which do not count what they hold as their source.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    error.downcast_ref().or_else(|| tls_error(error.downcast_ref::<io::Error>()?.get_ref()?))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "these enums are rustls's, and more of either may come")]
fn tls(error: &rustls::Error) -> ProbeResult {
    let rustls::Error::InvalidCertificate(invalid) = error else {
        return ProbeResult::TlsFailed { problem: error.to_string() };
    };
    match invalid {
        CertificateError::ExpiredContext { not_after, .. } => {
            let second = i64::try_from(not_after.as_secs()).ok();
            ProbeResult::CertificateExpired { at: second.and_then(|second| Timestamp::from_second(second).ok()) }
        }
        CertificateError::Expired => ProbeResult::CertificateExpired { at: None },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ProbeResult::CertificateNameMismatch
        }
        // Signed by someone who only has the name of an authority that is known.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => ProbeResult::CertificateUntrusted,
        // Self-signed, as authorities are.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            ProbeResult::CertificateUntrusted
        }
        _ => ProbeResult::TlsFailed { problem: error.to_string() },
    }
}
