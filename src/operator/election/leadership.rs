//! Whether this process is the leader, checked before each write.

use std::{sync::Arc, time::Instant};

use http::Request;
use kube::{Client, client::Body};
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use tokio::sync::watch;

use crate::{clock, operator::kubernetes::client};

/// How long this process may act as the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// Without end: there is no election.
    Always,
    /// Not elected so far.
    NotYet,
    /// Until the lease's renew deadline; each renewal extends it.
    Until(Instant),
}

/// Whether this process is the leader. It is checked before each write: a process that was suspended past its renew
/// deadline must not write when it continues.
#[derive(Clone, Debug)]
pub struct Leadership {
    term: Arc<watch::Sender<Term>>,
    gauge: Gauge,
}

/// Error of a write: this process is not the leader, or its term has expired and another process may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not lead")]
pub struct NotLeading;

impl Leadership {
    /// Leadership without an election: this process always leads.
    #[must_use]
    pub fn unopposed() -> Self {
        let leadership = Leadership::starting(Term::Always);
        leadership.gauge.set(1);
        leadership
    }

    /// Leadership of a standby: this process is not elected.
    #[cfg(test)]
    #[must_use]
    pub fn standby() -> Self {
        Leadership::starting(Term::NotYet)
    }

    pub(super) fn starting(term: Term) -> Self {
        Leadership { term: Arc::new(watch::Sender::new(term)), gauge: Gauge::default() }
    }

    /// Registers the gauge `linktree_operator_leader`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "1 if this process leads, 0 if it is a standby";
        registry.register("linktree_operator_leader", help, self.gauge.clone());
    }

    /// Checks that this process may write.
    ///
    /// # Errors
    /// [`NotLeading`] if this process is a standby or its term has expired.
    pub fn check(&self) -> Result<(), NotLeading> {
        match *self.term.borrow() {
            Term::Always => Ok(()),
            Term::Until(end) if clock::monotonic() < end => Ok(()),
            Term::Until(_) | Term::NotYet => Err(NotLeading),
        }
    }

    /// Waits until this process is elected for the first time.
    pub async fn acquired(&self) {
        // The wait fails only if the sender is dropped, and `self` holds it.
        let _ = self.term.subscribe().wait_for(|term| *term != Term::NotYet).await;
    }

    /// A Kubernetes client that sends reads at any time, and writes only while this process leads.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn client(&self, config: &kube::Config) -> Result<Client, kube::Error> {
        let leadership = self.clone();
        let gate = tower::filter::FilterLayer::new(move |request: Request<Body>| {
            if !request.method().is_safe() {
                leadership.check()?;
            }
            Ok::<_, NotLeading>(request)
        });
        Ok(client::builder(config)?.with_layer(&gate).build())
    }

    /// Replaces the term; returns the previous one.
    pub(super) fn set_term(&self, term: Term) -> Term {
        self.term.send_replace(term)
    }

    /// Sets the leader gauge to 1.
    pub(super) fn mark_leader(&self) {
        self.gauge.set(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_standby_reads_and_does_not_write() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Nothing listens on this port: a request that passes the filter fails with another error.
        let unreachable = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = Leadership::standby().client(&unreachable).unwrap();
        for (method, rejected) in [("GET", false), ("POST", true), ("PUT", true), ("PATCH", true), ("DELETE", true)] {
            let request = Request::builder().method(method).uri("/api/v1/namespaces/x/configmaps").body(Vec::new());
            let error = client.request_text(request.unwrap()).await.unwrap_err();
            assert_eq!(format!("{error:?}").contains("NotLeading"), rejected, "{method}: {error:?}");
        }
    }
}
