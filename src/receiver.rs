//! The receiver: verifies deliveries, stores them in a journal before it answers 200, and forwards them to the sinks.
//! It faces the internet and holds no Kubernetes credentials: its configuration comes as a file, and the operator polls
//! its state on the admin port.
//!
//! Path of a delivery: [`ingest::handler`] → [`ingest::admit`] → [`ingest::redact`] → [`journal`] → 200 → [`forward`] →
//! [`sink`].
//!
//! A module imports only modules further right in this list: this file → [`admin`] → [`ingest::handler`] | [`forward`]
//! → [`config`] → [`stats`] → [`ingest::verdict`] → [`sink`] → [`journal`] → [`ingest::admit`] | [`ingest::redact`] →
//! [`ingest::event`]. The modules of `ingest` without IO are at the bottom, because the journal stores its events.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures::future::OptionFuture;
use hyper::service::service_fn;
use ipnet::IpNet;
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use self::{
    admin::{
        journal::JournalApi,
        redrive::RedriveApi,
        status::{self, Sources},
    },
    config::{
        ca_bundle_watcher::CaBundleWatcher, certificate_watcher::CertificateWatcher, route_watcher::RouteWatcher,
    },
    forward::{budget::BodiesInFlight, context::Context, scheduler},
    ingest::{handler::Handler, limits, verdict::Verdict},
    journal::{
        Journal,
        inspect::Inspect,
        redrive::Redriver,
        sqlite::{SqliteJournal, error::OpenError},
        unavailable::UnavailableJournal,
    },
    sink::http::Clients,
    stats::{counters::DeliveryStats, metrics::Metrics},
};
use crate::{
    admin::{self as admin_port, Readiness},
    ca_bundle, clock,
    egress::Egress,
    memory_limit, open_files, route,
    serve::{self, Limits, Problem, Transport},
};

pub mod admin;
pub mod config;
pub mod forward;
pub mod ingest;
pub mod journal;
pub mod sink;
pub mod stats;

/// How often the gauges of the journal are updated.
const GAUGES_INTERVAL: Duration = Duration::from_secs(5);

/// How long a receiver with a failed journal stays up and answers 503, so that the operator can read the reason.
const FAILED_JOURNAL_GRACE: Duration = Duration::from_secs(30);

/// Command-line arguments of a receiver.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The route file, as the operator renders it. The receiver waits for a missing file and reloads a changed one.
    #[arg(long)]
    pub route_file: PathBuf,
    /// The directory of the journal. Only one process at a time can use it.
    #[arg(long)]
    pub journal: PathBuf,
    /// Listen address for Linktree's deliveries.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, route::DELIVERY_PORT)))]
    pub delivery_address: SocketAddr,
    /// Listen address for probes, metrics and the status. It must not be open to the internet.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, route::ADMIN_PORT)))]
    pub admin_address: SocketAddr,
    /// The directory with tls.crt and tls.key. If set, deliveries are served over TLS only; a changed certificate is
    /// reloaded without a restart.
    #[arg(long)]
    pub tls_directory: Option<PathBuf>,
    /// A network (CIDR) of sinks to allow although the egress rules deny it, such as a company's own. Repeatable.
    #[arg(long = "egress-allow", value_name = "CIDR")]
    pub egress_allow: Vec<IpNet>,
    /// PEM file with CA certificates that sinks may have in addition to the public ones. A changed file is reloaded without
    /// a restart, and a missing one is waited for.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// Why a receiver could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    #[error("cannot open the journal in {directory}: {source}")]
    Journal { directory: PathBuf, source: OpenError },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("a sync of the journal failed, so the state of the disk is unknown: restart to read it again")]
    JournalLost,
    #[error("cannot set up TLS to the sinks: {0}")]
    Tls(#[from] reqwest::Error),
    #[error("the CA bundle of --ca-file {} (in the chart: caBundle) cannot be used: {source}", .path.display())]
    CaBundle { path: PathBuf, source: ca_bundle::Problem },
    #[error("cannot set up TLS for deliveries: {0}")]
    ServeTls(#[from] rustls::Error),
}

/// A receiver with an open journal and bound ports that does not serve yet.
pub struct Receiver {
    journal: Arc<dyn Journal>,
    inspect: Arc<dyn Inspect>,
    redriver: Arc<dyn Redriver>,
    /// Cancelled when a failed fsync leaves the journal's state on disk unknown: this process must then stop using it.
    lost: CancellationToken,
    stats: Arc<DeliveryStats>,
    registry: Registry,
    clients: Clients,
    route_file: PathBuf,
    tls: Option<CertificateWatcher>,
    authorities: Option<CaBundleWatcher>,
    transport: Transport,
    limits: Limits,
    /// The number of attempts to send an event that may be in flight.
    attempts: usize,
    delivery: TcpListener,
    admin: TcpListener,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("route_file", &self.route_file).finish_non_exhaustive()
    }
}

