//! What the operator reaches the world through. One of each per process; a test may put another world behind them.

use std::{fmt, sync::Arc};

use kube::{Client, Config};

use super::Error;
pub use super::webhook::{
    observed::ProbeResult,
    probe::{Probe, Prober},
    receiver_client::{ReceiverClient, Receivers},
};
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
    /// Those of the cluster this process runs in, or that `KUBECONFIG` names.
    ///
    /// # Errors
    /// When there is none, or the machine has no usable TLS set-up.
    pub async fn open() -> Result<Self, Error> {
        let mut config = Config::infer().await?;
        // Every look is repeated anyway; retries below it would only hide for minutes what the status could say.
        config.default_retry = false;
        config.read_timeout = None;
        Ok(Ports {
            client: Client::try_from(config)?,
            transport: Transport::new()?,
            prober: Arc::new(Prober::new()?),
            receivers: Arc::new(ReceiverClient::new()?),
        })
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}
