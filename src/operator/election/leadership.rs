//! Whether this process may write.

use std::{sync::Arc, time::Instant};

use http::Request;
use kube::{Client, client::Body};
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use tokio::sync::watch;

use crate::{clock, operator::kubernetes::client};

/// How long this process leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// There is no election.
    Always,
    NotYet,
    Until(Instant),
}

/// Whether this process may write. It is checked before each write, so that a process that was suspended for longer than
/// its term does not continue.
#[derive(Clone, Debug)]
pub struct Leadership {
    term: Arc<watch::Sender<Term>>,
    shown: Gauge,
}

/// Another process leads, or may lead by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not lead")]
pub struct NotLeading;

impl Leadership {
    /// Leadership without an election: the only process.
    #[must_use]
    pub fn unopposed() -> Self {
        let leadership = Leadership::starting(Term::Always);
        leadership.shown.set(1);
        leadership
    }

    /// Leadership of a process that was never elected.
    #[cfg(test)]
    #[must_use]
    pub fn standby() -> Self {
        Leadership::starting(Term::NotYet)
    }

    pub(super) fn starting(term: Term) -> Self {
        Leadership { term: Arc::new(watch::Sender::new(term)), shown: Gauge::default() }
    }

    /// Registers the metric that shows whether this process leads.
    pub fn register(&self, registry: &mut Registry) {
        let help = "1 if this process leads, 0 if it is a standby";
        registry.register("linktree_operator_leader", help, self.shown.clone());
    }

    /// Checks that this process may write.
    ///
    /// # Errors
    /// [`NotLeading`]: it must not.
    pub fn check(&self) -> Result<(), NotLeading> {
        match *self.term.borrow() {
            Term::Always => Ok(()),
            Term::Until(end) if clock::monotonic() < end => Ok(()),
            Term::Until(_) | Term::NotYet => Err(NotLeading),
        }
    }

    /// Waits until this process leads for the first time.
    pub async fn begun(&self) {
        // It fails only without a sender, and `self` is one.
        let _ = self.term.subscribe().wait_for(|term| *term != Term::NotYet).await;
    }

    /// A client that reads always and writes only while this process leads.
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

    /// Sets the term and returns the one before it.
    pub(super) fn set_term(&self, term: Term) -> Term {
        self.term.send_replace(term)
    }

    /// Shows this process as the leader in the metrics.
    pub(super) fn show(&self) {
        self.shown.set(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_standby_reads_and_does_not_write() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Nothing listens there: a request that passes the gate fails for another reason.
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = Leadership::standby().client(&nowhere).unwrap();
        for (method, refused) in [("GET", false), ("POST", true), ("PUT", true), ("PATCH", true), ("DELETE", true)] {
            let request = Request::builder().method(method).uri("/api/v1/namespaces/x/configmaps").body(Vec::new());
            let error = client.request_text(request.unwrap()).await.unwrap_err();
            assert_eq!(format!("{error:?}").contains("NotLeading"), refused, "{method}: {error:?}");
        }
    }
}