/// The views of an open journal, and the token that a failed sync cancels.
type Opened = (Arc<dyn Journal>, Arc<dyn Inspect>, Arc<dyn Redriver>, CancellationToken);

/// Runs a receiver until `shutdown`. It then answers the requests in flight, records the finished attempts and closes
/// the journal.
///
/// # Errors
/// If it cannot start, or if an fsync of the journal failed. A missing or invalid route file is not an error: the
/// receiver waits for a valid one.
pub async fn run(args: Args, shutdown: CancellationToken) -> Result<(), ReceiverError> {
    let receiver = Receiver::bind(args).await?;
    if let (Ok(delivery), Ok(admin)) = (receiver.delivery_address(), receiver.admin_address()) {
        tracing::info!(%delivery, %admin, "listening");
    }
    let lost = receiver.lost.clone();
    receiver.serve(shutdown).await;
    if lost.is_cancelled() { Err(ReceiverError::JournalLost) } else { Ok(()) }
}

impl Receiver {
    /// Opens the journal and both ports.
    ///
    /// # Errors
    /// If the journal cannot be opened but a restart may help, or if a port is taken. A permanent failure of the
    /// journal is not an error, and neither is a volume that is full or read-only: the receiver answers deliveries with
    /// 503, the status reports the failure, and the journal is opened again from time to time.
    pub async fn bind(args: Args) -> Result<Self, ReceiverError> {
        let Args {
            route_file,
            journal: directory,
            delivery_address,
            admin_address,
            tls_directory,
            egress_allow,
            ca_file,
        } = args;
        let files = open_files::raise_limit();
        let clients = Clients::new(Egress::new(egress_allow), limits::connections_to_sinks(files))?;
        let authorities = ca_file.map(|path| authorities(path, clients.clone())).transpose()?;
        let tls = tls_directory.map(|directory| CertificateWatcher::new(directory, Arc::default()));
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let (journal, inspect, redriver, lost): Opened = match SqliteJournal::open(&directory, metrics.commits.clone())
        {
            Ok(journal) => {
                let (lost, journal) = (journal.lost(), Arc::new(journal));
                (Arc::clone(&journal) as _, Arc::clone(&journal) as _, journal, lost)
            }
            Err(error) if error.is_final() || error.is_unwritable(&directory) => {
                tracing::error!(%error, directory = %directory.display(), "journal unavailable, answering 503");
                let unavailable = Arc::new(UnavailableJournal::new(error.to_string()));
                if !error.is_final() {
                    let commits = metrics.commits.clone();
                    let open = move || SqliteJournal::open(&directory, commits.clone());
                    tokio::spawn(Arc::clone(&unavailable).reopen(open));
                }
                let lost = unavailable.lost();
                (Arc::clone(&unavailable) as _, Arc::clone(&unavailable) as _, Arc::clone(&unavailable) as _, lost)
            }
            Err(source) => return Err(ReceiverError::Journal { directory, source }),
        };
        Ok(Receiver {
            journal,
            inspect,
            redriver,
            lost,
            stats: Arc::new(DeliveryStats::new(metrics)),
            registry,
            clients,
            route_file,
            transport: tls.as_ref().map_or(Ok(Transport::Tcp), |tls| tls.certificate().transport())?,
            tls,
            authorities,
            limits: limits::with_open_files(files),
            attempts: limits::connections_to_sinks(files),
            delivery: listen(delivery_address)?,
            admin: listen(admin_address)?,
        })
    }

    /// The bound address for deliveries, with the port that the system chose if the arguments say 0.
    ///
    /// # Errors
    /// If the system does not report it.
    pub fn delivery_address(&self) -> std::io::Result<SocketAddr> {
        self.delivery.local_addr()
    }

