//! Serves HTTP/1.1 and HTTP/2, over TLS where asked, with a limit on everything: connections in all and from one address, streams, header
//! count and size, time for a TLS handshake, to send a header, to be silent and to finish at shutdown. It knows nothing of what is served;
//! limits on bodies belong to the service, which knows them.
//!
//! An address is the peer's: what a header says of who stands behind a proxy is anybody's word. Behind a proxy,
//! connections are the proxy's, and limits per client are the proxy's to set.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    service::Service,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::addresses::{Addresses, Guest};

mod activity;
mod addresses;
mod connection;

/// After a failed accept (no file descriptors left, for one) the next try waits this long, or it would spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// What carries HTTP.
#[derive(Clone)]
pub enum Transport {
    /// Bare TCP. The first bytes tell the version of HTTP.
    Tcp,
    /// TLS. The version of HTTP is the one that was agreed on (ALPN), 1.1 where nothing was.
    Tls(TlsAcceptor),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "Tcp",
            Transport::Tls(_) => "Tls",
        })
    }
}

/// What a server allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; further ones wait in the kernel's backlog.
    pub connections: usize,
    /// Of these, how many one address may have; further ones are closed at once.
    pub connections_per_address: usize,
    /// How many requests an HTTP/2 connection may make at once; 0 means that HTTP/2 is not spoken.
    pub streams: u32,
    /// How long a TLS handshake may take. A connection has its place from before it on.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its header, which is found out within another of it. Also bounds how
    /// long a new connection may say nothing, and how long answers may wait to be taken.
    pub header: Duration,
    /// How long a connection may be silent between two requests.
    pub idle: Duration,
    /// How many header fields one request may have. HTTP/2 counts only bytes.
    pub header_fields: usize,
    /// How large one request's header may be; more is answered 431.
    pub header_bytes: usize,
    /// How long requests that are already being answered may take to finish once shutdown has begun.
    pub drain: Duration,
}

/// Serves until `shutdown`, then stops accepting, lets requests in flight finish for [`Limits::drain`], and returns
/// when the last connection is closed.
pub async fn serve<S, B>(
    listener: TcpListener,
    transport: Transport,
    service: S,
    limits: Limits,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Error: std::error::Error + Send + Sync> + Send + 'static,
    B::Data: Send,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    let addresses = Addresses::default();
    let connections = TaskTracker::new();
    let most = limits.connections_per_address;
    while let Some((stream, place)) = shutdown.run_until_cancelled(accept(&listener, &slots, &addresses, most)).await {
        let conversation = connection::converse(stream, transport.clone(), service.clone(), limits, shutdown.clone());
        connections.spawn(async move {
            conversation.await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// A connection's place among all of them and among those of its address, until it is dropped.
type Place = (Option<OwnedSemaphorePermit>, Guest);

/// The next connection that may stay, once there is a slot for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    addresses: &Addresses,
    most: usize,
) -> (TcpStream, Place) {
    // The semaphore is never closed, so there always is a permit in the end.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match addresses.enter(peer.ip(), most) {
                Some(guest) => return (stream, (slot, guest)),
                None => tracing::debug!(address = %peer.ip(), "a connection too many from one address"),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
