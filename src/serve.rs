//! A bounded HTTP server: HTTP/1.1 and HTTP/2, over TLS where configured. It limits connections in total and per
//! address, streams, header fields and bytes, and the time for a TLS handshake, a header, idling and shutdown. Limits on
//! request bodies are left to the handlers of the requests.
//!
//! The limit per address counts the TCP peer's address, because a client can write anything into a `Forwarded` header.
//! Behind a proxy, all connections come from the proxy's address, and only the proxy can limit each client.

use std::{convert::Infallible, io, net::SocketAddr};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    service::Service,
};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    gate::{Accepted, Gate},
    idle_timeout::IdleTimeout,
};

mod connection;
mod connection_limit;
mod eviction;
mod gate;
mod idle_timeout;
mod limits;
mod problem;
mod transport;

pub use self::{
    limits::{Limits, WhenFull},
    problem::Problem,
    transport::Transport,
};

/// Number of connections that may wait in the kernel's accept queue. The standard library's 128 are a small burst; for a
/// client beyond them, the next attempt is a second later.
const BACKLOG: u32 = 1024;

/// Binds a port. Connections wait in the accept queue until [`serve`] accepts them.
///
/// # Errors
/// If the address is in use or not of this machine.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart may bind the port although connections of the previous process are still closing.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

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
    let (gate, connections) = (Gate::new(&limits), TaskTracker::new());
    while let Some(accepted) = shutdown.run_until_cancelled(gate.accept(&listener, &report)).await {
        let Accepted { stream, activity, slot } = accepted;
        let (transport, service, report) = (transport.clone(), service.clone(), report.clone());
        let idle_timeout = IdleTimeout::new(limits.header, limits.idle, activity);
        let served =
            connection::serve_connection(stream, transport, service, limits, idle_timeout, report, shutdown.clone());
        connections.spawn(async move {
            tokio::select! {
                () = served => {}
                () = slot.evicted() => {}
            }
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

#[cfg(test)]
mod tests;