    /// The bound address of the admin port.
    ///
    /// # Errors
    /// If the system does not report it.
    pub fn admin_address(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Serves until `shutdown`, or until `FAILED_JOURNAL_GRACE` after a failure of the journal. Shutdown order:
    /// deliveries, then forwarding, then the journal.
    pub async fn serve(self, shutdown: CancellationToken) {
        let Receiver {
            journal,
            inspect,
            redriver,
            lost,
            stats,
            registry,
            clients,
            route_file,
            tls,
            authorities,
            transport,
            limits,
            attempts,
            delivery,
            admin,
        } = self;
        let certificate = tls.as_ref().map(|tls| Arc::clone(tls.certificate()));
        let (publish, config) = watch::channel(None);
        let handler = Handler::new(config.clone(), Arc::clone(&journal), Arc::clone(&stats));
        let context = Context {
            config: config.clone(),
            journal: Arc::clone(&journal),
            stats: Arc::clone(&stats),
            clients,
            bodies: BodiesInFlight::new(memory_limit::read()),
            attempts,
        };
        let api = JournalApi { config: config.clone(), journal: Arc::clone(&inspect) };
        let redrives = RedriveApi { config: config.clone(), journal: redriver };
        let sources =
            Sources { config, journal: Arc::clone(&journal), stats: Arc::clone(&stats), inspect, certificate };
        let answer = service_fn(move |request| {
            let handler = handler.clone();
            async move { Ok::<_, Infallible>(handler.answer(request).await) }
        });
        let report = reporter(Arc::clone(&stats));
        // Probes are still answered, and the route is still watched, while requests in flight complete.
        let idle = CancellationToken::new();
        let deliveries = async {
            serve::serve(delivery, transport, answer, limits, report, shutdown.clone()).await;
            idle.cancel();
        };
        let end = async {
            lost.cancelled().await;
            sleep(FAILED_JOURNAL_GRACE).await;
            shutdown.cancel();
        };
        tokio::join!(
            deliveries,
            idle.run_until_cancelled(RouteWatcher::new(route_file, Arc::clone(&journal), stats, publish).run()),
            idle.run_until_cancelled(OptionFuture::from(tls.map(CertificateWatcher::run))),
            idle.run_until_cancelled(OptionFuture::from(authorities.map(CaBundleWatcher::run))),
            scheduler::run(context, idle.clone()),
            admin_port::serve(admin, admin_router(registry, &sources, api, redrives), idle.clone()),
            idle.run_until_cancelled(measure(&sources)),
            idle.run_until_cancelled(end),
        );
        if let Err(error) = journal.close().await {
            tracing::warn!(%error, "cannot close the journal");
        }
    }
}

/// Counts and logs the problems of the delivery port.
fn reporter(stats: Arc<DeliveryStats>) -> impl Fn(Problem) + Clone + Send + Sync + 'static {
    move |problem| {
        let (now, moment) = (clock::now().as_second(), clock::monotonic());
        match problem {
            Problem::HeaderTooLarge => stats.answered(Verdict::HeaderTooLarge, None, now, moment),
            Problem::BadRequest => stats.answered(Verdict::BadRequest, None, now, moment),
            Problem::Accept(error) => {
                if let Some(suppressed) = stats.admit_line("accept failed", moment) {
                    tracing::warn!(%error, suppressed, "accept failed, retrying");
                }
            }
        }
    }
}

fn admin_router(registry: Registry, sources: &Sources, api: JournalApi, redrives: RedriveApi) -> axum::Router {
    let readiness = sources.clone();
    let common = admin_port::router(Arc::new(registry), Readiness::new(move || readiness.ready()));
    let status = status::router(sources.clone());
    common.merge(status).merge(admin::journal::router(api)).merge(admin::redrive::router(redrives))
}

async fn measure(sources: &Sources) {
    loop {
        if let Err(error) = sources.measure().await {
            tracing::debug!(%error, "cannot measure the backlog");
        }
        sleep(GAUGES_INTERVAL).await;
    }
}

fn authorities(path: PathBuf, clients: Clients) -> Result<CaBundleWatcher, ReceiverError> {
    CaBundleWatcher::load(path.clone(), clients).map_err(|source| ReceiverError::CaBundle { path, source })
}

fn listen(address: SocketAddr) -> Result<TcpListener, ReceiverError> {
    serve::listen(address).map_err(|source| ReceiverError::Listen { address, source })
}
