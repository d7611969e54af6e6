//! Keeps the route in use as the file has it. The file is compared by content every second: a mounted Secret changes
//! by swapping symbolic links, which file notifications see in a different way on every volume. A file that is not
//! good leaves the last good route in use.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{fs, sync::watch, time::sleep};
use zeroize::Zeroizing;

use super::Config;
use crate::{
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
    /// What the last look found, so that each finding is logged once.
    last: Option<Finding>,
}

impl std::fmt::Debug for RouteWatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteWatcher").field("file", &self.file).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Finding {
    /// A file of this digest, good or not.
    File(String),
    /// No file; the reason.
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

    /// Looks again and again, and never ends. It may be dropped at any time.
    pub async fn run(mut self) {
        loop {
            self.poll().await;
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Looks once and takes up what is new.
    async fn poll(&mut self) {
        // The file holds secrets, so its bytes are wiped as well.
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
                tracing::error!(file = %self.file.display(), %error, in_use, "the route file is not used");
                true
            }
        };
        if applied {
            self.last = Some(finding);
        }
    }

    /// Has the journal take the route up, then everything else. Returns whether it did; if not, the next look tries
    /// again.
    async fn apply(&self, config: Config) -> bool {
        let Config { route, digest, .. } = &config;
        if let Err(error) = self.journal.configure(Settings::of(route)).await {
            tracing::error!(%error, "the journal does not take the new route up yet");
            return false;
        }
        let (keys, sinks) = (route.keys.len(), route.sinks.len());
        tracing::info!(digest, path = route.path, keys, sinks, "a new route is in use");
        let after = route.keys.clone();
        // What was concluded from the old keys ends only when no delivery is judged by them any more.
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
    async fn a_file_that_is_bad_or_gone_leaves_the_last_good_route_in_use() {
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
