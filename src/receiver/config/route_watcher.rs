//! Loads the route from its file. The file is compared by content every second: a mounted Secret changes by swapping
//! symbolic links, and file notifications for that differ between volumes. An invalid file leaves the last valid route
//! in use.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{fs, sync::watch, time::sleep};
use zeroize::Zeroizing;

use super::Config;
use crate::{
    clock, memory_limit,
    receiver::{
        journal::{Journal, Settings},
        stats::counters::DeliveryStats,
    },
    route::{Route, RouteError},
};

const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Watches one route file.
pub struct RouteWatcher {
    file: PathBuf,
    journal: Arc<dyn Journal>,
    stats: Arc<DeliveryStats>,
    config: watch::Sender<Option<Arc<Config>>>,
    /// The result of the last poll, so that each result is logged once.
    last: Option<Finding>,
}

impl std::fmt::Debug for RouteWatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteWatcher").field("file", &self.file).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Finding {
    /// The file has this digest, whether it is valid or not.
    File(String),
    /// The file cannot be read, for this reason.
    None(String),
}

impl RouteWatcher {
    #[must_use]
    pub fn new(
        file: PathBuf,
        journal: Arc<dyn Journal>,
        stats: Arc<DeliveryStats>,
        config: watch::Sender<Option<Arc<Config>>>,
    ) -> Self {
        RouteWatcher { file, journal, stats, config, last: None }
    }

    /// Polls the file and never returns. Cancel-safe.
    pub async fn run(mut self) {
        loop {
            self.poll().await;
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Reads the file once, and applies the route if it has changed.
    async fn poll(&mut self) {
        // The file holds secrets, so the buffer is zeroed when it is dropped.
        let read = fs::read(&self.file).await.map(Zeroizing::new).map_err(RouteError::Read);
        let finding = match &read {
            Ok(bytes) => Finding::File(Route::digest(bytes)),
            Err(error) => Finding::None(error.to_string()),
        };
        if self.last.as_ref() == Some(&finding) {
            return;
        }
        let config = read.and_then(|bytes| Config::new(Route::parse(&bytes)?, Route::digest(&bytes)));
        let applied = match config {
            Ok(config) => self.apply(config).await,
            Err(error) => {
                let in_use = self.config.borrow().as_ref().map(|config| config.digest.clone());
                tracing::error!(file = %self.file.display(), %error, in_use, "route file rejected");
                true
            }
        };
        if applied {
            self.last = Some(finding);
        }
    }

    /// Applies the route to the journal, then to the rest of the receiver. Returns whether the journal applied it; if
    /// not, the next poll retries.
    async fn apply(&self, config: Config) -> bool {
        let Config { route, digest, .. } = &config;
        if let Err(error) = self.journal.configure(Settings::of(route)).await {
            if let Some(suppressed) = self.stats.admit_line("cannot apply the route", clock::monotonic()) {
                tracing::error!(%error, suppressed, "cannot apply the route to the journal, retrying");
            }
            return false;
        }
        let (keys, sinks) = (route.keys.len(), route.sinks.len());
        tracing::info!(digest, path = route.path, keys, sinks, "route loaded");
        let body_limit = self.journal.body_limit().min(memory_limit::largest_body());
        if route.max_body_bytes > body_limit {
            tracing::warn!(
                max_body_bytes = route.max_body_bytes,
                body_limit,
                "maxBodyBytes is more than the journal volume or the memory limit permits, larger bodies are rejected: enlarge them"
            );
        }
        let after = route.keys.clone();
        // The statistics about the old keys are reset only after no delivery is verified with these keys any more.
        if let Some(before) = self.config.send_replace(Some(Arc::new(config))) {
            self.stats.keys_changed(&before.route.keys, &after);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{metrics::histogram::Histogram, registry::Registry};

    use super::*;
    use crate::{
        receiver::{journal::sqlite::SqliteJournal, stats::metrics::Metrics},
        route::tests::route,
    };

    #[tokio::test]
    async fn an_invalid_or_missing_file_leaves_the_last_valid_route_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("route");
        let journal = SqliteJournal::open(&directory.path().join("journal"), Histogram::new([0.1])).unwrap();
        let stats = DeliveryStats::new(Metrics::register(&mut Registry::default()));
        let (publish, config) = watch::channel(None);
        let mut watcher = RouteWatcher::new(file.clone(), Arc::new(journal), Arc::new(stats), publish);
        let in_use = || config.borrow().as_ref().map(|config: &Arc<Config>| config.digest.clone());
        let good = route().render().unwrap();
        std::fs::write(&file, &good).unwrap();
        watcher.poll().await;
        assert_eq!(in_use(), Some(Route::digest(&good)));
        std::fs::write(&file, "{ not a route").unwrap();
        watcher.poll().await;
        assert_eq!(in_use(), Some(Route::digest(&good)));
        std::fs::remove_file(&file).unwrap();
        watcher.poll().await;
        assert_eq!(in_use(), Some(Route::digest(&good)));
    }
}
