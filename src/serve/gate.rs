//! Accepts connections within the limits of the server.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::yield_now,
};
use tokio_util::sync::CancellationToken;

use super::{
    connection_limit::{ConnectionGuard, ConnectionLimit},
    eviction::{OpenConnections, OpenGuard},
    idle_timeout::Activity,
    limits::{Limits, WhenFull},
    problem::Problem,
};

/// Pause after a failed accept, for example without a free file descriptor; without the pause the loop would spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The limits on open connections.
pub(super) struct Gate {
    slots: Arc<Semaphore>,
    rule: Rule,
}

/// The rule for a connection beyond the limits.
enum Rule {
    Wait(ConnectionLimit),
    CloseOldest(OpenConnections),
}

/// An accepted connection.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) activity: Arc<Activity>,
    pub(super) slot: Slot,
}

/// A connection's share of the limits, which dropping it releases.
pub(super) struct Slot {
    _total: Option<OwnedSemaphorePermit>,
    _guard: Guard,
    evicted: Option<CancellationToken>,
}

enum Guard {
    PerAddress { _guard: ConnectionGuard },
    Open { _guard: OpenGuard },
}

impl Slot {
    /// Returns when the connection must make room for a newer one.
    pub(super) async fn evicted(&self) {
        match &self.evicted {
            Some(evicted) => evicted.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

impl Gate {
    pub(super) fn new(limits: &Limits) -> Self {
        let (max, per_address) = (limits.connections.max(1), limits.connections_per_address.max(1));
        let rule = match limits.when_full {
            WhenFull::Wait => Rule::Wait(ConnectionLimit::new(per_address)),
            WhenFull::CloseOldest => Rule::CloseOldest(OpenConnections::new(max, per_address)),
        };
        Gate { slots: Arc::new(Semaphore::new(max)), rule }
    }

    /// Accepts the next connection that the limits allow.
    pub(super) async fn accept(&self, listener: &TcpListener, report: &impl Fn(Problem)) -> Accepted {
        match &self.rule {
            Rule::Wait(per_address) => {
                let total = self.slot().await;
                loop {
                    let (stream, address) = accept(listener, report).await;
                    match per_address.try_acquire(address) {
                        Some(guard) => {
                            let slot =
                                Slot { _total: total, _guard: Guard::PerAddress { _guard: guard }, evicted: None };
                            return Accepted { stream, activity: Arc::default(), slot };
                        }
                        None => tracing::debug!(%address, "connection rejected: limit per address reached"),
                    }
                }
            }
            Rule::CloseOldest(connections) => {
                // Connections that have just been accepted run first: one that has sent its request is answered before
                // newer ones can evict it.
                yield_now().await;
                let (stream, address) = accept(listener, report).await;
                let activity = Arc::default();
                let (guard, evicted) = connections.enter(address, Arc::clone(&activity));
                // Waits for the end of an evicted connection.
                let total = self.slot().await;
                let slot = Slot { _total: total, _guard: Guard::Open { _guard: guard }, evicted: Some(evicted) };
                Accepted { stream, activity, slot }
            }
        }
    }

    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        // `acquire_owned` fails only for a closed semaphore, and this one is never closed.
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }
}

async fn accept(listener: &TcpListener, report: &impl Fn(Problem)) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip()),
            Err(error) => {
                report(Problem::Accept(error));
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}
