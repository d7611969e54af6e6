//! What the operator reaches the world through. One of each per process; a test may put another world behind them.

use std::{fmt, path::Path, sync::Arc};

use kube::{Client, Config};

pub use super::webhook::{
    observed::ProbeResult,
    probe::{Probe, Prober},
    receiver_client::{ReceiverClient, Receivers},
};
use super::{Error, leader::Leadership};
use crate::linktree::client::Transport;

/// The ways out of the process.
#[derive(Clone)]
pub struct Ports {
    /// To the API server.
    pub client: Client,
    /// To Linktree.
    pub transport: Transport,
    /// To the public URLs.
    pub prober: Arc<dyn Probe>,
    /// To the receivers' pods.
    pub receivers: Arc<dyn Receivers>,
}

impl Ports {
    /// Those of the cluster that `config` leads to. Its API server is written to only while this process leads. The
    /// probe trusts the authorities in `probe_ca_file`, too.
    ///
    /// # Errors
    /// When the configuration or the file cannot be used, or the machine has no usable TLS set-up.
    pub fn open(config: Config, leadership: &Leadership, probe_ca_file: Option<&Path>) -> Result<Self, Error> {
        Ok(Ports {
            client: leadership.client(config)?,
            transport: Transport::new()?,
            prober: Arc::new(prober(probe_ca_file)?),
            receivers: Arc::new(ReceiverClient::new()?),
        })
    }
}

fn prober(ca_file: Option<&Path>) -> Result<Prober, Error> {
    let Some(path) = ca_file else { return Ok(Prober::new(b"")?) };
    let unusable = |problem: String| Error::ProbeAuthorities { path: path.to_owned(), problem };
    let bundle = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    Prober::new(&bundle).map_err(|error| unusable(error.to_string()))
}

/// The cluster this process runs in, or that `KUBECONFIG` names.
///
/// # Errors
/// When there is none.
pub async fn kubernetes() -> Result<Config, Error> {
    let mut config = Config::infer().await?;
    // Every look is repeated anyway; retries below it would only hide for minutes what the status could say.
    config.default_retry = false;
    config.read_timeout = None;
    Ok(config)
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}
