//! A bounded HTTP server for a port that is open to the internet: HTTP/1.1 and HTTP/2, over TLS where configured. It
//! limits connections in total and per address, streams, header fields and bytes, and the time for a TLS handshake, a
//! header, idling and shutdown. Limits on request bodies are left to the handlers of the requests.
//!
//! The limit per address counts the TCP peer's address, because a client can write anything into a `Forwarded` header.
//! Behind a proxy, all connections come from the proxy's address, and only the proxy can limit each client.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    service::Service,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::connection_limit::{ConnectionGuard, ConnectionLimit};

mod connection;
mod connection_limit;
mod idle_timeout;
mod limits;
mod problem;
mod transport;

pub use self::{limits::Limits, problem::Problem, transport::Transport};

/// Pause after a failed accept, for example without a free file descriptor; without the pause the loop would spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then stops accepting, gives requests in flight [`Limits::drain`] to finish, and returns
/// when the last connection is closed. `report` is called for each [`Problem`], as often as senders cause one.
pub async fn serve<S, B>(
    listener: TcpListener,
    transport: Transport,
    service: S,
    limits: Limits,
    report: impl Fn(Problem) + Clone + Send + Sync + 'static,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Error: std::error::Error + Send + Sync> + Send + 'static,
    B::Data: Send,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    let per_address = ConnectionLimit::new(limits.connections_per_address);
    let connections = TaskTracker::new();
    while let Some((stream, slot)) =
        shutdown.run_until_cancelled(accept(&listener, &slots, &per_address, &report)).await
    {
        let (transport, service, report) = (transport.clone(), service.clone(), report.clone());
        let served = connection::serve_connection(stream, transport, service, limits, report, shutdown.clone());
        connections.spawn(async move {
            served.await;
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// A connection's share of both limits, in total and per address; dropping it releases both.
type Slot = (Option<OwnedSemaphorePermit>, ConnectionGuard);

/// Waits until the total is below its limit, then accepts the next connection whose address is below its own.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    per_address: &ConnectionLimit,
    report: &impl Fn(Problem),
) -> (TcpStream, Slot) {
    // `acquire_owned` fails only for a closed semaphore, and this one is never closed.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match per_address.try_acquire(peer.ip()) {
                Some(guard) => return (stream, (slot, guard)),
                None => tracing::debug!(address = %peer.ip(), "connection rejected: limit per address reached"),
            },
            Err(error) => {
                report(Problem::Accept(error));
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
