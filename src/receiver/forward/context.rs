//! The dependencies of the scheduler and its workers.

use std::sync::Arc;

use super::budget::BodiesInFlight;
use crate::receiver::{config::Current, journal::Journal, sink::http::Clients, stats::counters::DeliveryStats};

/// The dependencies of every worker. Cloning it shares them.
#[derive(Clone)]
pub struct Context {
    pub config: Current,
    pub journal: Arc<dyn Journal>,
    pub stats: Arc<DeliveryStats>,
    pub clients: Clients,
    pub bodies: BodiesInFlight,
    /// The number of attempts in flight for which the process has files. All sinks have equal shares, and at least one.
    pub attempts: usize,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}
