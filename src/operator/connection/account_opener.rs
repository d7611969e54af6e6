//! The dependencies of opening an account.

use std::time::Duration;

use kube::Client;

use crate::{
    linktree::client::Transport,
    operator::{election::leadership::Leadership, metrics::Metrics},
};

/// Everything that is needed to open an account, except the credentials.
#[derive(Clone)]
pub struct AccountOpener {
    pub client: Client,
    pub transport: Transport,
    /// Timeout of one request to Linktree.
    pub timeout: Duration,
    pub leadership: Leadership,
    pub metrics: Metrics,
}
