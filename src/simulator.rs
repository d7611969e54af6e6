//! A simulator of Linktree for development, demonstrations and tests. [`Args`] has its options.
//!
//! One port serves Linktree's API (`docs/linktree-openapi.yaml`), and the simulator sends real signed deliveries.
//! Another port, for users and tests only, controls it: change links, advance the clock, inject faults, inspect the
//! state. `GET /` on that port explains each endpoint.
//!
//! # Time
//! The simulator's clock is the real clock plus an offset, and `POST /advance` increases the offset. Everything that
//! falls due on the way happens in order: retries are real HTTP requests, one after another, and a subscription is
//! disabled at its time. Request budgets follow this clock too.
//!
//! Every time that leaves the simulator is in real time: simulated time minus the offset. After 72 skipped hours, a
//! receiver and an operator, whose clocks did not move, see `failing_since` 72 hours in their past, and a delivery
//! signed now has their present time.
//!
//! The simulator must not depend on Kubernetes, or on the receiver and the operator that it tests.

mod answer;
mod api;
pub mod config;
mod control;
mod deliver;
mod shared;
pub mod state;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::Router;
use reqwest::Certificate;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::{
    config::AccountConfig,
    deliver::Sender,
    shared::Shared,
    state::{Setup, State, ids::Ids, offers::Offers},
};
use crate::{admin, ca_bundle, linktree::secret::Secret, serve};

/// Simulate Linktree: its API on one port, control endpoints on another.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The listen address of both ports. The control port needs no credentials: open it only to people you trust.
    #[arg(long, env = "SIMULATOR_LISTEN", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub listen: IpAddr,
    /// The port of the API; 0 for any.
    #[arg(long, env = "SIMULATOR_API_PORT", default_value_t = 8081)]
    pub api_port: u16,
    /// The port of the control endpoints; 0 for any. `GET /` there explains them.
    #[arg(long, env = "SIMULATOR_CONTROL_PORT", default_value_t = 8082)]
    pub control_port: u16,
    /// An account, as name=NAME,plan=PLAN,token=TOKEN; both the token and the option can be repeated. The default is
    /// acc_demo (plan Pro) and acc_free (plan Free, token lt_test_free).
    #[arg(long = "account", value_name = "ACCOUNT", conflicts_with = "accounts_file")]
    pub accounts: Vec<AccountConfig>,
    /// The accounts as a JSON file: [{"name": …, "plan": …, "tokens": […]}].
    #[arg(long, env = "SIMULATOR_ACCOUNTS_FILE")]
    pub accounts_file: Option<PathBuf>,
    /// The token of acc_demo.
    #[arg(long, env = "SIMULATOR_TOKEN", default_value = "lt_test_demo", hide_env_values = true, value_parser = secret)]
    pub token: Secret,
    /// A PEM file of certificate authorities that deliveries trust besides the public ones, for receivers behind a
    /// private authority. It is read once, at start-up.
    #[arg(long, env = "SIMULATOR_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Disable the request limits.
    #[arg(long)]
    pub no_rate_limit: bool,
    /// The calls on webhooks that the API offers: a real Linktree may offer fewer than assumed.
    #[arg(long, env = "SIMULATOR_OFFERS", value_enum, default_value_t)]
    pub offers: Offers,
    /// A seed that makes ids and secrets repeatable; random by default.
    #[arg(long)]
    pub seed: Option<u64>,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// Why the simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot read the accounts from {path}: {problem}")]
    Accounts { path: PathBuf, problem: String },
    #[error("the certificates of --ca-file {path} cannot be read: {problem}")]
    Authorities { path: PathBuf, problem: String },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot configure TLS: {0}")]
    Tls(#[source] reqwest::Error),
}

/// Runs the simulator until `shutdown`.
///
/// # Errors
/// [`StartError`]; a started simulator does not fail.
pub async fn run(args: Args, shutdown: CancellationToken) -> Result<(), StartError> {
    start(&args, shutdown).await?.ended().await;
    Ok(())
}

/// A simulator without sockets: its API as a service, and its state. It sends no deliveries.
#[derive(Debug)]
pub struct InProcess(Arc<Shared>);

impl InProcess {
    #[must_use]
    pub fn new(setup: Setup, ids: Ids) -> Self {
        InProcess(Shared::new(State::new(setup, ids)))
    }

