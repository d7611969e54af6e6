//! Gate in front of the reconcilers: opens once the caches are synced and this process leads.

use tokio_util::sync::CancellationToken;

use crate::operator::{election::leadership::Leadership, watch::caches_synced::ScopeSynced};

/// Gate that holds a scope's reconciliations until its caches are synced, every other scope is known, and this process
/// leads. Before the initial lists are complete, it is unknown which webhooks use a connection, and which of its
/// subscriptions are managed.
#[derive(Clone, Debug)]
pub struct Gate {
    caches: ScopeSynced,
    leadership: Leadership,
    shutdown: CancellationToken,
}

impl Gate {
    /// A gate whose waits end at `shutdown`.
    #[must_use]
    pub fn new(caches: ScopeSynced, leadership: Leadership, shutdown: CancellationToken) -> Self {
        Gate { caches, leadership, shutdown }
    }

    /// Waits until the gate opens; `false` if the process shuts down first.
    pub async fn passed(&self) -> bool {
        let open = async {
            self.caches.wait().await;
            self.leadership.acquired().await;
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => false,
            () = open => true,
        }
    }
}
