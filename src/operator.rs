//! The operator: keeps the subscriptions, receivers and Secrets of `LinktreeConnection`s and `LinktreeWebhook`s in
//! sync. This file starts it: configuration, clients, election, controllers.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use ipnet::IpNet;
use kube::Config;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use self::{
    controllers::ports::Ports,
    election::{
        leadership::{Leadership, NotLeading},
        run::Lost,
        thread::{CandidateThread, StartError},
    },
    watch::caches_synced::CachesSynced,
};
use crate::{
    admin::{self, Readiness},
    egress::Egress,
    serve,
};

pub mod account;
mod connection;
mod controllers;
pub mod election;
pub mod kubernetes;
pub mod metrics;
mod watch;
mod webhook;

// The simulation of a thousand webhooks (tests/support/quota_simulation) calls these modules directly.
pub use self::connection::decide as listing;
pub use self::controllers::{Operator, Settings, ports};

/// Command-line arguments of the operator.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Listen address of /healthz, /readyz and /metrics.
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub metrics_address: SocketAddr,
    #[command(flatten)]
    pub controllers: Settings,
    /// PEM file with CA certificates that requests to Linktree and probes of public URLs trust in addition to the public
    /// ones. Read at start-up.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Network that the hosts of webhooks and of Linktree's API may be in although the egress rules deny it, such as that
    /// of a private load balancer. Can be repeated. Applies to the operator's own requests.
    #[arg(long = "egress-allow", value_name = "CIDR")]
    pub egress_allow: Vec<IpNet>,
    #[command(flatten)]
    pub election: election::run::Args,
}

/// How long reconciliations in progress may continue at shutdown. It is short, because they can be interrupted anywhere
/// and a standby may be waiting for the leader lease.
const DRAIN: Duration = Duration::from_secs(1);

/// Error that prevents the operator from starting, or stops it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no Kubernetes cluster is configured ({0}): set KUBECONFIG, or run inside a cluster")]
    Config(#[from] kube::config::InferConfigError),
    #[error("the Kubernetes client cannot be created: {0}")]
    Client(#[from] StartError),
    #[error("the custom resources cannot be listed ({0}): install the chart, which defines them and the RBAC rules")]
    Crds(kube::Error),
    #[error(transparent)]
    Ports(#[from] ports::Error),
    #[error(transparent)]
    Leadership(#[from] Lost),
    #[error("cannot listen on {address} ({source}): set --metrics-address to a free address")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// Runs the operator until `shutdown`, or until it loses the leader lease. At shutdown, reconciliations in progress
/// have `DRAIN` to finish.
///
/// # Errors
/// If the operator cannot start, or loses the leader lease.
pub async fn run(args: Args, shutdown: CancellationToken) -> Result<(), Error> {
    let config = Config::infer().await?;
    let leadership = CandidateThread::leadership(&args.election);
    let ports = Ports::open(&config, &leadership, args.ca_file.as_deref(), Egress::new(args.egress_allow))?;
    let unusable = |source| Error::Listen { address: args.metrics_address, source };
    let listener = serve::listen(args.metrics_address).map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    let mut registry = Registry::default();
    let operator = Operator::new(args.controllers, ports, &leadership, &mut registry);
    tracing::info!(admin = %address, "admin port");
    // Before the first request to the API server: one that is slow must not fail the liveness probe.
    let router = admin::router(Arc::new(registry), readiness(operator.caches(), leadership.clone()));
    let admin = tokio::spawn(admin::serve(listener, router, shutdown.clone()));
    tokio::select! {
        checked = operator.check() => checked.map_err(Error::Crds)?,
        () = shutdown.cancelled() => return Ok(()),
    }
    // Not before the process can work: a leader that fails at its start would keep the lease from one that does not.
    let mut candidate = CandidateThread::start(&args.election, &config, &leadership)?;
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    let work = async {
        tokio::select! {
            () = operator.run(shutdown.clone()) => {}
            () = drained => {}
        }
    };
    match &mut candidate {
        None => work.await,
        Some(candidate) => tokio::select! {
            lost = candidate.lost() => return Err(lost.into()),
            () = work => {}
        },
    }
    if let Some(candidate) = candidate {
        candidate.release().await;
    }
    // `admin::serve` itself limits the time of its shutdown.
    let _ = admin.await;
    Ok(())
}

/// The check behind `/readyz`. A namespace that cannot be read does not stop the work for the others. A standby, which
/// waits for the leader lease, is ready too, so that the Deployment's rollout continues; the response says `standby`.
fn readiness(caches: CachesSynced, leadership: Leadership) -> Readiness {
    Readiness::with_state(move || match (caches.is_synced(), leadership.check()) {
        (false, _) => Err("caches not synced".to_owned()),
        (true, Ok(())) if caches.has_refused() => Ok("ok: a watched namespace cannot be read"),
        (true, Ok(())) => Ok("ok"),
        (true, Err(NotLeading)) => Ok("ok: standby, another process leads"),
    })
}
