//! Expires events by the time of their last settlement, a bounded batch at a time, inside the caller's transaction.
//!
//! Settlement in order has no row per event: from time to time a *mark* records up to which event all sinks had settled
//! everything. Events that are settled after that, because they were retried, have a row in `settled_late`, and dead
//! letters have their own time. Each event is examined once after its mark has expired, once after each of its late
//! settlements has, and once after each of its dead letters has; whatever still keeps it then expires later itself.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::{
    budget::Budget,
    clock_jumps::{Jump, Jumps},
    drop_oldest,
    expiry_clock::{ExpiryClock, ExpiryTime, Stored},
    prune::{self, DELETE_BATCH},
};
use crate::{
    clock,
    receiver::journal::{Position, Settings},
};

/// How often the journal's time is stored, to detect a jump of the clock across a restart.
const STORE_INTERVAL: Duration = Duration::from_secs(60);
/// How precise expiry is: a fraction of the retention. Bounds the number of marks.
const MARKS_PER_RETENTION: u64 = 1000;
/// The largest interval of marks, in seconds.
const MARK_INTERVAL_MAX: u64 = 600;

/// The progress of the scans, and the time to expire by.
#[derive(Debug)]
pub(super) struct Expiry {
    clock: ExpiryClock,
    jumps: Jumps,
    /// All events up to it have been scanned.
    scanned: Position,
    /// All dead letters up to this time and event have been examined.
    letters: (i64, Position),
    /// When the journal's time was last stored.
    stored: Option<Instant>,
    /// A jump that the current transaction records, and the jumps with it.
    believed: Option<(Jump, Instant, Jumps)>,
}

/// The limits of one pass, as stored times: events settled before the first, and dead letters made before the second
/// have expired.
#[derive(Clone, Copy, Debug)]
struct Limits {
    settled: i64,
    dead: i64,
    /// The last event that all sinks had settled before `settled`.
    mark: Position,
}

impl Expiry {
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        Expiry::load_at(connection, clock::now().as_second(), clock::monotonic())
    }

    /// The same while the clocks show `wall` and `at`.
    fn load_at(connection: &Connection, wall: i64, at: Instant) -> Result<Self> {
        let clock = ExpiryClock::new(stored(connection)?, wall, at);
        let jumps = Jumps::load(connection)?;
        Ok(Expiry { clock, jumps, scanned: 0, letters: BEGINNING, stored: None, believed: None })
    }

    /// The time to expire by, and to record settlements by.
    pub(super) fn time(&mut self) -> ExpiryTime {
        self.clock.read(clock::now().as_second(), clock::monotonic())
    }

    /// Scans everything again: after sinks or limits have changed, or a transaction failed.
    pub(super) fn rescan(&mut self) {
        (self.scanned, self.letters, self.stored, self.believed) = (0, BEGINNING, None, None);
    }

    /// Scans all events again: something that kept some of them may be gone.
    pub(super) fn rescan_events(&mut self) {
        (self.scanned, self.letters) = (0, BEGINNING);
    }

    /// Believes a jump that the transaction has recorded, once it is committed.
    pub(super) fn committed(&mut self) {
        if let Some((jump, at, jumps)) = self.believed.take() {
            tracing::info!(seconds = jump.seconds, "the clock jumped ahead an hour ago, believing it");
            self.clock.believe(jump, at);
            self.jumps = jumps;
        }
    }

    /// Expires a batch at `now`, the journal's time at `at`. Returns whether there may be more.
    pub(super) fn expire(
        &mut self,
        connection: &Connection,
        settings: &Settings,
        now: i64,
        at: Instant,
        budget: &mut Budget,
    ) -> Result<bool> {
        let ended = [settings.retention_seconds, settings.dead_letter_retention_seconds];
        let [settled, dead] = ended.map(|seconds| prune::ago(now, seconds));
        self.store(connection, settled.min(dead), at)?;
        mark(connection, now, settings.retention_seconds)?;
        let [settled, dead] = [settled, settled.min(dead)].map(|limit| self.jumps.stored(limit));
        let limits = Limits { settled, dead, mark: expired_mark(connection, settled)? };
        drop_oldest::expire_listed(connection, limits.settled)?;
        let scanned = self.scan(connection, limits, budget)?;
        let late = expire_late(connection, limits, budget)?;
        let letters = self.expire_dead_letters(connection, limits, budget)?;
        Ok(scanned || late || letters)
    }

    /// Stores the journal's time from time to time, and a jump to believe.
    fn store(&mut self, connection: &Connection, limit: i64, at: Instant) -> Result<()> {
        if self.stored.is_some_and(|stored| at.saturating_duration_since(stored) < STORE_INTERVAL) {
            return Ok(());
        }
        let mut stored = self.clock.stored(at);
        let mut jumps = self.jumps.clone();
        jumps.forget(limit);
        if let Some(jump) = self.clock.jump(at).filter(|_| jumps.has_room()) {
            jumps.push(jump);
            jumps.save(connection)?;
            stored = Stored { time: jump.until.saturating_add(jump.seconds), in_doubt_since: None };
            self.believed = Some((jump, at, jumps));
        }
        let update = "UPDATE heartbeat SET at = ?1, in_doubt_since = ?2";
        connection.prepare_cached(update)?.execute(params![stored.time, stored.in_doubt_since])?;
        self.stored = Some(at);
        Ok(())
    }

    /// Scans the next events whose mark has expired, and deletes those that nothing else keeps. Returns whether there
    /// may be more.
    fn scan(&mut self, connection: &Connection, limits: Limits, budget: &mut Budget) -> Result<bool> {
        if limits.mark <= self.scanned {
            return Ok(false);
        }
        let next = "SELECT id FROM events WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
        let mut statement = connection.prepare_cached(next)?;
        let next = statement.query_map((self.scanned, limits.mark, DELETE_BATCH as i64), |row| row.get(0))?;
        let next: Vec<Position> = next.collect::<Result<_>>()?;
        let examined = delete_expired(connection, &next, limits, budget)?;
        let all = next.len() < DELETE_BATCH && examined == next.len();
        let last = examined.checked_sub(1).and_then(|last| next.get(last)).copied();
        self.scanned = if all { limits.mark } else { last.unwrap_or(self.scanned) };
        Ok(!all)
    }

    /// Deletes the events of expired dead letters that nothing else keeps. Returns whether there may be more.
    fn expire_dead_letters(&mut self, connection: &Connection, limits: Limits, budget: &mut Budget) -> Result<bool> {
        let next = "SELECT settled_at, event FROM dead_letters
            WHERE settled_at < ?1 AND (settled_at, event) > (?2, ?3) ORDER BY settled_at, event LIMIT ?4";
        let mut statement = connection.prepare_cached(next)?;
        let (at, event) = self.letters;
        let next =
            statement.query_map((limits.dead, at, event, DELETE_BATCH as i64), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let next: Vec<(i64, Position)> = next.collect::<Result<_>>()?;
        let events: Vec<Position> = next.iter().map(|(_, event)| *event).collect();
        let examined = delete_expired(connection, &events, limits, budget)?;
        self.letters = examined.checked_sub(1).and_then(|last| next.get(last)).copied().unwrap_or(self.letters);
        Ok(next.len() == DELETE_BATCH || examined < next.len())
    }
}

