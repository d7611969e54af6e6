//! The writer's maintenance: a pass deletes a batch of expired rows and, after a failure, probes whether the journal has
//! recovered. It never holds up deliveries: it needs room in the log, but waits for no reader to get it.

use std::time::Duration;

use rusqlite::Result;

use super::{
    budget::Budget,
    drops::Drops,
    error::is_busy,
    identities::{self, IndexKeys},
    prune::{self, ago},
    schedule::Schedule,
    writer::Writer,
};
use crate::{clock, route::status::JournalHealth};

/// The result of a pass.
struct Pass {
    more: bool,
    free_bytes: i128,
    forgotten: Vec<IndexKeys>,
    nothing_to_evict: bool,
    drops: Drops,
}

impl Writer {
    /// How long the next pass must wait.
    pub(super) fn maintenance_in(&self) -> Duration {
        self.maintenance.due_in(clock::monotonic(), self.wal.has_room(self.room.bounds().prune_pages()))
    }

    /// Runs a pass, if there is room for it. Other processes that use the database put it off.
    pub(super) fn maintain(&mut self) {
        self.drops.restart();
        let failed = *self.health.borrow() != JournalHealth::Healthy;
        self.room.remeasure(&self.connection);
        self.limit_log();
        let pass = match self.pass(failed) {
            Err(error) if self.give_way(&error) => {
                self.expiry.rescan();
                self.pass(failed)
            }
            pass => pass,
        };
        self.maintenance = Schedule::new(clock::monotonic());
        match pass {
            Ok(Some(Pass { more, free_bytes, forgotten, nothing_to_evict, drops })) => {
                (self.nothing_to_evict, self.drops) = (nothing_to_evict, drops);
                self.expiry.committed();
                self.pending.forget(&forgotten);
                self.maintenance.set_more(more);
                self.drops.log();
                self.set_health(if free_bytes > 0 { JournalHealth::Healthy } else { JournalHealth::Full });
            }
            Ok(None) => {}
            Err(error) => {
                self.expiry.rescan();
                if !is_busy(&error) {
                    self.mark_failed(error);
                }
            }
        }
    }

    /// Applies the bounds of the last measurement to the log.
    pub(super) fn limit_log(&mut self) {
        if let Err(error) = self.wal.limit(&self.connection, self.room.bounds()) {
            tracing::warn!(%error, "cannot limit the write-ahead log");
        }
    }

    /// Returns `None` without room in the log.
    fn pass(&mut self, failed: bool) -> Result<Option<Pass>> {
        let bounds = self.room.bounds();
        if !self.wal.try_make_room(&self.connection, bounds.prune_pages(), clock::monotonic())? {
            return Ok(None);
        }
        let time = self.expiry.time();
        let transaction = self.connection.transaction()?;
        if failed {
            transaction.execute("UPDATE heartbeat SET probe = probe + 1", [])?;
        }
        let mut budget = Budget::of_pages(bounds.prune_pages() - bounds.evict_pages());
        let mut more = self.expiry.expire(&transaction, &self.settings, time.now, clock::monotonic(), &mut budget)?;
        let window = self.settings.deduplication_window_seconds;
        let pressed = self.nothing_to_evict && *self.health.borrow() == JournalHealth::Full;
        let window = if pressed { window.min(identities::SHORTEST_WINDOW_SECONDS) } else { window };
        let since = ago(time.for_identities(), window);
        let (forgotten, more_identities) = identities::forget(&transaction, since, prune::DELETE_BATCH, &mut budget)?;
        let capacity = self.settings.capacity_bytes;
        let mut free = self.room.free(&transaction, capacity, self.last)?;
        let (mut evicted, mut nothing_to_evict, mut drops) = (0, self.nothing_to_evict, self.drops.clone());
        if free <= self.room.low_bytes() && !nothing_to_evict {
            evicted = prune::evict_events(&transaction, Budget::of_pages(bounds.evict_pages()))?;
            nothing_to_evict = evicted == 0;
            free = self.room.free(&transaction, capacity, self.last)?;
        }
        if free <= self.room.low_bytes() / 4 && nothing_to_evict {
            let (needed, pages) = (self.room.low_bytes() / 2 - free, bounds.evict_pages());
            drops.make_room(&transaction, &self.settings, needed, pages, time.now)?;
            free = self.room.free(&transaction, capacity, self.last)?;
            more |= free <= self.room.low_bytes() / 4 && drops.is_open();
        }
        transaction.commit()?;
        more |= more_identities || (evicted > 0 && free <= self.room.low_bytes());
        Ok(Some(Pass { more, free_bytes: free, forgotten, nothing_to_evict, drops }))
    }
}

#[cfg(test)]
mod tests;
