//! A sink behind an HTTP URL: one `POST` per event.

use std::{
    error::Error,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use reqwest::{Certificate, Client, Response, redirect};
use tokio::sync::Semaphore;
use url::Url;

use super::{destination::Destination, failure::Failure, message::Message};
use crate::{
    clock,
    egress::{Denied, Egress, resolver::Resolver},
    jitter,
    receiver::journal::Pending,
    retry_after,
};

/// Most headers of a response; hyper's default of 100 takes a response with more for a broken connection.
const HEADERS_MAX: usize = 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of a response body is read: for the success condition, and so that the connection can be reused.
const ANSWER_MAX: usize = 64 * 1024;

/// The maximum number of sinks that each have a part of the idle connections.
const SINKS: usize = 64;

/// The HTTP client of all sinks.
#[derive(Clone, Debug)]
pub struct Clients {
    client: Arc<RwLock<Client>>,
    egress: Egress,
    /// The number of idle connections to one host that are kept.
    idle_per_host: usize,
    connections: Arc<Semaphore>,
}

impl Clients {
    /// A client that connects only to addresses that `egress` permits, with at most `connections` at once. It follows
    /// neither redirects nor proxy settings: an event is sent to the route's URL only.
    ///
    /// # Errors
    /// If TLS cannot be set up, for example without certificate authorities.
    pub fn new(egress: Egress, connections: usize) -> Result<Self, reqwest::Error> {
        let idle_per_host = connections / SINKS;
        let client = Arc::new(RwLock::new(client(&egress, idle_per_host, Vec::new())?));
        let connections = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        Ok(Clients { client, egress, idle_per_host, connections })
    }

    /// Trusts these authorities besides the public ones, and no longer those of an earlier call. Requests in flight are
    /// not interrupted.
    ///
    /// # Errors
    /// As [`Clients::new`].
    pub fn trust(&self, authorities: Vec<Certificate>) -> Result<(), reqwest::Error> {
        let client = client(&self.egress, self.idle_per_host, authorities)?;
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        Ok(())
    }

    /// The client for `url`. A host that is an address is not resolved, so it is checked here.
    fn of(&self, url: &Url) -> Result<Client, Denied> {
        self.egress.check_literal(url)?;
        Ok(self.client.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn client(egress: &Egress, idle_per_host: usize, authorities: Vec<Certificate>) -> Result<Client, reqwest::Error> {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Resolver::new(egress.clone()))
        .connect_timeout(CONNECT_TIMEOUT)
        .http1_max_headers(HEADERS_MAX)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(idle_per_host)
        .tls_certs_merge(authorities)
        .user_agent(concat!("linktree-operator/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Posts `event` to `destination`.
///
/// # Errors
/// If the event does not fit, the sink does not answer 2xx within its timeout, or the answer does not satisfy the
/// success condition. It may have accepted the event anyway.
pub async fn deliver(clients: &Clients, destination: &Destination, event: &Pending) -> Result<(), Failure> {
    let Message { header, body } = destination.message(event, jitter::bits(), clock::now().as_second())?;
    let request = clients
        .of(destination.url.expose())?
        .post(destination.url.expose().clone())
        .timeout(Duration::from_secs(destination.sink.timeout_seconds.into()))
        .headers(header)
        .body(body);
    // With fewer files than sinks, these wait for each other. The semaphore is never closed.
    let _connection = clients.connections.acquire().await;
    let mut answer = request.send().await.map_err(|error| failure(&error))?;
    let (status, mut body) = (answer.status(), Vec::new());
    let code = status.as_u16();
    let read = read(&mut answer, &mut body).await;
    // A response that trickles is one that hangs: the timeout covers all of it.
    if read.as_ref().is_err_and(reqwest::Error::is_timeout) {
        return Err(Failure::TimedOut);
    }
    let excerpt = || destination.redactor.excerpt(&body);
    if !status.is_success() {
        // The response has arrived, whatever became of its body.
        let retry_after = retry_after::read(answer.headers(), clock::now());
        return Err(Failure::Status { code, retry_after, answer: excerpt() });
    }
    let Some(condition) = &destination.success else { return Ok(()) };
    let checked = match read.map_err(|error| failure(&error))? {
        Read::Whole => condition.check(code, &body),
        Read::TooLong => condition.check(code, b""),
    };
    checked.map_err(|problem| Failure::NotAccepted { code, problem, answer: excerpt() })
}

/// How much of a response's body was read.
enum Read {
    Whole,
    /// It is longer than [`ANSWER_MAX`].
    TooLong,
}

/// Reads the body of a response, at most [`ANSWER_MAX`] bytes of it.
async fn read(answer: &mut Response, body: &mut Vec<u8>) -> Result<Read, reqwest::Error> {
    while let Some(chunk) = answer.chunk().await? {
        let room = ANSWER_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok(Read::TooLong);
        }
    }
    Ok(Read::Whole)
}

fn failure(error: &reqwest::Error) -> Failure {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(denied) = error.downcast_ref::<Denied>() {
            return Failure::from(*denied);
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return Failure::Malformed;
        }
        cause = error.source();
    }
    if error.is_timeout() { Failure::TimedOut } else { Failure::Unreachable }
}
