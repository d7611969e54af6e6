//! The writer's background work: bounded transactions of its own, between commits.

use std::time::{Duration, Instant};

use rusqlite::Result;

use super::{
    commit_size,
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
                Ok(more) => more.then(clock::monotonic),
                Err(error) => {
                    self.mark_failed(error);
                    Some(clock::monotonic() + INTERVAL)
                }
            };
        }
        if due(self.redrive_at) {
            let next = clock::monotonic() + INTERVAL;
            self.redrive_at = match self.redrive() {
                Ok(Step { queued, pending }) => {
                    if queued > 0 {
                        self.appended.send_replace(self.last);
                    }
                    pending.then_some(next)
                }
                Err(error) => {
                    self.mark_failed(error);
                    Some(next)
                }
            };
        }
    }

    /// Turns a batch of events of removed sinks into dead letters. Returns whether there may be more.
    fn convert_removed(&mut self) -> Result<bool> {
        let limit = self.room.bounds().settlements();
        self.make_room(commit_size::settle_pages(limit))?;
        let now = self.expiry.time().now;
        let transaction = self.connection.transaction()?;
        let more = removed::convert(&transaction, now, limit)?;
        transaction.commit()?;
        Ok(more)
    }

    /// Queues the events that must be sent again in the next second.
    fn redrive(&mut self) -> Result<Step> {
        let limit = self.room.bounds().settlements();
        self.make_room(commit_size::settle_pages(limit))?;
        let transaction = self.connection.transaction()?;
        let step = redrive::step(&transaction, clock::now().as_millisecond(), limit)?;
        transaction.commit()?;
        Ok(step)
    }
}
