//! Reports when the caches of all scopes are filled.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio_util::sync::CancellationToken;

/// Set once every scope has listed all of its objects: connections of several scopes may share an account.
///
/// This is not the readiness of kube's stores: a store wakes only its last waiter, and reconciliations are tasks of their
/// own.
#[derive(Clone, Debug)]
pub struct CachesSynced {
    /// Scopes that have not finished their first lists.
    missing: Arc<AtomicUsize>,
    /// Cancelled when none is missing: wakes the waiters in the order they came.
    all: CancellationToken,
}

impl CachesSynced {
    #[must_use]
    pub fn new(scopes: usize) -> Self {
        CachesSynced { missing: Arc::new(AtomicUsize::new(scopes)), all: CancellationToken::new() }
    }

    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.all.is_cancelled()
    }

    /// One more scope has finished its first lists.
    pub fn mark_synced(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.cancel();
        }
    }

    pub async fn wait(&self) {
        self.all.cancelled().await;
    }
}