    /// The router that [`start`] serves on the API's port.
    pub fn api(&self) -> Router {
        api::router(&self.0)
    }

    /// Reads or changes the state at the current time.
    pub fn with<T>(&self, act: impl FnOnce(&mut State, jiff::Timestamp) -> T) -> T {
        self.0.with(act)
    }
}

/// A running simulator.
#[derive(Debug)]
pub struct Running {
    pub api: SocketAddr,
    pub control: SocketAddr,
    tasks: JoinSet<()>,
}

impl Running {
    /// Waits until the shutdown is complete. Dropping `Running` instead aborts the simulator at once.
    pub async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Starts the simulator and returns once it accepts connections.
///
/// # Errors
/// [`StartError`].
pub async fn start(args: &Args, shutdown: CancellationToken) -> Result<Running, StartError> {
    let setup = Setup { accounts: accounts(args)?, rate_limits: !args.no_rate_limit, offers: args.offers };
    let trusted = args.ca_file.as_deref().map_or(Ok(Vec::new()), authorities)?;
    let ids = Ids::from_seed(args.seed.unwrap_or_else(rand::random));
    let shared = Shared::new(State::new(setup, ids));
    let mut tasks = JoinSet::new();
    let api = serve_at(args.listen, args.api_port, api::router(&shared), &shutdown, &mut tasks)?;
    let sender = Arc::new(Sender::new(shared, &trusted).map_err(StartError::Tls)?);
    let control = control::router(Arc::clone(&sender));
    let control = serve_at(args.listen, args.control_port, control, &shutdown, &mut tasks)?;
    tasks.spawn(sender.run(shutdown));
    tracing::info!(%api, %control, "simulator started");
    Ok(Running { api, control, tasks })
}

fn serve_at(
    listen: IpAddr,
    port: u16,
    router: Router,
    shutdown: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> Result<SocketAddr, StartError> {
    let address = SocketAddr::new(listen, port);
    let failed = |source| StartError::Listen { address, source };
    let listener = serve::listen(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tasks.spawn(admin::serve_trusted(listener, router, shutdown.clone()));
    Ok(bound)
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, StartError> {
    ca_bundle::read(path)
        .map_err(|problem| StartError::Authorities { path: path.to_owned(), problem: problem.to_string() })
}

fn accounts(args: &Args) -> Result<Vec<AccountConfig>, StartError> {
    let Some(path) = &args.accounts_file else {
        let configured = args.accounts.clone();
        return Ok(if configured.is_empty() { config::default_accounts(&args.token) } else { configured });
    };
    // serde's message may quote a token, so the error has only the position.
    let failed = |problem| StartError::Accounts { path: path.clone(), problem };
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| failed(format!("line {}, column {}", error.line(), error.column())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_rejected() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = |path: &Path| authorities(path).unwrap_err().to_string();
        assert!(message(file.path()).contains("it contains no certificate"));
        assert!(
            message(Path::new("/no/such/file")).starts_with("the certificates of --ca-file /no/such/file cannot be")
        );
    }

    #[derive(clap::Parser)]
    struct CommandLine {
        #[command(flatten)]
        args: Args,
    }

    #[tokio::test]
    async fn a_shutdown_does_not_wait_for_deliveries_that_hang() {
        let arguments = ["simulator", "--api-port=0", "--control-port=0", "--seed=1"];
        let args = <CommandLine as clap::Parser>::parse_from(arguments).args;
        let shutdown = CancellationToken::new();
        let running = start(&args, shutdown.clone()).await.unwrap();
        // Accepts connections and never answers.
        let receiver = serve::listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let url = format!("http://{}/", receiver.local_addr().unwrap());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let post = async |path: &str, body: serde_json::Value| {
            let request = http.post(format!("http://{}{path}", running.control)).json(&body);
            assert!(request.send().await.unwrap().status().is_success(), "{path}");
        };
        post("/subscriptions", serde_json::json!({"url": url, "events": ["link.created"]})).await;
        // More than are sent at once, so that the sender waits for a place.
        for n in 0..100 {
            post("/links", serde_json::json!({"title": n.to_string(), "url": "https://shop.example/"})).await;
        }
        let _connection = receiver.accept().await.unwrap();
        shutdown.cancel();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(5), running.ended()).await;
        assert!(ended.is_ok(), "it waits for the timeout of the deliveries");
    }
}
