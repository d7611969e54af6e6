//! Answers requests to the delivery port: looks at the header, reads the body within bounds, has it verified and kept,
//! and only then says 200. One instance serves all connections.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, Version,
    header::{CONTENT_ENCODING, HOST},
    uri::Authority,
};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{sleep, timeout};

use super::{
    admit::{self, Credentials},
    body_budget::{BodyBudget, BodyPermit},
    verdict::Verdict,
};
use crate::{
    clock,
    receiver::{
        config::{Config, Current},
        journal::{self, Journal, JournalError},
        stats::counters::DeliveryStats,
    },
    route,
    serve::Limits,
};

/// What the delivery port allows.
pub const LIMITS: Limits = Limits {
    connections: 1024,
    connections_per_address: 512,
    streams: 64,
    handshake: Duration::from_secs(10),
    header: Duration::from_secs(15),
    // Longer than proxies keep theirs (60 s is common): so they let go first, and no delivery meets a close.
    idle: Duration::from_secs(120),
    header_fields: 64,
    header_bytes: 16 * 1024,
    drain: Duration::from_secs(15),
};
/// A disk that does not answer within this will not answer before the sender gives up.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How much later who is refused for want of room is told. To refuse costs nearly half of what it costs to accept: whoever
/// then asks again at once would take it from those who were accepted.
const OVERLOAD_DELAY: Duration = Duration::from_millis(15);

/// Takes deliveries in.
#[derive(Clone)]
pub struct Handler {
    config: Current,
    journal: Arc<dyn Journal>,
    stats: Arc<DeliveryStats>,
    bodies: Arc<BodyBudget>,
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler").field("bodies", &self.bodies).finish_non_exhaustive()
    }
}

impl Handler {
    #[must_use]
    pub fn new(config: Current, journal: Arc<dyn Journal>, stats: Arc<DeliveryStats>) -> Self {
        Handler { config, journal, stats, bodies: Arc::default() }
    }

    /// Answers one request and keeps account of it.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.version() == Version::HTTP_11 && !has_host(request.headers()) {
            return self.account(Verdict::BadHost).response(false);
        }
        let config = self.config.borrow().clone();
        let Some(config) = config else { return self.account(Verdict::NotConfigured).response(false) };
        if request.uri().path() != config.route.path {
            return self.account(Verdict::NotFound).response(false);
        }
        if request.method() != Method::POST {
            return self.account(Verdict::MethodNotAllowed).response(true);
        }
        let (head, body) = request.into_parts();
        let verdict = match self.deliver(&config, &head.headers, body).await {
            Ok(verdict) | Err(verdict) => verdict,
        };
        if verdict == Verdict::MissingHeader && is_probe(&head.headers) {
            self.stats.probed();
        } else {
            self.account(verdict);
        }
        verdict.response(true)
    }

    /// What becomes of a delivery. `Err` ends it early; it is a verdict like any other.
    async fn deliver(&self, config: &Config, header: &HeaderMap, body: Incoming) -> Result<Verdict, Verdict> {
        let route = &config.route;
        let credentials = Credentials::read(header)?;
        if header
            .get_all(CONTENT_ENCODING)
            .iter()
            .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            return Err(Verdict::Encoded);
        }
        if route.keys.is_empty() {
            return Err(Verdict::NotConfigured);
        }
        // What the journal could not take anyway is not read.
        let appending = &self.stats.metrics().appending;
        if appending.get() >= journal::WAITING as i64 {
            sleep(OVERLOAD_DELAY).await;
            return Err(Verdict::Overloaded);
        }
        let BodyPermit { bytes, permit: _permit } = self.bodies.read(body, route.max_body_bytes).await?;
        let now = clock::now();
        let mut event = admit::admit(&route.keys, config.window, &credentials, bytes, now)?;
        event.body = config.redaction.apply(event.body);
        self.stats.verified(&event.key, event.sent_at, event.received_at);
        if !event.event_type.is_known() {
            self.stats.unknown_type(&event.event_type, clock::monotonic());
        }
        let _appending = Appending::begin(appending);
        let appended = timeout(JOURNAL_TIMEOUT, self.journal.append(event)).await;
        Ok(appended.unwrap_or(Err(JournalError::Overloaded)).into())
    }

    fn account(&self, verdict: Verdict) -> Verdict {
        self.stats.answered(verdict, clock::now().as_second(), clock::monotonic());
        verdict
    }
}

/// Whether there is one `Host`, and it is empty or a host with or without a port: anything else is understood in one way
/// here and in another by a proxy (RFC 9112, section 3.2).
fn has_host(header: &HeaderMap) -> bool {
    let mut hosts = header.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let names_one = |host: &str| !host.contains('@') && host.parse::<Authority>().is_ok();
    host.is_empty() || host.to_str().is_ok_and(names_one)
}

/// A delivery that waits for the journal, until it is dropped: also when whoever sent it hangs up.
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

/// The operator's own look from outside. An attacker may say so too, and is then not counted as a sender who forgot to
/// sign.
fn is_probe(header: &HeaderMap) -> bool {
    header.contains_key(route::RECEIVER_HEADER)
}

#[cfg(test)]
mod tests;
