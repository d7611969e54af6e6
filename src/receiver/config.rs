//! The configuration of the receiver: the route in use.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    ingest::{admit::Window, redact::Redaction},
    sink::destination::Destination,
};
use crate::route::{Route, RouteError};

pub mod ca_bundle_watcher;
pub mod certificate;
pub mod certificate_watcher;
pub mod route_watcher;

/// A valid route that the journal has applied.
#[derive(Debug)]
pub struct Config {
    pub route: Route,
    /// [`Route::digest`] of the file.
    pub digest: String,
    /// The accepted range of a delivery's timestamp.
    pub window: Window,
    /// The JSON fields whose values are never stored.
    pub redaction: Redaction,
    /// The route's sinks, ready to send to, except those whose address is unknown.
    pub destinations: Vec<Arc<Destination>>,
}

impl Config {
    /// Compiles the route for deliveries and attempts.
    ///
    /// # Errors
    /// If a sink's template or filter does not compile. The operator compiles them before it renders the route, so it
    /// must then be of another version.
    pub fn new(route: Route, digest: String) -> Result<Self, RouteError> {
        let destinations = route.sinks.iter().filter_map(|sink| Destination::new(&route.webhook, sink).transpose());
        let destinations = destinations.map(|destination| destination.map(Arc::new)).collect::<Result<_, _>>()?;
        let (window, redaction) = (Window::of(&route), Redaction::new(&route.redact_fields));
        Ok(Config { route, digest, window, redaction, destinations })
    }
}

/// The route in use; `None` until the first valid route is loaded.
pub type Current = watch::Receiver<Option<Arc<Config>>>;
