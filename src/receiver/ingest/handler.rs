//! Answers requests to the delivery port: parses the header, reads the body within limits, verifies and stores the
//! delivery, and only then answers 200. One instance serves all connections.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header::HOST, request::Parts,
    uri::Authority,
};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{sleep, timeout};

use super::{
    admit::{self, Credentials},
    body_budget::{BodyBudget, BodyPermit},
    codings, discard,
    event::Event,
    verdict::Verdict,
};
use crate::{
    clock,
    linktree::headers,
    memory_limit,
    receiver::{
        config::{Config, Current},
        journal::{self, Journal, JournalError},
        stats::counters::DeliveryStats,
    },
    route::{
        self,
        proof::{NONCE_HEADER, Nonce, PROOF_HEADER},
    },
};

/// Timeout of an append. A disk that is slower does not answer before the sender gives up.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Delay before a 503 under overload, so that clients that retry at once do not crowd out accepted requests: a 503
/// costs nearly half as much as an accepted delivery.
const OVERLOAD_DELAY: Duration = Duration::from_millis(15);

/// Accepts deliveries.
#[derive(Clone)]
pub struct Handler {
    config: Current,
    journal: Arc<dyn Journal>,
    stats: Arc<DeliveryStats>,
    bodies: Arc<BodyBudget>,
    /// The largest body that the memory limit permits.
    largest_body: u64,
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler").field("bodies", &self.bodies).finish_non_exhaustive()
    }
}

impl Handler {
    #[must_use]
    pub fn new(config: Current, journal: Arc<dyn Journal>, stats: Arc<DeliveryStats>) -> Self {
        Handler { config, journal, stats, bodies: Arc::default(), largest_body: memory_limit::largest_body() }
    }

    /// Answers one request and counts it. A body that was not read is discarded after the answer.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, mut body) = request.into_parts();
        let config = self.config.borrow().clone();
        let (verdict, on_path) = match address(&head, config.as_deref()) {
            Ok(config) => match self.deliver(config, &head.headers, &mut body).await {
                Ok(verdict) | Err(verdict) => (verdict, true),
            },
            Err(early) => early,
        };
        if verdict == Verdict::MissingHeader && is_probe(&head.headers) {
            self.stats.probed();
        } else {
            let delivery_id = head.headers.get(headers::DELIVERY_ID).map(HeaderValue::as_bytes);
            self.stats.answered(verdict, delivery_id, clock::now().as_second(), clock::monotonic());
        }
        discard::discard(body, &head.headers, verdict);
        let mut response = verdict.response(on_path);
        if verdict == Verdict::MissingHeader
            && let Some(proof) = config.as_deref().and_then(|config| proof(config, &head.headers))
        {
            response.headers_mut().insert(HeaderName::from_static(PROOF_HEADER), proof);
        }
        response
    }

    /// Processes a delivery. `Err` is a verdict too: it ends the processing early.
    async fn deliver(&self, config: &Config, header: &HeaderMap, body: &mut Incoming) -> Result<Verdict, Verdict> {
        let route = &config.route;
        let credentials = Credentials::read(header, config.window, clock::now())?;
        if codings::is_encoded(header) {
            return Err(Verdict::Encoded);
        }
        if route.keys.is_empty() {
            return Err(Verdict::NotConfigured);
        }
        // A body that the journal has no capacity for is not read.
        let appending = &self.stats.metrics().appending;
        if appending.get() >= journal::QUEUE_CAPACITY as i64 {
            sleep(OVERLOAD_DELAY).await;
            return Err(Verdict::Overloaded);
        }
        let limit = route.max_body_bytes.min(self.journal.body_limit()).min(self.largest_body);
        let BodyPermit { bytes, permit: _permit } = self.bodies.read(body, limit).await?;
        let now = clock::now();
        let mut event = admit::admit(&route.keys, config.window, &credentials, bytes, now)?;
        event.body = config.redaction.apply(event.body);
        self.stats.verified(&event.key, event.sent_at, event.received_at);
        let unknown = (!event.event_type.is_known()).then(|| event.event_type.clone());
        let verdict = self.append(event).await?;
        if let Some(event_type) = unknown.filter(|_| verdict.is_stored()) {
            self.stats.unknown_type(&event_type, now.as_second(), clock::monotonic());
        }
        Ok(verdict)
    }

    async fn append(&self, event: Event) -> Result<Verdict, Verdict> {
        let _appending = Appending::begin(&self.stats.metrics().appending);
        let appended = timeout(JOURNAL_TIMEOUT, self.journal.append(event)).await;
        Ok(appended.unwrap_or(Err(JournalError::Overloaded)).into())
    }
}

/// The configuration, if the request is addressed to its route; otherwise the verdict, and whether the request is on the
/// route's path.
fn address<'a>(head: &Parts, config: Option<&'a Config>) -> Result<&'a Config, (Verdict, bool)> {
    if head.version == Version::HTTP_11 && !has_host(&head.headers) {
        return Err((Verdict::BadHost, false));
    }
    if codings::is_transfer_encoded(&head.headers) {
        return Err((Verdict::TransferEncoded, false));
    }
    let config = config.ok_or((Verdict::NotConfigured, false))?;
    if head.uri.path() != config.route.path {
        return Err((Verdict::NotFound, false));
    }
    if head.method != Method::POST {
        return Err((Verdict::MethodNotAllowed, true));
    }
    Ok(config)
}

/// Whether there is exactly one `Host`, and it is empty or a host with an optional port. A proxy may interpret any
/// other request differently (RFC 9112, section 3.2).
fn has_host(header: &HeaderMap) -> bool {
    let mut hosts = header.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let names_one = |host: &str| !host.contains('@') && host.parse::<Authority>().is_ok();
    host.is_empty() || host.to_str().is_ok_and(names_one)
}

/// Counts a delivery that waits for the journal until it is dropped, also when the sender disconnects.
struct Appending<'a>(&'a Gauge);

impl<'a> Appending<'a> {
    fn begin(count: &'a Gauge) -> Self {
        count.inc();
        Appending(count)
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Whether this is the operator's probe. An attacker can send the same header; its request is then not counted as one
/// with a missing signature.
fn is_probe(header: &HeaderMap) -> bool {
    header.contains_key(route::RECEIVER_HEADER)
}

/// The proof that this is the route's receiver, if the request is a probe that asks for one.
fn proof(config: &Config, header: &HeaderMap) -> Option<HeaderValue> {
    let nonce = Nonce::from_hex(header.get(NONCE_HEADER)?.as_bytes())?;
    HeaderValue::try_from(nonce.proof(&config.route.probe_key, &config.route.path, &config.digest)).ok()
}

#[cfg(test)]
mod tests;
