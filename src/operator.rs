//! The operator: keeps `LinktreeConnection`s and `LinktreeWebhook`s true. One pair of controllers per scope, which is
//! all namespaces or one of those named.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use ipnet::IpNet;
use kube::{
    Config,
    runtime::events::{Recorder, Reporter},
};
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::{
    account::registry::Accounts,
    context::{Shared, Views},
    controllers::scope::{Ready, Scope},
    election::run::{Candidate, Leadership},
    metrics::Metrics,
    ports::Ports,
    webhook::{observe::addressable::Resolver, render::children::Launch},
};
use crate::{
    admin::{self, Readiness},
    linktree::client::Unusable,
};

pub mod account;
mod connection;
mod context;
mod controllers;
pub mod election;
pub mod kubernetes;
pub mod metrics;
pub mod ports;
mod watch;
mod webhook;

// The simulation of a thousand webhooks (tests/support/quota_simulation) drives these.
pub use self::connection::decide as listing;

/// How the operator is started.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub metrics_address: SocketAddr,
    /// The image receivers run from: this operator's own.
    #[arg(long, env = "RECEIVER_IMAGE")]
    pub receiver_image: String,
    /// When the kubelet pulls it; left out, Kubernetes' default.
    #[arg(long, env = "RECEIVER_IMAGE_PULL_POLICY")]
    pub receiver_image_pull_policy: Option<String>,
    /// A network that sinks may be in although the rules for egress deny it, such as a company's own; may be given
    /// several times. Passed on to every receiver.
    #[arg(long = "egress-allow", value_name = "CIDR")]
    pub egress_allow: Vec<IpNet>,
    /// How long one request to Linktree may take, in seconds.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub linktree_timeout_seconds: u64,
    /// A namespace to look after; may be given several times. Left out, all of them.
    #[arg(long = "watch-namespace", value_name = "NAMESPACE")]
    pub watch_namespaces: Vec<String>,
    /// Certificates, in PEM, of authorities that the probe of the public URLs trusts besides the public ones. Read at the
    /// start.
    #[arg(long, value_name = "FILE")]
    pub probe_ca_file: Option<PathBuf>,
    #[command(flatten)]
    pub election: election::run::Args,
}

/// How long what is under way when the operator is to end may go on. All of it is made to be cut off anywhere, and
/// another operator may be waiting.
const DRAIN: Duration = Duration::from_secs(1);

/// Why the operator did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no Kubernetes cluster is configured: {0}; set KUBECONFIG, or run inside a cluster")]
    Config(#[from] kube::config::InferConfigError),
    #[error("the Kubernetes client cannot be made: {0}")]
    Client(#[from] kube::Error),
    #[error("the CustomResourceDefinitions are not there, or may not be read: {0}; install the chart first")]
    Crds(kube::Error),
    #[error("the Linktree client cannot be made: {0}")]
    Linktree(#[from] Unusable),
    #[error("the HTTP client cannot be made: {0}")]
    Http(#[from] reqwest::Error),
    #[error("the certificates of --probe-ca-file {path} cannot be read: {problem}")]
    ProbeAuthorities { path: PathBuf, problem: String },
    #[error(transparent)]
    Leadership(#[from] election::run::Lost),
    #[error("cannot listen at {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// Runs until `shutdown`, or until it loses the lease; what is being reconciled is finished first if that is quick.
///
/// # Errors
/// When it cannot start, and when it loses the lease.
pub async fn run(args: Args, shutdown: CancellationToken) -> Result<(), Error> {
    let config = Config::infer().await?;
    let mut candidate = Candidate::new(&args.election, kubernetes::client::client(&config)?.build());
    let leadership = candidate.as_ref().map_or_else(Leadership::unopposed, Candidate::leadership);
    let ports = Ports::open(&config, &leadership, args.probe_ca_file.as_deref())?;
    let unusable = |source| Error::Listen { address: args.metrics_address, source };
    let listener = TcpListener::bind(args.metrics_address).await.map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    let mut registry = Registry::default();
    let operator = Operator::new(args, ports, leadership.clone(), &mut registry);
    tracing::info!(admin = %address, "admin port");
    operator.check().await?;
    let router = admin::router(Arc::new(registry), readiness(operator.ready(), leadership));
    let admin = tokio::spawn(admin::serve(listener, router, shutdown.clone()));
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
            lost = candidate.run() => match lost? {},
            () = work => {}
        },
    }
    if let Some(candidate) = candidate {
        candidate.release().await;
    }
    // Its own end is bounded.
    let _ = admin.await;
    Ok(())
}

/// A standby is ready, so that a rollout goes on; it says what it is.
fn readiness(ready: Ready, leadership: Leadership) -> Readiness {
    Readiness::saying(move || match (ready.is_set(), leadership.check()) {
        (false, _) => Err("the caches are not filled yet".to_owned()),
        (true, Ok(())) => Ok("ok"),
        (true, Err(election::run::NotLeading)) => Ok("ok: standby, another leads"),
    })
}

/// Everything but the admin port and the way the process is configured.
pub struct Operator {
    scopes: Vec<Scope>,
    ready: Ready,
}

impl Operator {
    #[must_use]
    pub fn new(args: Args, ports: Ports, leadership: Leadership, registry: &mut Registry) -> Self {
        let Ports { client, transport, prober, receivers } = ports;
        leadership.register(registry);
        let accounts = Arc::new(Accounts::default());
        registry.register_collector(Box::new(metrics::Load(Arc::clone(&accounts))));
        let reporter = Reporter { controller: kubernetes::apply::FIELD_MANAGER.into(), instance: None };
        let shared = Shared {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            leadership,
            transport,
            linktree_timeout: Duration::from_secs(args.linktree_timeout_seconds),
            prober,
            receivers,
            accounts: Arc::clone(&accounts),
            webhooks: Views::default(),
            addressables: Resolver::default(),
            launch: Launch {
                image: args.receiver_image,
                pull_policy: args.receiver_image_pull_policy,
                egress_allow: args.egress_allow,
            },
            metrics: Metrics::registered(registry),
        };
        let namespaces = controllers::scope::namespaces(args.watch_namespaces);
        tracing::info!(?namespaces, "watching (None: all namespaces)");
        let ready = Ready::of(namespaces.len());
        let scope = |namespace| Scope::new(shared.clone(), namespace, ready.clone());
        Operator { scopes: namespaces.into_iter().map(scope).collect(), ready: ready.clone() }
    }

    /// Whether the custom resources can be listed at all.
    ///
    /// # Errors
    /// [`Error::Crds`].
    pub async fn check(&self) -> Result<(), Error> {
        for scope in &self.scopes {
            scope.check().await.map_err(Error::Crds)?;
        }
        Ok(())
    }

    /// Runs until `shutdown`. Dropped, it ends at once, as if the process had been killed.
    pub async fn run(self, shutdown: CancellationToken) {
        let scopes: JoinSet<()> = self.scopes.into_iter().map(|scope| scope.run(shutdown.clone())).collect();
        scopes.join_all().await;
    }

    fn ready(&self) -> Ready {
        self.ready.clone()
    }
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator").finish_non_exhaustive()
    }
}
