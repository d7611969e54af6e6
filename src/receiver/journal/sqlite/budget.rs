//! The budget of a transaction that deletes rows: how many bytes of pages it may write to the write-ahead log, and how
//! many bytes of bodies it may free. The writer makes room in the log for the budget before the transaction begins. Pure.

use super::commit_size::PAGE_BYTES;

/// The bodies that one transaction frees at most: SQLite reads each of their pages to put it on the list of free pages,
/// and a delivery may wait for that.
const BODY_BYTES: u64 = 32 << 20;
/// The part of a body that is stored beside other events; the rest has pages of its own, which are freed but not
/// written.
const LOCAL_BYTES: u64 = PAGE_BYTES as u64;

/// A page in bytes.
pub(super) const PAGE: u64 = PAGE_BYTES as u64;

/// The rest of a budget. At least one row is always admitted, or nothing would ever be deleted.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: u64,
    body_bytes: u64,
    spent: bool,
    /// The last deleted event: the next one is mostly stored on the same page.
    last: Option<i64>,
}

impl Budget {
    pub(super) fn of_pages(pages: u32) -> Self {
        Budget { bytes: u64::from(pages) * PAGE, body_bytes: BODY_BYTES, spent: false, last: None }
    }

    /// Whether a row that writes at most `pages` fits.
    pub(super) fn admits(&self, pages: u64) -> bool {
        !self.spent || (self.bytes >= pages.saturating_mul(PAGE) && self.body_bytes > 0)
    }

    /// Spends whole pages.
    pub(super) fn spend_pages(&mut self, pages: u64) {
        self.spend(pages.saturating_mul(PAGE));
    }

    /// Spends the deletion of an event with a body of this length. Events in order share their pages.
    pub(super) fn spend_event(&mut self, position: i64, body_bytes: u64) {
        let neighbour = self.last.is_some_and(|last| last.saturating_add(1) == position);
        self.last = Some(position);
        self.body_bytes = self.body_bytes.saturating_sub(body_bytes);
        // Twice: neighbours that are half empty are merged, and pages above them change.
        let local = body_bytes.min(LOCAL_BYTES).saturating_add(EVENT_ROW_BYTES).saturating_mul(2);
        // Pages of its own end on the list of free pages, which is written a page for two thousand of them.
        let list = if body_bytes > LOCAL_BYTES { PAGE } else { 0 };
        self.spend(local + list + if neighbour { 0 } else { 2 * PAGE });
    }

    fn spend(&mut self, bytes: u64) {
        self.spent = true;
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The bytes of an event besides its body.
const EVENT_ROW_BYTES: u64 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many events with bodies of this length fit into 100 pages, each `step` after the one before.
    fn fitting(body_bytes: u64, step: i64) -> i64 {
        let mut budget = Budget::of_pages(100);
        let mut events = 0;
        while budget.admits(4) {
            budget.spend_event(events * step, body_bytes);
            events += 1;
        }
        events
    }

    #[test]
    fn neighbours_share_pages_and_large_bodies_are_bounded_by_the_time_to_free_them() {
        assert!(fitting(200, 1) > 1000);
        assert!((40..=60).contains(&fitting(200, 2)));
        assert_eq!(fitting(16 << 20, 1), 2);
    }

    #[test]
    fn one_row_is_admitted_whatever_it_costs() {
        let mut budget = Budget::of_pages(0);
        assert!(budget.admits(50));
        budget.spend_pages(50);
        assert!(!budget.admits(1));
    }
}
