//! Brings events to the sinks: one worker per sink, each with its own place in the journal, so that no sink waits for
//! another. Sinks come and go with the route.

use std::{collections::HashMap, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::worker::Worker;
use super::{config::Current, journal::Journal, sink::http::Clients, stats::counters::DeliveryStats};

mod batch;
mod breaker;
mod lanes;
mod worker;

/// What every worker needs.
#[derive(Clone)]
pub struct Forwarder {
    pub config: Current,
    pub journal: Arc<dyn Journal>,
    pub stats: Arc<DeliveryStats>,
    pub clients: Clients,
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarder").finish_non_exhaustive()
    }
}

impl Forwarder {
    /// Keeps a worker for every sink of the route until `shutdown`; returns when the last one has recorded what it did.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let workers = TaskTracker::new();
        let mut running: HashMap<String, CancellationToken> = HashMap::new();
        loop {
            let config = self.config.borrow_and_update().clone();
            let wanted: Vec<String> =
                config.iter().flat_map(|config| &config.route.sinks).map(|sink| sink.name.clone()).collect();
            running.retain(|name, worker| {
                let stays = wanted.contains(name);
                if !stays {
                    worker.cancel();
                }
                stays
            });
            for name in wanted {
                let stop = shutdown.child_token();
                running.entry(name).or_insert_with_key(|name| {
                    workers.spawn(Worker::new(name.clone(), self.clone(), stop.clone()).run());
                    stop
                });
            }
            // The sender lives as long as the receiver, so an error means that it is ending.
            if !matches!(shutdown.run_until_cancelled(self.config.changed()).await, Some(Ok(()))) {
                break;
            }
        }
        for worker in running.values() {
            worker.cancel();
        }
        workers.close();
        workers.wait().await;
    }
}
