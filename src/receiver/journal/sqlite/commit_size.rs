//! The limit of the write-ahead log, and estimates of the pages that a transaction adds to it. The writer makes room for
//! that many pages before it begins, so that the log stays within its limit under any load. Pure.

/// The page size of the database, in bytes.
pub(super) const PAGE_BYTES: u32 = 8192;
/// The limit of the log's file: 32 MiB.
pub(super) const LIMIT_BYTES: u32 = 32 << 20;
/// The limit in pages: each has a header of 24 bytes, and the file one of 32.
pub(super) const LIMIT_PAGES: u32 = (LIMIT_BYTES - 32) / (PAGE_BYTES + 24);
/// The limit of one commit, unless it is a single request: a quarter of the log. Index pages are not included.
pub(super) const COMMIT_MAX_PAGES: u32 = LIMIT_PAGES / 4;

/// The pages that the deletion of a batch of events writes at most: a page of each event, and the list of free pages.
pub(super) const EVICT_PAGES: u32 = 600;
/// The pages that one pass writes at most that expires events, dead letters with their indexes, late settlements and
/// identities in two indexes, and evicts events. Each is a batch of 500, and those that are found together are mostly
/// stored together.
pub(super) const PRUNE_PAGES: u32 = 4 * 500 + EVICT_PAGES;
/// The index pages that each append writes at most, because it also flushes older keys: two in each of two indexes.
pub(super) const INDEX_PAGES_PER_APPEND: u32 = 4;
/// The pages that a settlement writes at most: the retry with its two indexes, and the dead letter with its two.
const PAGES_PER_SETTLEMENT: u32 = 6;

/// The pages of an event with a body of this length.
pub(super) fn append_pages(body_bytes: usize) -> u32 {
    saturating(body_bytes / PAGE_BYTES as usize).saturating_add(1)
}

/// The pages of this number of settlements.
pub(super) fn settle_pages(settlements: usize) -> u32 {
    saturating(settlements).saturating_mul(PAGES_PER_SETTLEMENT)
}

fn saturating(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_transactions_fit_into_an_empty_log() {
        let largest_body = append_pages(16 << 20) + INDEX_PAGES_PER_APPEND + EVICT_PAGES;
        let largest_batch = COMMIT_MAX_PAGES + 256 * INDEX_PAGES_PER_APPEND + EVICT_PAGES;
        for (what, pages) in [("body", largest_body), ("batch", largest_batch), ("prune", PRUNE_PAGES)] {
            assert!(pages < LIMIT_PAGES, "{what}: {pages} of {LIMIT_PAGES}");
        }
    }
}
