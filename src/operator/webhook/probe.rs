//! Probes the public URL from outside: an unsigned request must get the 401 of the bundled receiver, or, from an
//! external receiver, a response that shows that it verifies signatures. A receiver never counts a probe as a delivery,
//! since a probe has none of a delivery's headers, and identifies itself.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Certificate, Response, StatusCode, header::LOCATION, tls::TlsInfo};
use url::Url;

use super::observed::ProbeResult;
use crate::route::{RECEIVER_HEADER, UNSIGNED_ANSWER};

mod failure;
pub mod finding;

/// Timeout of a probe.
const DEADLINE: Duration = Duration::from_secs(5);
/// The maximum number of bytes that are read of a response.
const ANSWER_MAX: usize = 1024;
/// The maximum number of characters of a redirect's target in a message.
const LOCATION_MAX: usize = 200;

/// A probe of a public URL.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Sends one unsigned request to `url`.
    async fn probe(&self, url: &Url) -> ProbeResult;
}

/// An HTTP client for probes. It follows no redirects, since Linktree does not either.
#[derive(Clone, Debug)]
pub struct Prober(reqwest::Client);

impl Prober {
    /// Creates a client that trusts these CAs and those of the system.
    ///
    /// # Errors
    /// When TLS cannot be initialized.
    pub fn new(authorities: Vec<Certificate>) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(DEADLINE)
            // No connection is reused, so that each probe checks DNS, connection and certificate.
            .pool_max_idle_per_host(0)
            .tls_certs_merge(authorities)
            .tls_info(true)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"), " probe"))
            .build()?;
        Ok(Prober(client))
    }
}

#[async_trait]
impl Probe for Prober {
    async fn probe(&self, url: &Url) -> ProbeResult {
        match self.0.post(url.clone()).header(RECEIVER_HEADER, "1").send().await {
            Ok(answer) => judge(answer).await,
            Err(error) if error.is_timeout() => {
                ProbeResult::ConnectionFailed { problem: format!("no answer within {} s", DEADLINE.as_secs()) }
            }
            Err(error) => failure::classify(&error),
        }
    }
}

async fn judge(mut answer: Response) -> ProbeResult {
    let status = answer.status();
    let certificate_expires = answer.extensions().get::<TlsInfo>().and_then(expiration);
    let ours = answer.headers().get(RECEIVER_HEADER).is_some_and(|value| value == "1");
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX {
            break;
        }
    }
    if ours && status == StatusCode::UNAUTHORIZED && body == UNSIGNED_ANSWER.as_bytes() {
        ProbeResult::Succeeded { certificate_expires }
    } else {
        let problem = unexpected(&answer, ours, &body);
        if ours || status.is_redirection() {
            ProbeResult::Unexpected { problem }
        } else {
            ProbeResult::Foreign { status: status.as_u16(), problem, certificate_expires }
        }
    }
}

/// Describes an unexpected response, so that a user can find its source. It quotes nothing of the body, which may
/// belong to a third party.
fn unexpected(answer: &Response, ours: bool, body: &[u8]) -> String {
    let status = answer.status();
    if status.is_redirection() {
        let location = answer.headers().get(LOCATION).map(|value| value.as_bytes().escape_ascii().to_string());
        let target = location.map_or("nowhere".to_owned(), |location| location.chars().take(LOCATION_MAX).collect());
        return format!("a redirect ({status}) to {target}, which Linktree does not follow");
    }
    if ours {
        return format!("a receiver answered {status}, but not this webhook's");
    }
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        return format!("{status} from a server or proxy that asks for credentials, which Linktree does not have");
    }
    let start = String::from_utf8_lossy(body).trim_start().to_ascii_lowercase();
    let page = start.starts_with("<!doctype html") || start.starts_with("<html");
    format!("{status} with {} that is not the receiver's", if page { "an HTML page" } else { "an answer" })
}

/// The expiry time of the certificate that the host served.
fn expiration(tls: &TlsInfo) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(tls.peer_certificate()?).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}
