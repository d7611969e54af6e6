//! The settings and clients from which an account is opened.

use std::time::Duration;

use kube::Client;

use crate::{
    linktree::client::Transport,
    operator::{election::leadership::Leadership, kubernetes::field_manager::FieldManager, metrics::Metrics},
};

/// Everything that opening an account needs, except its credentials.
#[derive(Clone)]
pub struct AccountOpener {
    pub client: Client,
    pub manager: FieldManager,
    pub transport: Transport,
    /// Timeout of one request to Linktree.
    pub timeout: Duration,
    pub leadership: Leadership,
    pub metrics: Metrics,
}
