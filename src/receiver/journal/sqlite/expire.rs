//! Expires events by the time of their last settlement, a bounded batch at a time, inside the caller's transaction.
//!
//! Settlement in order has no row per event: from time to time a *mark* records up to which event all sinks had settled
//! everything. Events that are settled after that, because they were retried, have a row in `settled_late`, and dead
//! letters have their own time. Each event is scanned once after its mark has expired; those that cannot be deleted yet
//! are found by their row when that expires.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::{
    expiry_clock::{ExpiryClock, ExpiryTime},
    prune::{self, DELETE_BATCH},
};
use crate::{
    clock,
    receiver::journal::{Position, Settings},
};

/// How often the believed time is stored, to detect a jump of the clock across a restart.
const STORE_INTERVAL: Duration = Duration::from_secs(60);
/// How precise expiry is: a fraction of the retention. Bounds the number of marks.
const MARKS_PER_RETENTION: u64 = 1000;
/// The largest interval of marks, in seconds.
const MARK_INTERVAL_MAX: u64 = 600;

/// The progress of the scan, and the time to expire by.
#[derive(Debug)]
pub(super) struct Expiry {
    clock: ExpiryClock,
    /// All events up to it have been scanned.
    scanned: Position,
    /// When the believed time was last stored.
    stored: Option<Instant>,
}

/// The limits of one pass, in seconds since the epoch: events settled before the first, and dead letters made before
/// the second have expired.
#[derive(Clone, Copy, Debug)]
struct Limits {
    settled: i64,
    dead: i64,
    /// The last event that all sinks had settled before `settled`.
    mark: Position,
}

impl Expiry {
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        let last = connection.query_row("SELECT nullif(at, 0) FROM heartbeat", [], |row| row.get(0))?;
        let clock = ExpiryClock::new(last, clock::now().as_second(), clock::monotonic());
        Ok(Expiry { clock, scanned: 0, stored: None })
    }

    /// The time to expire by.
    pub(super) fn time(&mut self) -> ExpiryTime {
        self.clock.read(clock::now().as_second(), clock::monotonic())
    }

    /// Scans all events again: after sinks or limits have changed, or a transaction failed.
    pub(super) fn rescan(&mut self) {
        self.scanned = 0;
    }

    /// Expires a batch at `now` (seconds since the epoch). Returns whether there may be more.
    pub(super) fn expire(&mut self, connection: &Connection, settings: &Settings, now: i64) -> Result<bool> {
        let due = self.stored.is_none_or(|stored| stored.elapsed() >= STORE_INTERVAL);
        if due {
            connection.prepare_cached("UPDATE heartbeat SET at = ?1")?.execute([now])?;
            self.stored = Some(clock::monotonic());
        }
        mark(connection, now, settings.retention_seconds)?;
        let settled = prune::ago(now, settings.retention_seconds);
        let mark = expired_mark(connection, settled)?;
        let limits = Limits { settled, dead: prune::ago(now, settings.dead_letter_retention_seconds), mark };
        let scanned = self.scan(connection, limits)?;
        let late = expire_late(connection, limits)?;
        let dead = expire_dead_letters(connection, limits)?;
        Ok([scanned, late, dead].contains(&DELETE_BATCH))
    }

    /// Scans the next events whose mark has expired, and deletes those that nothing else keeps. Returns their number.
    fn scan(&mut self, connection: &Connection, limits: Limits) -> Result<usize> {
        if limits.mark <= self.scanned {
            return Ok(0);
        }
        let next = "SELECT id FROM events WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
        let next = positions(connection, next, (self.scanned, limits.mark, DELETE_BATCH as i64))?;
        delete_expired(connection, &next, limits)?;
        let ended = next.len() < DELETE_BATCH;
        self.scanned = next.last().copied().filter(|_| !ended).unwrap_or(limits.mark);
        Ok(next.len())
    }
}

