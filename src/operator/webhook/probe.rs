//! The outside-in probe: an unsigned request to the public URL must get *our* 401. It is never counted as a delivery,
//! since it carries none of a delivery's headers, and says what it is.

use std::{error::Error, time::Duration};

use async_trait::async_trait;
use url::Url;

use super::observed::ProbeResult;
use crate::route::{RECEIVER_HEADER, UNSIGNED_ANSWER};

/// How long the receiver may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// How much of a foreign answer is read.
const ANSWER_MAX: usize = 1024;

/// Tries a public URL from outside.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Sends one unsigned request to `url`.
    async fn probe(&self, url: &Url) -> ProbeResult;
}

/// A client for probes: it follows no redirect, since Linktree does not either.
#[derive(Clone, Debug)]
pub struct Prober(reqwest::Client);

impl Prober {
    /// # Errors
    /// When the machine has no usable TLS set-up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(DEADLINE)
            // Each probe goes the whole way: name, connection, certificate.
            .pool_max_idle_per_host(0)
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
            Err(error) => classify(&error),
        }
    }
}

async fn judge(mut answer: reqwest::Response) -> ProbeResult {
    let status = answer.status();
    let ours = answer.headers().get(RECEIVER_HEADER).is_some_and(|value| value == "1");
    if status.is_redirection() {
        return ProbeResult::Unexpected { problem: format!("a redirect ({status}), which Linktree does not follow") };
    }
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX {
            break;
        }
    }
    if ours && status == reqwest::StatusCode::UNAUTHORIZED && body == UNSIGNED_ANSWER.as_bytes() {
        ProbeResult::Succeeded
    } else {
        let who = if ours { "a receiver" } else { "something that is not the receiver" };
        ProbeResult::Unexpected { problem: format!("{who} answered {status}") }
    }
}

/// Tells the remedies apart: DNS, TLS, or no connection.
fn classify(error: &reqwest::Error) -> ProbeResult {
    if error.is_timeout() {
        return ProbeResult::ConnectionFailed { problem: format!("no answer within {DEADLINE:?}") };
    }
    let problem = innermost(error);
    let causes = causes(error);
    if causes.iter().any(|cause| cause.contains("dns error")) {
        ProbeResult::DnsFailed { problem }
    } else if causes.iter().any(|cause| cause.contains("certificate") || cause.contains("TLS") || cause.contains("tls"))
    {
        ProbeResult::TlsFailed { problem }
    } else {
        ProbeResult::ConnectionFailed { problem }
    }
}

fn causes(error: &dyn Error) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        chain.push(cause.to_string());
        next = cause.source();
    }
    chain
}

fn innermost(error: &dyn Error) -> String {
    causes(error).pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_without_a_name_and_a_closed_port_have_different_remedies() {
        let prober = Prober::new().unwrap();
        let unknown = prober.probe(&Url::parse("http://receiver.invalid/h/1").unwrap()).await;
        assert!(matches!(unknown, ProbeResult::DnsFailed { .. }), "{unknown:?}");

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/h/1", listener.local_addr().unwrap())).unwrap();
        drop(listener);
        let closed = prober.probe(&url).await;
        assert!(matches!(closed, ProbeResult::ConnectionFailed { .. }), "{closed:?}");
    }
}
