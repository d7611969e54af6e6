//! The route in use.

use std::sync::Arc;

use tokio::sync::watch;

use super::{admit::Window, redact::Redaction};
use crate::route::Route;

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
}

impl Config {
    /// Prepares what every delivery needs of a route.
    #[must_use]
    pub fn new(route: Route, digest: String) -> Self {
        Config { window: Window::of(&route), redaction: Redaction::new(&route.redact_fields), route, digest }
    }
}

/// The route in use, as everything in the receiver sees it; `None` until there was a first good one.
pub type Current = watch::Receiver<Option<Arc<Config>>>;
