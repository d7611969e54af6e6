//! What the operator reaches the world through. One of each per process; a test may put another world behind them.

use std::{fmt, sync::Arc};

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
    /// Those of the cluster that `config` leads to. Its API server is written to only while this process leads.
    ///
    /// # Errors
    /// When the configuration cannot be used, or the machine has no usable TLS set-up.
    pub fn open(config: Config, leadership: &Leadership) -> Result<Self, Error> {
        Ok(Ports {
            client: leadership.client(config)?,
            transport: Transport::new()?,
            prober: Arc::new(Prober::new()?),
            receivers: Arc::new(ReceiverClient::new()?),
        })
    }
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
