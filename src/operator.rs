//! The operator: keeps `LinktreeConnection`s and `LinktreeWebhook`s true. One pair of controllers per scope, which is
//! all namespaces or one of those named.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use kube::{
    Client, Config,
    runtime::events::{Recorder, Reporter},
};
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::{
    account::Accounts,
    context::Shared,
    metrics::Metrics,
    webhook::{addressable::Resolver, children::Launch, probe::Prober, receiver_client::ReceiverClient},
};
use crate::{
    admin::{self, Readiness},
    linktree::client::{Transport, Unusable},
};

mod account;
mod apply;
mod backoff;
mod budget;
mod capabilities;
mod conditions;
mod connection;
mod context;
mod metrics;
mod scope;
mod webhook;

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
}

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
    #[error("cannot listen at {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// Runs until `shutdown`; what is being reconciled then is finished first.
///
/// # Errors
/// When it cannot start.
pub async fn run(args: Args, shutdown: CancellationToken) -> Result<(), Error> {
    let mut config = Config::infer().await?;
    // Every look is repeated anyway; retries below it would only hide for minutes what the status could say.
    config.default_retry = false;
    config.read_timeout = None;
    let client = Client::try_from(config)?;

    let mut registry = Registry::default();
    let shared = Shared {
        recorder: Recorder::new(client.clone(), Reporter { controller: apply::FIELD_MANAGER.into(), instance: None }),
        client,
        transport: Transport::new()?,
        linktree_timeout: Duration::from_secs(args.linktree_timeout_seconds),
        prober: Prober::new()?,
        receivers: ReceiverClient::new()?,
        accounts: Arc::new(Accounts::default()),
        addressables: Resolver::default(),
        launch: Launch {
            image: args.receiver_image,
            pull_policy: args.receiver_image_pull_policy,
            egress_allow: args.egress_allow,
        },
        metrics: Metrics::registered(&mut registry),
    };

    let unusable = |source| Error::Listen { address: args.metrics_address, source };
    let listener = TcpListener::bind(args.metrics_address).await.map_err(unusable)?;
    let admin = listener.local_addr().map_err(unusable)?;
    let namespaces = scope::namespaces(args.watch_namespaces);
    tracing::info!(%admin, ?namespaces, "watching (None: all namespaces)");
    let mut scopes = JoinSet::new();
    let mut ready = Vec::new();
    for namespace in namespaces {
        let scope = scope::Scope::new(shared.clone(), namespace);
        scope.check().await.map_err(Error::Crds)?;
        ready.push(scope.ready());
        scopes.spawn(scope.run(shutdown.clone()));
    }
    let readiness = Readiness::new(move || {
        if ready.iter().all(scope::Ready::is_set) { Ok(()) } else { Err("the caches are not filled yet".to_owned()) }
    });
    let router = admin::router(Arc::new(registry), readiness);
    tokio::join!(admin::serve(listener, router, shutdown), scopes.join_all());
    Ok(())
}
