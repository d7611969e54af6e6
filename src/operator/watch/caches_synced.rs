//! Signals that the caches of a scope are synced, which means that their initial lists are complete, and that the caches
//! of all other scopes are synced or cannot be.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio_util::sync::CancellationToken;

/// A signal that every scope is known: it has completed its initial lists, or the API server refuses them.
///
/// All scopes are waited for, since connections of several scopes may share an account. One that is refused does not
/// hold up the others.
///
/// kube's `Store::wait_until_ready` does not serve here: a store wakes only its last waiter, and every reconciliation
/// waits in a task of its own.
#[derive(Clone, Debug)]
pub struct CachesSynced {
    /// The number of scopes that are not known yet.
    missing: Arc<AtomicUsize>,
    /// The number of scopes that the API server refuses now.
    refused: Arc<AtomicUsize>,
    /// Cancelled when `missing` is 0. A token wakes its waiters in the order of their arrival.
    all: CancellationToken,
}

impl CachesSynced {
    #[must_use]
    pub fn new(scopes: usize) -> Self {
        let missing = Arc::new(AtomicUsize::new(scopes));
        CachesSynced { missing, refused: Arc::default(), all: CancellationToken::new() }
    }

    /// Whether every scope is known.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.all.is_cancelled()
    }

    /// Whether the API server refuses to let this process read one of the scopes.
    #[must_use]
    pub fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire) > 0
    }

    /// The signal of one more scope; call it once per scope.
    #[must_use]
    pub fn scope(&self) -> ScopeSynced {
        ScopeSynced { all: self.clone(), known: Arc::default(), synced: CancellationToken::new() }
    }
}

/// A signal that one scope has completed its initial lists, and that every other scope is known. Clones share it.
#[derive(Clone, Debug)]
pub struct ScopeSynced {
    all: CachesSynced,
    /// Whether this scope counts as known.
    known: Arc<AtomicBool>,
    synced: CancellationToken,
}

impl ScopeSynced {
    /// Records that the scope has completed its initial lists.
    pub fn mark_synced(&self) {
        self.synced.cancel();
        self.mark_known();
    }

    /// Records that the API server refuses to let this process read the scope.
    pub fn mark_refused(&self) {
        self.all.refused.fetch_add(1, Ordering::AcqRel);
        self.mark_known();
    }

    /// Records that a refused scope can be read again.
    pub fn mark_readable(&self) {
        self.all.refused.fetch_sub(1, Ordering::AcqRel);
    }

    fn mark_known(&self) {
        let first = !self.known.swap(true, Ordering::AcqRel);
        if first && self.all.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.all.cancel();
        }
    }

    /// Waits until this scope is synced and every other one is known.
    pub async fn wait(&self) {
        self.all.all.cancelled().await;
        self.synced.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn is_open(scope: &ScopeSynced) -> bool {
        scope.wait().now_or_never().is_some()
    }

    #[test]
    fn a_refused_scope_holds_up_itself_only() {
        let all = CachesSynced::new(2);
        let (healthy, refused) = (all.scope(), all.scope());
        healthy.mark_synced();
        assert!(!is_open(&healthy) && !all.is_synced(), "nothing is known of the other scope");
        refused.mark_refused();
        assert!(is_open(&healthy) && !is_open(&refused) && all.is_synced() && all.has_refused());
        refused.mark_readable();
        refused.mark_synced();
        assert!(is_open(&refused) && !all.has_refused());
    }
}
