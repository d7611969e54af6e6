//! Gate in front of the reconcilers: synced caches and leadership.

use tokio_util::sync::CancellationToken;

use crate::operator::{election::leadership::Leadership, watch::caches_synced::CachesSynced};

/// Gate that delays reconciliations until all caches are synced and this process leads. Before the first lists are
/// complete it is unknown which connection a webhook has, and which subscriptions are managed.
#[derive(Clone, Debug)]
pub struct Gate {
    caches: CachesSynced,
    leadership: Leadership,
    shutdown: CancellationToken,
}

impl Gate {
    /// A gate without a shutdown.
    #[must_use]
    pub fn new(caches: CachesSynced, leadership: Leadership) -> Self {
        Gate { caches, leadership, shutdown: CancellationToken::new() }
    }

    /// The same gate, which stops waiting at `shutdown`.
    #[must_use]
    pub fn until(&self, shutdown: &CancellationToken) -> Self {
        Gate { shutdown: shutdown.clone(), ..self.clone() }
    }

    /// Marks the caches of one more scope as synced.
    pub fn mark_synced(&self) {
        self.caches.mark_synced();
    }

    /// Waits until reconciliations may begin; `false` if the process shuts down first.
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
