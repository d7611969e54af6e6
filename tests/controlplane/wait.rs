//! Waiting for a condition, never for a time to pass.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Twice the longest wait between two attempts that a scenario provokes: it only ends a test that fails anyway.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Waits until `condition` holds; fails with `what` when it does not in time.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    until_some(what, async || condition().await.then_some(())).await;
}

/// Waits until there is something, and returns it.
pub async fn until_some<T>(what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = find().await {
                return found;
            }
            sleep(POLL).await;
        }
    };
    timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}