/// Records up to which event all sinks have settled everything now.
fn mark(connection: &Connection, now: i64, retention_seconds: u64) -> Result<()> {
    let settled = "SELECT coalesce((SELECT min(position) FROM sinks), (SELECT max(id) FROM events), 0)";
    let settled: Position = connection.prepare_cached(settled)?.query_row([], |row| row.get(0))?;
    let last = "SELECT at, position FROM settled ORDER BY at DESC LIMIT 1";
    let last: Option<(i64, Position)> =
        connection.prepare_cached(last)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let interval = (retention_seconds / MARKS_PER_RETENTION).clamp(1, MARK_INTERVAL_MAX) as i64;
    match last {
        // The clock was ahead when it was recorded: from now on it counts as recorded now.
        Some((at, _)) if at > now => {
            connection.prepare_cached("DELETE FROM settled WHERE at > ?1")?.execute([now])?;
        }
        Some((at, position)) if position >= settled || now < at.saturating_add(interval) => return Ok(()),
        Some(_) | None => {}
    }
    connection.prepare_cached("INSERT OR REPLACE INTO settled VALUES (?1, ?2)")?.execute((now, settled))?;
    Ok(())
}

/// The event of the newest mark before `before`. Older marks are deleted.
fn expired_mark(connection: &Connection, before: i64) -> Result<Position> {
    let newest = "SELECT at, position FROM settled WHERE at < ?1 ORDER BY at DESC LIMIT 1";
    let newest: Option<(i64, Position)> =
        connection.prepare_cached(newest)?.query_row([before], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((at, position)) = newest else { return Ok(0) };
    connection.prepare_cached("DELETE FROM settled WHERE at < ?1")?.execute([at])?;
    Ok(position)
}

/// Expires events that were settled late. Returns the number of settlements that have expired.
fn expire_late(connection: &Connection, limits: Limits) -> Result<usize> {
    let late = "SELECT event FROM settled_late WHERE at < ?1 AND event <= ?2 ORDER BY at LIMIT ?3";
    let late = positions(connection, late, (limits.settled, limits.mark, DELETE_BATCH as i64))?;
    let mut forget = connection.prepare_cached("DELETE FROM settled_late WHERE event = ?1")?;
    for position in &late {
        forget.execute([position])?;
    }
    delete_expired(connection, &late, limits)?;
    Ok(late.len())
}

/// Deletes the events of expired dead letters. Returns the number of deleted events.
fn expire_dead_letters(connection: &Connection, limits: Limits) -> Result<usize> {
    let dead = "SELECT event FROM dead_letters WHERE at < ?1 AND event <= ?2 ORDER BY at LIMIT ?3";
    let before = limits.dead.min(limits.settled).saturating_mul(1000);
    let dead = positions(connection, dead, (before, limits.mark, DELETE_BATCH as i64))?;
    delete_expired(connection, &dead, limits)
}

/// Deletes the events that neither wait for a retry, nor were settled late, nor are dead letters within the limits.
fn delete_expired(connection: &Connection, candidates: &[Position], limits: Limits) -> Result<usize> {
    let kept = "SELECT EXISTS (SELECT 1 FROM retries WHERE event = ?1)
        OR EXISTS (SELECT 1 FROM settled_late WHERE event = ?1 AND at >= ?2)
        OR EXISTS (SELECT 1 FROM dead_letters WHERE event = ?1 AND at >= ?3)";
    let mut kept = connection.prepare_cached(kept)?;
    let dead = limits.dead.min(limits.settled).saturating_mul(1000);
    let mut expired = Vec::with_capacity(candidates.len());
    for position in candidates {
        if !kept.query_row(params![position, limits.settled, dead], |row| row.get::<_, bool>(0))? {
            expired.push(*position);
        }
    }
    prune::delete(connection, &expired)
}

fn positions(connection: &Connection, query: &str, parameters: impl rusqlite::Params) -> Result<Vec<Position>> {
    connection.prepare_cached(query)?.query_map(parameters, |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests;
