//! Restarts of the write-ahead log, as its readers see them. A reader whose query was interrupted because its snapshot
//! held up a restart waits until that has ended: a query that began meanwhile would be interrupted as well.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::InterruptHandle;

use crate::clock;

/// Whether a restart is running.
#[derive(Clone, Debug, Default)]
pub(super) struct Restarts(Arc<(Mutex<bool>, Condvar)>);

/// The readers of this process, to interrupt.
pub(super) struct Readers {
    pub(super) queries: InterruptHandle,
    pub(super) restarts: Restarts,
}

/// A running restart, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Restarting(Restarts);

impl Restarts {
    pub(super) fn begin(&self) -> Restarting {
        self.set(true);
        Restarting(self.clone())
    }

    /// Blocks until no restart is running, at most for `timeout`.
    pub(super) fn wait(&self, timeout: Duration) {
        let until = clock::monotonic() + timeout;
        let (running, ended) = &*self.0;
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        while *running {
            let left = until.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                return;
            }
            running = ended.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn set(&self, value: bool) {
        let (running, ended) = &*self.0;
        *running.lock().unwrap_or_else(PoisonError::into_inner) = value;
        ended.notify_all();
    }
}

impl Drop for Restarting {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_wait_ends_with_the_restart_or_with_its_timeout() {
        let restarts = Restarts::default();
        restarts.wait(Duration::from_secs(60));
        let restarting = restarts.begin();
        restarts.wait(Duration::from_millis(1));
        let waiting = thread::spawn(move || restarts.wait(Duration::from_secs(60)));
        drop(restarting);
        waiting.join().unwrap();
    }
}
