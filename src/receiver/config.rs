//! The route in use.

use std::sync::Arc;

use tokio::sync::watch;

use crate::route::Route;

/// A route that was loaded and that the journal has taken up.
#[derive(Debug)]
pub struct Config {
    pub route: Route,
    /// [`Route::digest`] of the file.
    pub digest: String,
}

/// The route in use, as everything in the receiver sees it; `None` until there was a first good one.
pub type Current = watch::Receiver<Option<Arc<Config>>>;
