//! What a reconciliation waits for before it begins.

use tokio_util::sync::CancellationToken;

use crate::operator::{election::leadership::Leadership, watch::caches_synced::CachesSynced};

/// Holds reconciliations back until all caches are synced and this process leads. Before the first lists are complete it
/// is unknown which connection a webhook has, and which subscriptions are managed.
#[derive(Clone, Debug)]
pub struct Gate {
    caches: CachesSynced,
    leadership: Leadership,
    shutdown: CancellationToken,
}

impl Gate {
    #[must_use]
    pub fn new(caches: CachesSynced, leadership: Leadership) -> Self {
        Gate { caches, leadership, shutdown: CancellationToken::new() }
    }

    /// The same gate, which a shutdown ends.
    #[must_use]
    pub fn until(&self, shutdown: &CancellationToken) -> Self {
        Gate { shutdown: shutdown.clone(), ..self.clone() }
    }

    /// One more scope has filled its caches.
    pub fn mark_synced(&self) {
        self.caches.mark_synced();
    }

    /// Waits until a reconciliation may begin; `false` if the process ends instead.
    pub async fn passed(&self) -> bool {
        let begun = async {
            self.caches.wait().await;
            self.leadership.begun().await;
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => false,
            () = begun => true,
        }
    }
}
