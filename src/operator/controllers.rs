//! The controllers of the operator: one set per scope, which is all namespaces or one named namespace.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use ipnet::IpNet;
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::{
    ports::Ports,
    scope::{Scope, Shared},
};
use super::{
    account::{budget_metrics::BudgetCollector, registry::Accounts},
    connection::account_opener::AccountOpener,
    election::leadership::Leadership,
    kubernetes::{events::Events, field_manager::FieldManager},
    metrics::Metrics,
    watch::{caches_synced::CachesSynced, index::Indexes, scope_health::ScopeHealth},
    webhook::{
        addressable::Resolver,
        compiler::Compiler,
        context::{Cluster, ReceiverAccess},
        render::pod_config::{CaBundleReference, Environment, EnvironmentVariable, ReceiverPodConfig},
    },
};

mod gate;
pub mod ports;
mod scope;

/// Command-line arguments of the controllers.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// Image of the receivers: the same as the operator's.
    #[arg(long, env = "RECEIVER_IMAGE")]
    pub receiver_image: String,
    /// Image pull policy of the receivers. Default: that of Kubernetes.
    #[arg(long, env = "RECEIVER_IMAGE_PULL_POLICY")]
    pub receiver_image_pull_policy: Option<String>,
    /// Network that sinks may be in although the receivers' egress rules deny it, such as a company network. Can be
    /// repeated. Applies to every receiver.
    #[arg(long = "receiver-egress-allow", value_name = "CIDR")]
    pub receiver_egress_allow: Vec<IpNet>,
    /// Environment variable of every receiver. Can be repeated; not for secrets.
    #[arg(long = "receiver-env", value_name = "NAME=VALUE")]
    pub receiver_env: Vec<EnvironmentVariable>,
    /// ConfigMap or Secret in the namespace of each webhook with CA certificates, in PEM, that its receiver trusts for
    /// sinks in addition to the public ones: ConfigMap/NAME/KEY or Secret/NAME/KEY.
    #[arg(long, value_name = "KIND/NAME/KEY")]
    pub receiver_ca_bundle: Option<CaBundleReference>,
    /// Timeout of one request to Linktree, in seconds.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub linktree_timeout_seconds: u64,
    /// How long the journal of a deleted webhook is kept, in seconds, at least. A webhook of the same name that is created
    /// meanwhile takes it up.
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=2_592_000))]
    pub keep_journal_seconds: u64,
    /// Name of this operator. With its namespace, it is the field manager of all writes, and distinguishes it from other
    /// operators in the cluster.
    #[arg(long, env = "OPERATOR_NAME", default_value = "linktree-webhook-operator")]
    pub operator_name: String,
    /// Namespace to watch. Can be repeated. Default: all namespaces.
    #[arg(long = "watch-namespace", value_name = "NAMESPACE")]
    pub watch_namespaces: Vec<String>,
}

/// All controllers of a process, without its admin port, leader election and command line.
pub struct Operator {
    scopes: Vec<Scope>,
    caches: CachesSynced,
}

impl Operator {
    /// Creates the controllers and registers their metrics. [`Operator::run`] starts them.
    #[must_use]
    pub fn new(settings: Settings, ports: Ports, leadership: &Leadership, registry: &mut Registry) -> Self {
        let Ports { client, transport, prober, receivers } = ports;
        leadership.register(registry);
        let accounts = Arc::new(Accounts::default());
        registry.register_collector(Box::new(BudgetCollector(Arc::clone(&accounts))));
        let metrics = Metrics::registered(registry);
        // In a pod, this is the namespace of its service account.
        let operator_namespace = client.default_namespace().to_owned();
        let manager = FieldManager::new(&operator_namespace, &settings.operator_name);
        let shared = Shared {
            opener: AccountOpener {
                client: client.clone(),
                manager: manager.clone(),
                transport,
                timeout: Duration::from_secs(settings.linktree_timeout_seconds),
                leadership: leadership.clone(),
                metrics: metrics.clone(),
            },
            cluster: Cluster {
                events: Events::new(client.clone()),
                client,
                manager,
                addressables: Resolver::default(),
            },
            receivers: ReceiverAccess {
                prober,
                client: receivers,
                compiler: Compiler::default(),
                pod: ReceiverPodConfig {
                    image: settings.receiver_image,
                    pull_policy: settings.receiver_image_pull_policy,
                    egress_allow: settings.receiver_egress_allow,
                    operator_namespace,
                    environment: Environment::new(settings.receiver_env),
                    ca_bundle: settings.receiver_ca_bundle,
                },
            },
            accounts,
            indexes: Indexes::default(),
            metrics,
        };
        let namespaces = namespaces(settings.watch_namespaces);
        let names: Vec<&str> = namespaces.iter().map(|name| name.as_deref().unwrap_or("(all)")).collect();
        tracing::info!(namespaces = names.join(","), "watching namespaces");
        let caches = CachesSynced::new(namespaces.len());
        let keep_journals = Duration::from_secs(settings.keep_journal_seconds);
        let scope = |namespace: Option<String>| {
            let (name, synced) = (namespace.as_deref().unwrap_or_default(), caches.scope());
            let health = ScopeHealth::new(name, synced.clone(), shared.metrics.readable(name));
            Scope { shared: shared.clone(), namespace, synced, health, leadership: leadership.clone(), keep_journals }
        };
        Operator { scopes: namespaces.into_iter().map(scope).collect(), caches }
    }

    /// Checks that the API server lets this process list the custom resources. A named namespace may refuse it: this is
    /// reported while the operator runs, and the other namespaces are not affected.
    ///
    /// # Errors
    /// The API server's error, for example if the CRDs are not installed, or RBAC forbids the list in all namespaces.
    pub async fn check(&self) -> Result<(), kube::Error> {
        for scope in &self.scopes {
            scope.check().await?;
        }
        Ok(())
    }

    /// Runs the controllers until `shutdown`. Dropping the future stops them at once, as if the process were killed.
    pub async fn run(self, shutdown: CancellationToken) {
        let scopes: JoinSet<()> = self.scopes.into_iter().map(|scope| scope.run(shutdown.clone())).collect();
        scopes.join_all().await;
    }

    /// The signal that the caches of all scopes that can be read are synced.
    #[must_use]
    pub fn caches(&self) -> CachesSynced {
        self.caches.clone()
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").finish_non_exhaustive()
    }
}

/// The namespaces to watch, one scope each: every named one once, or `None` for all namespaces.
fn namespaces(named: Vec<String>) -> Vec<Option<String>> {
    if named.is_empty() {
        return vec![None];
    }
    named.into_iter().collect::<BTreeSet<_>>().into_iter().map(Some).collect()
}
