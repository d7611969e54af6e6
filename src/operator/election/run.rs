//! Candidate of the leader election: competes for the lease, renews it, and releases it at shutdown. See docs/adr/0006.

use std::{convert::Infallible, future::ready, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Client,
    runtime::{WatchStreamExt, watcher},
};

use super::{
    leadership::{Leadership, Term},
    lease,
    rules::{Election, Next, RETRY, Record},
};
use crate::{
    clock,
    operator::kubernetes::guarded::{Guarded, GuardedApi},
};

/// Timeout of one attempt, which reads the lease and may write it.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);
/// Timeout of releasing the lease at shutdown.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// Command-line arguments of the leader election.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Write only while holding a lease, so that several operator processes can run.
    #[arg(long, requires = "lease_namespace")]
    pub leader_elect: bool,
    /// Namespace of the lease.
    #[arg(long, env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Name of the lease.
    #[arg(long, default_value = "linktree-webhook-operator")]
    pub lease_name: String,
    /// Identity of this process in the lease, which no other process may have. Default: random.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
}

impl Args {
    /// Whether this process takes part in an election.
    pub(super) fn is_enabled(&self) -> bool {
        self.leader_elect && self.lease_namespace.is_some()
    }
}

/// This process as a candidate in the leader election.
#[derive(Debug)]
pub struct Candidate {
    api: GuardedApi<Lease>,
    name: String,
    election: Election,
    leadership: Leadership,
}

/// Error: this process lost the leadership, since it could not renew the lease in time or another process holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("leadership lost, exiting")]
pub struct Lost;

impl Candidate {
    /// A candidate for this process, whose election grants and withdraws this `leadership`; `None` if `--leader-elect`
    /// is off. `client` must not be one that writes only while this process leads.
    #[must_use]
    pub fn new(args: &Args, client: Client, leadership: Leadership) -> Option<Self> {
        let namespace = args.lease_namespace.as_deref().filter(|_| args.leader_elect)?;
        let random = || format!("{:016x}", rand::random::<u64>());
        Some(Candidate {
            api: GuardedApi::namespaced(client, namespace),
            name: args.lease_name.clone(),
            election: Election::new(args.identity.clone().unwrap_or_else(random)),
            leadership,
        })
    }

    /// Competes for the lease and, once elected, renews it. Returns only after the leadership is lost.
    ///
    /// # Errors
    /// [`Lost`]: the process must exit.
    pub async fn run(&mut self) -> Result<Infallible, Lost> {
        let mut changes = Box::pin(changes(&self.api, &self.name));
        loop {
            let pause = match tokio::time::timeout(self.attempt_timeout(), self.attempt()).await {
                Ok(Ok(Next::Wait(pause))) => pause,
                Ok(Ok(Next::Claim)) => RETRY,
                Ok(Ok(Next::Lost)) => return Err(Lost),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "lease request failed, retrying");
                    RETRY
                }
                Err(_) => Duration::ZERO,
            };
            tokio::select! {
                () = tokio::time::sleep(pause.min(self.attempt_timeout())) => {}
                Some(()) = changes.next() => {}
            }
        }
    }

    /// The timeout of one attempt, also the limit of a pause between attempts: at most the rest of our term.
    fn attempt_timeout(&self) -> Duration {
        let rest = self.election.leads_until().map(|end| end.saturating_duration_since(clock::monotonic()));
        rest.unwrap_or(ATTEMPT_TIMEOUT).min(ATTEMPT_TIMEOUT)
    }

    /// Reads the lease once, acquires or renews it if the rules require it, and returns the next action.
    async fn attempt(&mut self) -> Result<Next, kube::Error> {
        if self.election.next(clock::monotonic()) == Next::Lost {
            return Ok(Next::Lost);
        }
        let found = self.api.get_opt(&self.name).await?;
        self.election.observe(found.as_deref().map(Record::of), clock::monotonic());
        let next = self.election.next(clock::monotonic());
        if next == Next::Claim {
            let started = clock::monotonic();
            let lease = lease::write(
                &self.api,
                &self.name,
                self.election.identity(),
                found.map(Guarded::into_inner),
                clock::now(),
            )
            .await?;
            self.election.claimed(Record::of(&lease), started);
            let term = self.election.leads_until().map_or(Term::NotYet, Term::Until);
            if self.leadership.set_term(term) == Term::NotYet {
                self.leadership.mark_leader();
                tracing::info!(identity = self.election.identity(), lease = self.name, "leadership acquired");
            }
        }
        Ok(next)
    }

    /// Releases the lease if this process holds it, so that a standby need not wait until it expires.
    pub async fn release(self) {
        self.leadership.set_term(Term::NotYet);
        let release = async {
            let found = self.api.get_opt(&self.name).await?;
            match found
                .map(Guarded::into_inner)
                .filter(|lease| Record::of(lease).holder.as_deref() == Some(self.election.identity()))
            {
                Some(lease) => lease::write(&self.api, &self.name, "", Some(lease), clock::now()).await.map(drop),
                None => Ok(()),
            }
        };
        match tokio::time::timeout(RELEASE_TIMEOUT, release).await {
            Ok(Ok(())) => tracing::info!("lease released"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "lease not released, the next leader waits for its expiry");
            }
            Err(_) => tracing::warn!("lease release timed out, the next leader waits for its expiry"),
        }
    }
}

/// Watches the lease; yields one item per change. It only shortens the pauses between attempts: each attempt reads the
/// lease itself.
fn changes(api: &GuardedApi<Lease>, name: &str) -> impl Stream<Item = ()> + Send + use<> {
    let by_name = watcher::Config::default().fields(&format!("metadata.name={name}"));
    watcher(api.clone(), by_name).default_backoff().filter_map(|event| ready(event.ok().map(drop)))
}
