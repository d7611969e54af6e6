//! Estimates of the pages that a transaction adds to the write-ahead log. The writer makes room for that many pages
//! before it begins, so that the log stays within its limit ([`super::bounds`]) under any load. Pure.

/// The page size of the database, in bytes.
pub(super) const PAGE_BYTES: u32 = 8192;
/// The index pages that each append writes at most, because it also flushes older keys: two in each of two indexes.
pub(super) const INDEX_PAGES_PER_APPEND: u32 = 4;
/// The estimated space of an event besides its body.
const OVERHEAD_BYTES: i128 = 512;
/// The pages that a settlement writes at most: the retry with its two indexes, and the dead letter with its two.
pub(super) const PAGES_PER_SETTLEMENT: u32 = 6;

/// The pages of an event with a body of this length.
pub(super) fn append_pages(body_bytes: usize) -> u32 {
    saturating(body_bytes / PAGE_BYTES as usize).saturating_add(1)
}

/// The bytes of the database that an event with a body of this length takes up, roughly: a large body ends on a page of
/// its own.
pub(super) fn append_bytes(body_bytes: usize) -> i128 {
    let own_pages = body_bytes > PAGE_BYTES as usize / 4;
    let bytes = if own_pages { body_bytes.next_multiple_of(PAGE_BYTES as usize) } else { body_bytes };
    bytes as i128 + OVERHEAD_BYTES
}

/// The pages of this number of settlements.
pub(super) fn settle_pages(settlements: usize) -> u32 {
    saturating(settlements).saturating_mul(PAGES_PER_SETTLEMENT)
}

fn saturating(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
