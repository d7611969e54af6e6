//! Bounds of the journal's files and transactions, which follow from the size of the volume. Pure.

use super::commit_size::{INDEX_PAGES_PER_APPEND, PAGE_BYTES, PAGES_PER_SETTLEMENT};

/// The write-ahead log and the ballast have at most this part of the volume each.
const VOLUME_PART: u64 = 16;
/// The greatest bound of the log: 32 MiB.
const LOG_BYTES_MAX: u64 = 32 << 20;
/// The smallest: less does not hold the transactions. Volumes that are smaller than 13 MiB are for tests only.
const LOG_BYTES_MIN: u64 = 100 * FRAME_BYTES;
/// A page in the log has a header, and so has the log itself.
const FRAME_BYTES: u64 = PAGE_BYTES as u64 + 24;
const LOG_HEADER_BYTES: u64 = 32;
/// The smallest capacity that the API admits. A smaller one, in tests, does not shrink the log further.
const CAPACITY_MIN: u64 = 64 << 20;
/// The maximum of requests in one commit: bounds how long the first of them waits for the last.
const REQUESTS_MAX: u32 = 256;
/// The maximum of settlements in a transaction that the writer makes by itself: a delivery may wait for it.
const SETTLEMENTS_MAX: u32 = 256;
/// The pages that the deletion of a batch of rows writes at most besides a page of each row: the list of free pages.
const FREE_LIST_PAGES: u32 = 32;

/// The bound of the write-ahead log, from which the other bounds follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    log_pages: u32,
}

impl Bounds {
    /// The bounds on a large volume.
    #[cfg(test)]
    pub(super) const LARGEST: Bounds = Bounds { log_pages: ((LOG_BYTES_MAX - LOG_HEADER_BYTES) / FRAME_BYTES) as u32 };

    /// The bounds on a volume of this size, if it is known, with this configured capacity.
    pub(super) fn of(volume_bytes: Option<u64>, capacity_bytes: u64) -> Self {
        let volume = volume_bytes.unwrap_or(u64::MAX).min(capacity_bytes.max(CAPACITY_MIN));
        let log = (volume / VOLUME_PART).clamp(LOG_BYTES_MIN, LOG_BYTES_MAX) - LOG_HEADER_BYTES;
        Bounds { log_pages: u32::try_from(log / FRAME_BYTES).unwrap_or(u32::MAX) }
    }

    /// The maximum length of the log, in pages.
    pub(super) fn log_pages(self) -> u32 {
        self.log_pages
    }

    /// The maximum length of the log's file.
    pub(super) fn log_bytes(self) -> u64 {
        u64::from(self.log_pages) * FRAME_BYTES + LOG_HEADER_BYTES
    }

    /// The length of the ballast: it replaces every block that the log and the next checkpoint can lack.
    pub(super) fn ballast_bytes(self) -> u64 {
        self.log_bytes()
    }

    /// The greatest body of an event.
    pub(super) fn body_bytes(self) -> u64 {
        self.log_bytes() / 2
    }

    /// The limit of one commit, unless it is a single request. Index pages are not included.
    pub(super) fn commit_pages(self) -> u32 {
        self.log_pages / 4
    }

    /// The maximum of requests in one commit: their index pages have a quarter of the log as well.
    pub(super) fn requests(self) -> usize {
        (self.log_pages / 4 / INDEX_PAGES_PER_APPEND).clamp(1, REQUESTS_MAX) as usize
    }

    /// The pages that the eviction of a batch of events writes at most.
    pub(super) fn evict_pages(self) -> u32 {
        (self.log_pages / 6).min(568) + FREE_LIST_PAGES.min(self.log_pages / 16)
    }

    /// How many events one transaction settles at most that the writer makes by itself.
    pub(super) fn settlements(self) -> usize {
        (self.log_pages / 4 / PAGES_PER_SETTLEMENT).clamp(1, SETTLEMENTS_MAX) as usize
    }

    /// The pages that one pass writes at most that expires events, dead letters with their indexes, late settlements and
    /// identities in two indexes, and evicts events.
    pub(super) fn prune_pages(self) -> u32 {
        (self.log_pages / 2).min(2000) + self.evict_pages()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::journal::sqlite::commit_size::append_pages;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_log_has_a_sixteenth_of_the_volume_and_32_mib_at_most() {
        for (volume, capacity, log) in [
            (Some(57 * MIB), 64 * MIB, 57 * MIB / 16),
            (Some(256 * MIB), 256 * MIB, 16 * MIB),
            (Some(1 << 40), 64 * MIB, 4 * MIB),
            (Some(1 << 40), 5 << 30, 32 * MIB),
            (Some(1 << 40), 1, 4 * MIB),
            (None, u64::MAX, 32 * MIB),
        ] {
            let bytes = Bounds::of(volume, capacity).log_bytes();
            assert!(bytes <= log && bytes > log - FRAME_BYTES - LOG_HEADER_BYTES, "{volume:?}: {bytes} of {log}");
        }
    }

    #[test]
    fn the_largest_transactions_fit_into_an_empty_log() {
        for volume in [1, 4 * MIB, 32 * MIB, 57 * MIB, 200 * MIB, 1 << 40] {
            let bounds = Bounds::of(Some(volume), volume);
            let body = usize::try_from(bounds.body_bytes()).unwrap();
            let largest_body = append_pages(body) + INDEX_PAGES_PER_APPEND + bounds.evict_pages();
            let requests = u32::try_from(bounds.requests()).unwrap();
            let largest_batch = bounds.commit_pages() + requests * INDEX_PAGES_PER_APPEND + bounds.evict_pages();
            for (what, pages) in [("body", largest_body), ("batch", largest_batch), ("prune", bounds.prune_pages())] {
                assert!(pages < bounds.log_pages(), "{volume}: {what}: {pages} of {}", bounds.log_pages());
            }
        }
    }
}
