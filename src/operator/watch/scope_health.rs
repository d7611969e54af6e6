//! Whether the API server lets this process read a scope. A namespace that is being deleted loses its Roles before its
//! webhooks, and one that does not exist has none: its watches are refused, and the other scopes must not notice.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::runtime::watcher;
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::CancellationToken;

use super::{caches_synced::ScopeSynced, observed_versions::Kind};

/// The kinds that the API server refuses to list or watch in one scope. Clones share it.
#[derive(Clone, Debug)]
pub struct ScopeHealth {
    /// The name of the scope in logs.
    scope: Arc<str>,
    refused: Arc<Mutex<HashSet<Kind>>>,
    synced: ScopeSynced,
    /// 1 while every kind can be read.
    readable: Gauge,
    connections_refused: CancellationToken,
}

impl ScopeHealth {
    /// The health of a scope that no watch has read yet.
    #[must_use]
    pub fn new(scope: &str, synced: ScopeSynced, readable: Gauge) -> Self {
        readable.set(1);
        ScopeHealth {
            scope: scope.into(),
            refused: Arc::default(),
            synced,
            readable,
            connections_refused: CancellationToken::new(),
        }
    }

    /// Records that a watch failed. Returns whether the API server has refused it: this is logged once per scope, with
    /// the first kind that is refused.
    pub fn watch_failed(&self, kind: Kind, error: &watcher::Error) -> bool {
        if !is_refusal(error) {
            return false;
        }
        let mut refused = self.refused();
        if refused.is_empty() {
            tracing::warn!(namespace = &*self.scope, ?kind, %error, "namespace cannot be read, retrying");
            self.readable.set(0);
            self.synced.mark_refused();
        }
        refused.insert(kind);
        if kind == Kind::LinktreeConnection {
            self.connections_refused.cancel();
        }
        true
    }

    /// Records that a list of this kind is complete, or that its watch has reported a change.
    pub fn watch_works(&self, kind: Kind) {
        let mut refused = self.refused();
        if refused.remove(&kind) && refused.is_empty() {
            tracing::info!(namespace = &*self.scope, "namespace can be read again");
            self.readable.set(1);
            self.synced.mark_readable();
        }
    }

    /// Whether any kind is refused now.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.refused().is_empty()
    }

    /// Waits until a watch of connections is refused.
    pub async fn connections_refused(&self) {
        self.connections_refused.cancelled().await;
    }

    fn refused(&self) -> MutexGuard<'_, HashSet<Kind>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the API server has answered 403. It also answers so for a namespace that does not exist, unless a ClusterRole
/// covers it.
pub(super) fn is_refusal(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code == 403,
        watcher::Error::WatchError(status) => status.code == 403,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::operator::watch::caches_synced::CachesSynced;

    fn failed(code: u16) -> watcher::Error {
        let status = Status { code, ..Status::default() };
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn a_scope_is_refused_until_each_kind_can_be_read_again() {
        let (all, readable) = (CachesSynced::new(1), Gauge::default());
        let health = ScopeHealth::new("marketing", all.scope(), readable.clone());
        let state = || (health.is_refused(), all.is_synced(), readable.get());
        assert!(!health.watch_failed(Kind::Pod, &failed(500)) && !health.watch_failed(Kind::HttpRoute, &failed(404)));
        assert_eq!(state(), (false, false, 1), "another failure says nothing about rights");
        assert!(health.watch_failed(Kind::Pod, &failed(403)) && health.watch_failed(Kind::Secret, &failed(403)));
        assert_eq!(state(), (true, true, 0));
        health.watch_works(Kind::Pod);
        health.watch_works(Kind::Service);
        assert_eq!(state(), (true, true, 0), "Secrets are still refused");
        health.watch_works(Kind::Secret);
        assert_eq!(state(), (false, true, 1));
        assert!(!all.has_refused());
    }
}
