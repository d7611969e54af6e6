//! Runs one worker per sink of the route. A change of the route starts and stops workers.

use std::collections::HashMap;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{context::Context, worker::Worker};

/// Runs a worker for every sink of the route until `shutdown`; returns once every worker has recorded its outcomes.
pub async fn run(mut context: Context, shutdown: CancellationToken) {
    let workers = TaskTracker::new();
    let mut running: HashMap<String, CancellationToken> = HashMap::new();
    loop {
        let config = context.config.borrow_and_update().clone();
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
            running.entry(name).or_insert_with_key(|name| {
                let (worker, stop) = Worker::new(name.clone(), context.clone(), shutdown.clone());
                workers.spawn(worker.run());
                stop
            });
        }
        // The sender lives as long as the receiver, so an error means that the receiver shuts down.
        if !matches!(shutdown.run_until_cancelled(context.config.changed()).await, Some(Ok(()))) {
            break;
        }
    }
    for worker in running.values() {
        worker.cancel();
    }
    workers.close();
    workers.wait().await;
}
