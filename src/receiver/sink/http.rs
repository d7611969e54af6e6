//! A sink behind an HTTP URL: one `POST` per event, CloudEvents in binary mode.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use reqwest::{Client, redirect};

use super::Failure;
use crate::{
    clock,
    receiver::{cloudevent, journal::Pending},
    retry_after,
    route::{Sink, WebhookName},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an answer is read, so that its connection can be used again. Nobody looks at it.
const ANSWER_MAX: usize = 64 * 1024;

/// The client that all sinks share. It follows no redirect and no proxy setting: an event goes where the route says,
/// or nowhere.
///
/// # Errors
/// When TLS cannot be set up, for want of certificate authorities for one.
pub fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent(concat!("linktree-operator/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Posts `event` to `sink`.
///
/// # Errors
/// When the sink did not answer 2xx within its timeout. It may have taken the event all the same.
pub async fn deliver(client: &Client, webhook: &WebhookName, sink: &Sink, event: &Pending) -> Result<(), Failure> {
    let request = client
        .post(sink.url.clone())
        .timeout(Duration::from_secs(sink.timeout_seconds.into()))
        .headers(header(webhook, sink, event))
        .body(event.body.clone());
    let mut answer = request.send().await.map_err(|error| failure(&error))?;
    let status = answer.status();
    let outcome = if status.is_success() {
        Ok(())
    } else {
        let retry_after = retry_after::read(answer.headers(), clock::now());
        Err(Failure::Status { code: status.as_u16(), retry_after })
    };
    let mut left = ANSWER_MAX;
    while let Ok(Some(chunk)) = answer.chunk().await {
        let Some(rest) = left.checked_sub(chunk.len()) else { break };
        left = rest;
    }
    outcome
}

fn header(webhook: &WebhookName, sink: &Sink, event: &Pending) -> HeaderMap {
    let mut header = cloudevent::header(webhook, event);
    let bearer =
        sink.bearer.as_ref().and_then(|token| HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok());
    if let Some(mut bearer) = bearer {
        bearer.set_sensitive(true);
        header.insert(AUTHORIZATION, bearer);
    }
    header
}

fn failure(error: &reqwest::Error) -> Failure {
    if error.is_timeout() { Failure::TimedOut } else { Failure::Unreachable }
}