/// Before all dead letters.
const BEGINNING: (i64, Position) = (i64::MIN, Position::MIN);

/// The time that the last process stored, or that of its last settlements, which may be later.
fn stored(connection: &Connection) -> Result<Option<Stored>> {
    let heartbeat = "SELECT at, in_doubt_since FROM heartbeat";
    let (at, in_doubt_since): (i64, _) = connection.query_row(heartbeat, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let newest =
        "SELECT max(coalesce((SELECT max(at) FROM settled), 0), coalesce((SELECT max(at) FROM settled_late), 0),
        coalesce((SELECT max(settled_at) FROM dead_letters), 0))";
    let newest: i64 = connection.query_row(newest, [], |row| row.get(0))?;
    let time = at.max(newest);
    // A second later: what is settled from here on must be told from what was settled before.
    Ok((time > 0).then_some(Stored { time: time.saturating_add(1), in_doubt_since }))
}

/// Records up to which event all sinks have settled everything now.
fn mark(connection: &Connection, now: i64, retention_seconds: u64) -> Result<()> {
    let settled = "SELECT coalesce((SELECT min(position) FROM sinks), (SELECT max(id) FROM events), 0)";
    let settled: Position = connection.prepare_cached(settled)?.query_row([], |row| row.get(0))?;
    let last = "SELECT at, position FROM settled ORDER BY at DESC LIMIT 1";
    let last: Option<(i64, Position)> =
        connection.prepare_cached(last)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let interval = (retention_seconds / MARKS_PER_RETENTION).clamp(1, MARK_INTERVAL_MAX) as i64;
    if last.is_some_and(|(at, position)| position >= settled || now < at.saturating_add(interval)) {
        return Ok(());
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

/// Expires late settlements, and their events unless something else keeps them. Returns whether there may be more.
fn expire_late(connection: &Connection, limits: Limits, budget: &mut Budget) -> Result<bool> {
    let late = "SELECT event FROM settled_late WHERE at < ?1 ORDER BY at LIMIT ?2";
    let mut statement = connection.prepare_cached(late)?;
    let late = statement.query_map((limits.settled, DELETE_BATCH as i64), |row| row.get(0))?;
    let late: Vec<Position> = late.collect::<Result<_>>()?;
    let mut forget = connection.prepare_cached("DELETE FROM settled_late WHERE event = ?1")?;
    let examined = delete_expired(connection, &late, limits, budget)?;
    for position in late.iter().take(examined) {
        budget.spend_pages(2 * forget.execute([position])? as u64);
    }
    Ok(late.len() == DELETE_BATCH || examined < late.len())
}

/// Deletes the events up to the mark that neither wait for a retry, nor were settled late, nor are dead letters within
/// the limits. The scan finds those beyond the mark later. Returns how many were examined before the budget was spent.
fn delete_expired(
    connection: &Connection,
    candidates: &[Position],
    limits: Limits,
    budget: &mut Budget,
) -> Result<usize> {
    let kept = "SELECT EXISTS (SELECT 1 FROM retries WHERE event = ?1)
        OR EXISTS (SELECT 1 FROM settled_late WHERE event = ?1 AND at >= ?2)
        OR EXISTS (SELECT 1 FROM dead_letters WHERE event = ?1 AND settled_at >= ?3)";
    let mut kept = connection.prepare_cached(kept)?;
    let expired = |position: Position| {
        let parameters = params![position, limits.settled, limits.dead];
        Ok(position <= limits.mark && !kept.query_row(parameters, |row| row.get::<_, bool>(0))?)
    };
    Ok(prune::delete(connection, candidates, budget, expired)?.examined)
}

#[cfg(test)]
mod tests;
