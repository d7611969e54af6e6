//! Waits for a condition with a deadline.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Twice the longest backoff that a scenario causes; only a failing test reaches it.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Waits until `condition` holds; panics with `what` at the deadline.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    until_some(what, async || condition().await.then_some(())).await;
}

/// Waits until `find` returns a value, and returns it.
pub async fn until_some<T>(what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = find().await {
                return found;
            }
            sleep(POLL).await;
        }
    };
    timeout(DEADLINE, found)
        .await
        .unwrap_or_else(|_| panic!("timed out after {} s waiting until {what}", DEADLINE.as_secs()))
}
