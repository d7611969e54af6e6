//! Classifies the error of a failed probe by what a user must fix: DNS, the certificate, or the connection to the host.

use std::{error::Error, io};

use jiff::Timestamp;
use rustls::CertificateError;

use crate::{egress::Denied, operator::webhook::observed::ProbeResult};

/// Classifies the error of a probe's request.
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
    if let Some(Denied { address }) = chain.iter().find_map(|error| error.downcast_ref()) {
        return ProbeResult::AddressDenied { address: *address };
    }
    if chain.iter().any(|error| error.to_string().contains("dns error")) {
        return ProbeResult::DnsFailed { problem };
    }
    ProbeResult::ConnectionFailed { problem }
}

/// Finds a TLS error inside nested I/O errors, whose `source()` skips the error that they wrap.
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
        // With a bad signature, the issuer only has the same name as a trusted CA.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => ProbeResult::CertificateUntrusted,
        // A self-signed certificate, as those of CAs are.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            ProbeResult::CertificateUntrusted
        }
        _ => ProbeResult::TlsFailed { problem: error.to_string() },
    }
}
