//! A sink behind an HTTP URL: one `POST` per event.

use std::{error::Error, time::Duration};

use reqwest::{Client, redirect};
use url::Url;

use super::{
    destination::Destination,
    egress::{Denied, Egress, Reach},
    failure::Failure,
    message::Message,
    resolver::Resolver,
};
use crate::{clock, jitter, receiver::journal::Pending, retry_after};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of a response body is read so that the connection can be reused. The content is ignored.
const ANSWER_MAX: usize = 64 * 1024;

/// The HTTP clients of all sinks, one for sinks in the cluster and one for the others: a connection of one kind is
/// never reused for the other.
#[derive(Clone, Debug)]
pub struct Clients {
    cluster: Client,
    public: Client,
    egress: Egress,
}

impl Clients {
    /// Clients that connect only to addresses that `egress` permits. They follow neither redirects nor proxy settings:
    /// an event is sent to the route's URL only.
    ///
    /// # Errors
    /// If TLS cannot be set up, for example without certificate authorities.
    pub fn new(egress: Egress) -> Result<Self, reqwest::Error> {
        let client = |reach| {
            Client::builder()
                .redirect(redirect::Policy::none())
                .no_proxy()
                .dns_resolver(Resolver { egress: egress.clone(), reach })
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(Duration::from_secs(30))
                .user_agent(concat!("linktree-operator/", env!("CARGO_PKG_VERSION")))
                .build()
        };
        Ok(Clients { cluster: client(Reach::Cluster)?, public: client(Reach::Public)?, egress })
    }

    /// The client for `url`. A host that is an address is not resolved, so it is checked here.
    fn of(&self, url: &Url) -> Result<&Client, Denied> {
        self.egress.check_literal(url)?;
        Ok(match Reach::of(url) {
            Reach::Cluster => &self.cluster,
            Reach::Public => &self.public,
        })
    }
}

/// Posts `event` to `destination`.
///
/// # Errors
/// If the event does not fit, or the sink does not answer 2xx within its timeout. It may have accepted the event
/// anyway.
pub async fn deliver(clients: &Clients, destination: &Destination, event: &Pending) -> Result<(), Failure> {
    let Message { header, body } = destination.message(event, jitter::bits(), clock::now().as_second())?;
    let request = clients
        .of(&destination.url)?
        .post(destination.url.clone())
        .timeout(Duration::from_secs(destination.sink.timeout_seconds.into()))
        .headers(header)
        .body(body);
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

fn failure(error: &reqwest::Error) -> Failure {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(denied) = error.downcast_ref::<Denied>() {
            return Failure::from(*denied);
        }
        cause = error.source();
    }
    if error.is_timeout() { Failure::TimedOut } else { Failure::Unreachable }
}
