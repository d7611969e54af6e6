//! The route in use.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    ingest::{admit::Window, redact::Redaction},
    sink::destination::Destination,
};
use crate::route::{Route, RouteError};

pub mod certificate;
pub mod certificate_watcher;
pub mod route_watcher;

/// A route that was loaded and that the journal has taken up.
#[derive(Debug)]
pub struct Config {
    pub route: Route,
    /// [`Route::digest`] of the file.
    pub digest: String,
    /// When a delivery may have been signed.
    pub window: Window,
    /// What is never kept.
    pub redaction: Redaction,
    /// The route's sinks, ready to be sent to, but for those of which it is not known where they are.
    pub destinations: Vec<Arc<Destination>>,
}

impl Config {
    /// Prepares what every delivery and every attempt needs of a route.
    ///
    /// # Errors
    /// When a sink's template or filter does not compile: the operator has tried it before, so the two are not of one version.
    pub fn new(route: Route, digest: String) -> Result<Self, RouteError> {
        let destinations = route.sinks.iter().filter_map(|sink| Destination::new(&route.webhook, sink).transpose());
        let destinations = destinations.map(|destination| destination.map(Arc::new)).collect::<Result<_, _>>()?;
        let (window, redaction) = (Window::of(&route), Redaction::new(&route.redact_fields));
        Ok(Config { route, digest, window, redaction, destinations })
    }
}

/// The route in use, as everything in the receiver sees it; `None` until there was a first good one.
pub type Current = watch::Receiver<Option<Arc<Config>>>;
