//! Probes a webhook's public URL with an unsigned request, as seen from outside. The bundled receiver must answer it
//! with its 401 and the proof that it is this webhook's; an external receiver, with a response that shows that it verifies signatures. No receiver counts a
//! probe as a delivery, since a probe identifies itself and lacks the headers of a delivery.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{
    Response, StatusCode,
    header::{HeaderValue, LOCATION},
    tls::TlsInfo,
};
use url::Url;

use super::{challenge::Challenge, observed::ProbeResult};
use crate::{
    egress::{
        Denied,
        outbound::{Outbound, OutboundClient},
    },
    route::{
        RECEIVER_HEADER, UNSIGNED_ANSWER,
        proof::{NONCE_HEADER, Nonce, PROOF_HEADER},
    },
};

mod failure;
pub mod finding;

/// Timeout of one probe.
const DEADLINE: Duration = Duration::from_secs(5);
/// Maximum number of bytes that are read of a response's body.
const ANSWER_MAX: usize = 1024;
/// Maximum number of characters of a redirect's target that a message quotes.
const LOCATION_MAX: usize = 200;

/// Probes public URLs; tests replace it.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Sends one unsigned request to `url`, on a new connection. With a `challenge`, only the receiver that answers it
    /// passes.
    async fn probe(&self, url: &Url, challenge: Option<&Challenge>) -> ProbeResult;
}

/// An HTTP client for probes. It follows no redirects, since Linktree follows none either.
#[derive(Clone, Debug)]
pub struct Prober(OutboundClient);

impl Prober {
    /// Creates a client with these settings.
    ///
    /// # Errors
    /// When TLS cannot be initialized.
    pub fn new(outbound: Outbound) -> Result<Self, reqwest::Error> {
        let builder = || {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(DEADLINE)
                // Connections are not reused, so that each probe checks DNS, connection and certificate.
                .pool_max_idle_per_host(0)
                .tls_info(true)
                .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"), " probe"))
        };
        outbound.client(builder).map(Prober)
    }
}

#[async_trait]
impl Probe for Prober {
    async fn probe(&self, url: &Url, challenge: Option<&Challenge>) -> ProbeResult {
        let client = match self.0.of(url) {
            Ok(client) => client,
            Err(Denied { address }) => return ProbeResult::AddressDenied { address },
        };
        let nonce = Nonce::new(rand::random());
        let request = client.post(url.clone()).header(RECEIVER_HEADER, "1").header(NONCE_HEADER, nonce.to_hex());
        match request.send().await {
            Ok(answer) => {
                judge(answer, |proof| challenge.is_none_or(|it| it.is_met_by(nonce, url.path(), proof))).await
            }
            Err(error) if error.is_timeout() => {
                ProbeResult::ConnectionFailed { problem: format!("no answer within {} s", DEADLINE.as_secs()) }
            }
            Err(error) => failure::classify(&error),
        }
    }
}

async fn judge(mut answer: Response, is_proof: impl FnOnce(&[u8]) -> bool) -> ProbeResult {
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
        let proof = answer.headers().get(PROOF_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
        if is_proof(proof) {
            ProbeResult::Succeeded { certificate_expires }
        } else {
            let problem = if answer.headers().contains_key(PROOF_HEADER) {
                "the receiver of another webhook or cluster answered"
            } else {
                "a receiver answered without a proof: proxies must let the headers x-linktree-probe and \
                 x-linktree-proof pass"
            };
            ProbeResult::Unexpected { problem: problem.to_owned() }
        }
    } else {
        let problem = unexpected(&answer, ours, &body);
        if ours || status.is_redirection() {
            ProbeResult::Unexpected { problem }
        } else {
            ProbeResult::Foreign { status: status.as_u16(), problem, certificate_expires }
        }
    }
}

/// Describes an unexpected response, so that a user can find its source. It does not quote the body, which may belong
/// to a third party.
fn unexpected(answer: &Response, ours: bool, body: &[u8]) -> String {
    let status = answer.status();
    if status.is_redirection() {
        let target = redirect_target(answer);
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

/// The host that a redirect leads to. Its path and query may differ each time, as the state of a login does.
fn redirect_target(answer: &Response) -> String {
    let Some(location) = answer.headers().get(LOCATION) else { return "nowhere".to_owned() };
    let target = answer.url().join(&String::from_utf8_lossy(location.as_bytes()));
    let Ok(target) = target else { return "an invalid URL".to_owned() };
    if target.origin() == answer.url().origin() {
        return "another path of this host".to_owned();
    }
    target.origin().ascii_serialization().chars().take(LOCATION_MAX).collect()
}

/// When the certificate that the host served expires.
fn expiration(tls: &TlsInfo) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(tls.peer_certificate()?).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}
