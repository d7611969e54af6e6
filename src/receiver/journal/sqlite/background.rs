//! The writer's background work: bounded transactions of its own, between commits.

use std::time::{Duration, Instant};

use rusqlite::Result;

use super::{
    commit_size,
    error::is_busy,
    redrive::{self, Step},
    removed,
    writer::Writer,
};
use crate::clock;

/// The interval of the steps of requests to send events again, and the delay before work that failed is retried.
const INTERVAL: Duration = Duration::from_secs(1);

impl Writer {
    /// How long until there is background work.
    pub(super) fn background_in(&self) -> Duration {
        let next = [self.convert_at, self.redrive_at].into_iter().flatten().min();
        next.map_or(Duration::MAX, |at| at.saturating_duration_since(clock::monotonic()))
    }

    /// Does the next part of the work that is due.
    pub(super) fn work_in_background(&mut self) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= clock::monotonic());
        if due(self.convert_at) {
            self.convert_at = match self.convert_removed() {
                Ok(Some(true)) => Some(clock::monotonic()),
                Ok(Some(false)) => {
                    // They may have been the last that kept an event.
                    self.expiry.rescan_events();
                    self.nothing_to_evict = false;
                    None
                }
                Ok(None) => Some(clock::monotonic() + INTERVAL),
                Err(error) => self.retry_after(error),
            };
        }
        if due(self.redrive_at) {
            let next = clock::monotonic() + INTERVAL;
            self.redrive_at = match self.redrive() {
                Ok(Some(Step { queued, pending })) => {
                    if queued > 0 {
                        self.requeued();
                    }
                    pending.then_some(next)
                }
                Ok(None) => Some(next),
                Err(error) => self.retry_after(error),
            };
        }
    }

    /// Reports a failure of background work. Returns when to try again. Other processes only put it off.
    fn retry_after(&mut self, error: rusqlite::Error) -> Option<Instant> {
        if self.give_way(&error) {
            return Some(clock::monotonic());
        }
        if !is_busy(&error) {
            self.mark_failed(error);
        }
        Some(clock::monotonic() + INTERVAL)
    }

    /// Whether there is room in the log for this number of settlements. Deliveries are not held up to make it.
    fn has_room_for(&mut self, settlements: usize) -> Result<bool> {
        self.wal.try_make_room(&self.connection, commit_size::settle_pages(settlements), clock::monotonic())
    }

    /// Turns a batch of events of removed sinks into dead letters. Returns whether there may be more, or `None` without
    /// room in the log.
    fn convert_removed(&mut self) -> Result<Option<bool>> {
        let limit = self.room.bounds().settlements();
        if !self.has_room_for(limit)? {
            return Ok(None);
        }
        let now = self.expiry.time().now;
        let transaction = self.connection.transaction()?;
        let more = removed::convert(&transaction, now, limit)?;
        transaction.commit()?;
        Ok(Some(more))
    }

    /// Queues the events that must be sent again in the next second. Returns `None` without room in the log.
    fn redrive(&mut self) -> Result<Option<Step>> {
        let limit = self.room.bounds().settlements();
        if !self.has_room_for(limit)? {
            return Ok(None);
        }
        let transaction = self.connection.transaction()?;
        let step = redrive::step(&transaction, clock::now().as_millisecond(), limit)?;
        transaction.commit()?;
        Ok(Some(step))
    }
}
