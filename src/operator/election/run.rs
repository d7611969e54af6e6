//! Leader election: of several operators only one writes, to Kubernetes and to Linktree. The others keep their caches
//! filled and wait. See docs/adr/0006.

use std::{
    convert::Infallible,
    future::ready,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt};
use http::Request;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    client::Body,
    runtime::{WatchStreamExt, watcher},
};
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use tokio::sync::watch;

use super::lease;
use super::rules::{Election, Next, RETRY, Record};
use crate::{clock, operator::kubernetes::client};

/// How long one look at the lease, with a write, may take before it is tried anew.
const ATTEMPT: Duration = Duration::from_secs(4);
/// How long giving up the lease may take at the end.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);

/// How leader election is set up.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Wait for a lease before writing anything, so that several operators may run.
    #[arg(long, requires = "lease_namespace")]
    pub leader_elect: bool,
    /// The namespace of the lease.
    #[arg(long, env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,
    #[arg(long, default_value = "linktree-webhook-operator")]
    pub lease_name: String,
    /// What this process is called in the lease: no other process may have the same name. Left out, a random one.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
}

/// Until when this process leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Term {
    /// There is no election.
    Always,
    NotYet,
    Until(Instant),
}

/// Whether this process may write. Asked before each write, so that one that was frozen for longer than its term does not
/// go on where it stopped.
#[derive(Clone, Debug)]
pub struct Leadership {
    term: Arc<watch::Sender<Term>>,
    shown: Gauge,
}

/// Somebody else leads, or may by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not lead")]
pub struct NotLeading;

impl Leadership {
    /// Of a process that is alone.
    #[must_use]
    pub fn unopposed() -> Self {
        let leadership = Leadership::starting(Term::Always);
        leadership.shown.set(1);
        leadership
    }

    /// Of a process that was never elected.
    #[cfg(test)]
    #[must_use]
    pub fn never_won() -> Self {
        Leadership::starting(Term::NotYet)
    }

    fn starting(term: Term) -> Self {
        Leadership { term: Arc::new(watch::Sender::new(term)), shown: Gauge::default() }
    }

    /// Shows in the metrics who leads.
    pub fn register(&self, registry: &mut Registry) {
        let help = "1 if this process leads, 0 if it stands by";
        registry.register("linktree_operator_leader", help, self.shown.clone());
    }

    /// # Errors
    /// When it must not write.
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
        Ok(client::client(config)?.with_layer(&gate).build())
    }
}

/// This process in the election.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    election: Election,
    leadership: Leadership,
}

/// The lease could not be renewed in time, or somebody else has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process led and does not any more: it ends, so that nothing it had begun goes on")]
pub struct Lost;

impl Candidate {
    /// `None` where there is no election. `client` must not be one that waits for leadership.
    #[must_use]
    pub fn new(args: &Args, client: Client) -> Option<Self> {
        let namespace = args.lease_namespace.as_deref().filter(|_| args.leader_elect)?;
        let random = || format!("{:016x}", rand::random::<u64>());
        Some(Candidate {
            api: Api::namespaced(client, namespace),
            name: args.lease_name.clone(),
            election: Election::new(args.identity.clone().unwrap_or_else(random)),
            leadership: Leadership::starting(Term::NotYet),
        })
    }

    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Stands for election and, once elected, keeps the lease. Ends only by losing it.
    ///
    /// # Errors
    /// [`Lost`]: the process must end.
    pub async fn run(&mut self) -> Result<Infallible, Lost> {
        let mut changes = Box::pin(changes(&self.api, &self.name));
        loop {
            let pause = match tokio::time::timeout(self.patience(), self.attempt()).await {
                Ok(Ok(Next::Wait(pause))) => pause,
                Ok(Ok(Next::Claim)) => RETRY,
                Ok(Ok(Next::Lost)) => return Err(Lost),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the lease could not be read or written; it is tried again");
                    RETRY
                }
                Err(_) => Duration::ZERO,
            };
            tokio::select! {
                () = tokio::time::sleep(pause.min(self.patience())) => {}
                Some(()) = changes.next() => {}
            }
        }
    }

    /// How long one attempt may take, or a pause: no longer than the term.
    fn patience(&self) -> Duration {
        let left = self.election.leads_until().map(|end| end.saturating_duration_since(clock::monotonic()));
        left.unwrap_or(ATTEMPT).min(ATTEMPT)
    }

    /// Looks at the lease, and claims it where that is right. Says what came of it.
    async fn attempt(&mut self) -> Result<Next, kube::Error> {
        if self.election.next(clock::monotonic()) == Next::Lost {
            return Ok(Next::Lost);
        }
        let found = self.api.get_opt(&self.name).await?;
        self.election.observe(found.as_ref().map(Record::of), clock::monotonic());
        let next = self.election.next(clock::monotonic());
        if next == Next::Claim {
            let begun = clock::monotonic();
            let lease = lease::write(&self.api, &self.name, self.election.identity(), found, clock::now()).await?;
            self.election.claimed(Record::of(&lease), begun);
            let term = self.election.leads_until().map_or(Term::NotYet, Term::Until);
            if self.leadership.term.send_replace(term) == Term::NotYet {
                self.leadership.shown.set(1);
                tracing::info!(identity = self.election.identity(), lease = self.name, "this process leads now");
            }
        }
        Ok(next)
    }

    /// Gives the lease up, if it is ours, so that another need not wait.
    pub async fn release(self) {
        self.leadership.term.send_replace(Term::NotYet);
        let release = async {
            let found = self.api.get_opt(&self.name).await?;
            match found.filter(|lease| Record::of(lease).holder.as_deref() == Some(self.election.identity())) {
                Some(lease) => lease::write(&self.api, &self.name, "", Some(lease), clock::now()).await.map(drop),
                None => Ok(()),
            }
        };
        match tokio::time::timeout(RELEASE_WITHIN, release).await {
            Ok(Ok(())) => tracing::info!("the lease is free for another"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lease could not be given up: another waits until it runs out");
            }
            Err(_) => tracing::warn!("giving up the lease took too long: another waits until it runs out"),
        }
    }
}

/// Something for each change of the lease. Only to be quick: what counts is what an attempt reads.
fn changes(api: &Api<Lease>, name: &str) -> impl Stream<Item = ()> + Send + use<> {
    let of_name = watcher::Config::default().fields(&format!("metadata.name={name}"));
    watcher(api.clone(), of_name).default_backoff().filter_map(|event| ready(event.ok().map(drop)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_never_led_reads_and_does_not_write() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Nobody is there: what is let through fails for another reason.
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = Leadership::never_won().client(&nowhere).unwrap();
        for (method, refused) in [("GET", false), ("POST", true), ("PUT", true), ("PATCH", true), ("DELETE", true)] {
            let request = Request::builder().method(method).uri("/api/v1/namespaces/x/configmaps").body(Vec::new());
            let error = client.request_text(request.unwrap()).await.unwrap_err();
            assert_eq!(format!("{error:?}").contains("NotLeading"), refused, "{method}: {error:?}");
        }
    }
}
