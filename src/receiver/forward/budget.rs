//! The memory budget for the bodies on their way to all sinks. Each sink has an equal share, so that no sink waits for
//! the bodies of another. An event that exceeds its sink's share is sent alone: one at a time in the whole process, in
//! the order of the requests for it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget without a memory limit.
const DEFAULT: usize = 32 << 20;
/// The part of the memory limit that is the budget.
const PART: u64 = 8;
/// A body on its way may exist several times: as read, as rendered, and in the buffers of the connection.
const COPIES: usize = 3;

/// The budget of a process.
#[derive(Clone, Debug)]
pub struct BodiesInFlight {
    bytes: usize,
    large: Arc<Semaphore>,
}

/// The right to read one event that exceeds its sink's share.
pub(super) type LargePermit = OwnedSemaphorePermit;

impl BodiesInFlight {
    /// The budget of a process with this memory limit.
    #[must_use]
    pub fn new(memory_limit: Option<u64>) -> Self {
        let part = memory_limit.map(|limit| usize::try_from(limit / PART).unwrap_or(usize::MAX));
        BodiesInFlight { bytes: part.unwrap_or(DEFAULT).min(DEFAULT), large: Arc::new(Semaphore::new(1)) }
    }

    /// The bytes of bodies that one of this number of sinks may have in memory.
    pub(super) fn share(&self, sinks: usize) -> usize {
        self.bytes / COPIES / sinks.max(1)
    }

    /// Waits for the right to read one event that exceeds its sink's share; `None` is never returned while the budget
    /// exists.
    pub(super) async fn large(&self) -> Option<LargePermit> {
        Arc::clone(&self.large).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn the_shares_of_all_sinks_are_a_part_of_the_memory_limit() {
        let budget = BodiesInFlight::new(Some(256 << 20));
        for sinks in [0, 1, 16, 64] {
            assert!(budget.share(sinks) * sinks * COPIES <= 32 << 20);
        }
        assert!(budget.share(16) >= 2 * 256 * 1024, "{}", budget.share(16));
        assert_eq!(BodiesInFlight::new(Some(48 << 20)).share(1), 2 << 20);
        assert_eq!(BodiesInFlight::new(Some(1 << 40)).share(1), BodiesInFlight::new(None).share(1));
    }

    #[test]
    fn large_events_are_sent_one_at_a_time() {
        let budget = BodiesInFlight::new(None);
        let first = budget.large().now_or_never().flatten();
        assert!(first.is_some());
        assert!(budget.large().now_or_never().is_none());
        drop(first);
        assert!(budget.large().now_or_never().flatten().is_some());
    }
}
