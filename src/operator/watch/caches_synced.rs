//! Signals that the caches of all scopes are synced, which means that their initial lists are complete.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio_util::sync::CancellationToken;

/// A signal that every scope has completed its initial lists. All are needed, since connections of several scopes may
/// share an account.
///
/// kube's `Store::wait_until_ready` does not serve here: a store wakes only its last waiter, and every reconciliation
/// waits in a task of its own.
#[derive(Clone, Debug)]
pub struct CachesSynced {
    /// The number of scopes that have not completed their initial lists.
    missing: Arc<AtomicUsize>,
    /// Cancelled when `missing` is 0. A token wakes its waiters in the order of their arrival.
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

    /// Records that one more scope has completed its initial lists; call it once per scope.
    pub fn mark_synced(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.cancel();
        }
    }

    pub async fn wait(&self) {
        self.all.cancelled().await;
    }
}
