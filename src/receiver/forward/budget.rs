//! The memory budget for the bodies on their way to all sinks. Each sink has an equal share, so that no sink waits for
//! the bodies of another. An event that exceeds its sink's share comes from a common pool, one for each sink at a time,
//! in the order of the requests. Sinks that fail exceed their share one at a time, so that they do not occupy the pool.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::large::Large;

/// The budget of all shares without a memory limit.
const DEFAULT: usize = 32 << 20;
/// The part of the memory limit that is the budget of all shares.
const PART: u64 = 8;
/// The size of the pool, as a multiple of that.
const POOL: usize = 2;
/// A body on its way may exist several times: as read, as rendered, and in the buffers of the connection.
const COPIES: usize = 3;
/// The unit of the pool in bytes.
const UNIT: usize = 1024;

/// The budget of a process.
#[derive(Clone, Debug)]
pub struct BodiesInFlight {
    bytes: usize,
    pool: Arc<Semaphore>,
    units: u32,
    failing: Arc<Semaphore>,
}

/// The right to read one event that exceeds its sink's share.
pub(super) type LargePermit = OwnedSemaphorePermit;

impl BodiesInFlight {
    /// The budget of a process with this memory limit.
    #[must_use]
    pub fn new(memory_limit: Option<u64>) -> Self {
        let part = memory_limit.map(|limit| usize::try_from(limit / PART).unwrap_or(usize::MAX));
        let bytes = part.unwrap_or(DEFAULT).min(DEFAULT);
        let units = units(bytes * POOL / COPIES).max(1);
        let pool = Arc::new(Semaphore::new(units as usize));
        BodiesInFlight { bytes, pool, units, failing: Arc::new(Semaphore::new(1)) }
    }

    /// The bytes of bodies that one of this number of sinks may have in memory.
    pub(super) fn share(&self, sinks: usize) -> usize {
        self.bytes / COPIES / sinks.max(1)
    }

    /// Waits for memory beyond the share. A body that exceeds the pool gets all of it. `None` is never returned while
    /// the budget exists.
    pub(super) async fn large(&self, large: Large) -> Option<LargePermit> {
        let permit = if large.trusted {
            Arc::clone(&self.pool).acquire_many_owned(units(large.bytes).min(self.units)).await
        } else {
            Arc::clone(&self.failing).acquire_owned().await
        };
        permit.ok()
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
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
    fn large_events_share_a_pool_and_failing_sinks_one_place() {
        let budget = BodiesInFlight::new(None);
        let take = |bytes, trusted| budget.large(Large { bytes, trusted }).now_or_never().flatten();
        let (first, second) = (take(8 << 20, true), take(8 << 20, true));
        assert!(first.is_some() && second.is_some() && take(8 << 20, true).is_none());
        let failing = take(1, false);
        assert!(failing.is_some() && take(1, false).is_none());
        drop((first, second));
        let whole = take(1 << 40, true);
        assert!(whole.is_some() && take(1, true).is_none());
        drop(failing);
        assert!(take(usize::MAX, false).is_some());
    }
}
