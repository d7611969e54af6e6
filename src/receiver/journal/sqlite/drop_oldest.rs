//! Gives up events of the sinks whose backlog policy is DropOldest, a bounded batch at a time, inside the caller's
//! transaction: when there is no room, and nothing that is settled can be evicted. Their dead letters are given up first,
//! also those of removed sinks that had this policy, then their oldest waiting events; never an event that another sink
//! holds, because that would free nothing.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Result, params};

use super::{budget::Budget, commit_size::append_bytes, prune};
use crate::receiver::journal::Position;

/// How many candidates one batch examines.
const EXAMINED_MAX: i64 = 1000;

/// The sinks whose waiting events may be given up.
const DROPPING: &str = "SELECT name FROM sinks WHERE drop_oldest AND removed_after IS NULL";
/// The sinks whose dead letters may be given up: also removed ones.
const LETTERS: &str = "SELECT name FROM sinks WHERE drop_oldest UNION ALL SELECT sink FROM removed_dropping";

/// The kinds of candidates, in the order in which they are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    DeadLetters,
    Retried,
    Untried,
}

/// The progress of the search for events to give up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    /// The next kind; `None` if there is nothing to give up.
    kind: Option<Kind>,
    /// All candidates of this kind up to here were examined.
    after: Position,
}

/// The limits of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many bytes are needed.
    pub(super) bytes: i128,
    /// How many events may be given up or queued again.
    pub(super) events: usize,
    /// How many given-up events stay listed.
    pub(super) listed: u64,
}

impl Search {
    pub(super) fn new() -> Self {
        Search { kind: Some(Kind::DeadLetters), after: 0 }
    }

    /// Whether a batch may find something.
    pub(super) fn is_open(&self) -> bool {
        self.kind.is_some()
    }

    /// Gives up a batch at `now`, the journal's time. Returns the number of events.
    pub(super) fn give_up(&mut self, connection: &Connection, limits: Limits, now: i64) -> Result<u64> {
        let mut batch = Batch { connection, now, bytes: 0, dropped: 0, queued: 0 };
        while let Some(kind) = self.kind {
            let candidates = kind.candidates(connection, self.after)?;
            let mut passed_over = Vec::new();
            for &event in &candidates {
                if batch.bytes >= limits.bytes || batch.dropped + batch.queued >= limits.events {
                    break;
                }
                self.after = event;
                if batch.is_held(event, kind)? {
                    passed_over.push(event);
                    continue;
                }
                if kind == Kind::Untried {
                    batch.queue(&passed_over)?;
                    passed_over.clear();
                }
                batch.give_up(event)?;
            }
            if candidates.is_empty() {
                self.kind = kind.next();
                self.after = 0;
            }
            if batch.bytes >= limits.bytes || !candidates.is_empty() {
                break;
            }
        }
        if batch.dropped > 0 {
            forget_listed(connection, limits.listed)?;
        }
        Ok(batch.dropped as u64)
    }
}

impl Kind {
    fn next(self) -> Option<Self> {
        match self {
            Kind::DeadLetters => Some(Kind::Retried),
            Kind::Retried => Some(Kind::Untried),
            Kind::Untried => None,
        }
    }

    /// The next candidates, oldest first. No other sink still has to get them for the first time.
    fn candidates(self, connection: &Connection, after: Position) -> Result<Vec<Position>> {
        let others = format!("SELECT min(position) FROM sinks WHERE name NOT IN ({DROPPING})");
        let others: Option<Position> = connection.prepare_cached(&others)?.query_row([], |row| row.get(0))?;
        let last = others.unwrap_or(Position::MAX);
        let candidates = match self {
            Kind::DeadLetters => format!(
                "SELECT DISTINCT event FROM dead_letters WHERE sink IN ({LETTERS})
                AND event > ?1 AND event <= ?2 ORDER BY event LIMIT ?3"
            ),
            Kind::Retried => format!(
                "SELECT DISTINCT event FROM retries WHERE sink IN ({DROPPING})
                AND event > ?1 AND event <= ?2 ORDER BY event LIMIT ?3"
            ),
            Kind::Untried => format!(
                "SELECT id FROM events
                WHERE id > max(?1, (SELECT min(position) FROM sinks WHERE name IN ({DROPPING}))) AND id <= ?2
                ORDER BY id LIMIT ?3"
            ),
        };
        let candidates = connection.prepare_cached(&candidates)?;
        positions(candidates, params![after, last, EXAMINED_MAX])
    }
}

/// A batch in progress.
struct Batch<'a> {
    connection: &'a Connection,
    now: i64,
    bytes: i128,
    dropped: usize,
    queued: usize,
}

impl Batch<'_> {
    /// Whether a sink that keeps its events holds this one, or it is a dead letter that another sink waits for.
    fn is_held(&self, event: Position, kind: Kind) -> Result<bool> {
        let held = format!(
            "SELECT EXISTS (SELECT 1 FROM retries WHERE event = ?1 AND sink NOT IN ({DROPPING}))
            OR EXISTS (SELECT 1 FROM dead_letters WHERE event = ?1 AND sink NOT IN ({LETTERS}))
            OR (?2 AND (EXISTS (SELECT 1 FROM retries WHERE event = ?1)
                OR EXISTS (SELECT 1 FROM sinks WHERE position < ?1)))"
        );
        let dead_letter = kind == Kind::DeadLetters;
        self.connection.prepare_cached(&held)?.query_row(params![event, dead_letter], |row| row.get(0))
    }

    /// Gives up an event at the sinks that hold it, and deletes it.
    fn give_up(&mut self, event: Position) -> Result<()> {
        let held_by = format!(
            "SELECT name FROM sinks WHERE name IN ({DROPPING}) AND (position < ?1
            OR EXISTS (SELECT 1 FROM retries WHERE event = ?1 AND sink = name))
            UNION SELECT sink FROM dead_letters WHERE event = ?1 AND sink IN ({LETTERS})"
        );
        let mut held_by = self.connection.prepare_cached(&held_by)?;
        let held_by: Vec<String> = held_by.query_map([event], |row| row.get(0))?.collect::<Result<_>>()?;
        let list =
            "INSERT OR IGNORE INTO dropped (event, sink, name, at) SELECT id, ?2, name, ?3 FROM events WHERE id = ?1";
        let count = "INSERT INTO drops VALUES (?1, 1) ON CONFLICT (sink) DO UPDATE SET count = count + 1";
        let mut list = self.connection.prepare_cached(list)?;
        let mut count = self.connection.prepare_cached(count)?;
        for sink in &held_by {
            list.execute(params![event, sink, self.now])?;
            count.execute([sink])?;
        }
        self.advance(event)?;
        self.connection.prepare_cached("DELETE FROM retries WHERE event = ?1")?.execute([event])?;
        let body = "SELECT length(body) FROM events WHERE id = ?1";
        let body: Option<i64> =
            self.connection.prepare_cached(body)?.query_row([event], |row| row.get(0)).optional()?;
        self.bytes += append_bytes(usize::try_from(body.unwrap_or(0)).unwrap_or(usize::MAX));
        // A budget admits one event, whatever it costs.
        prune::delete(self.connection, &[event], &mut Budget::of_pages(0), |_| Ok(true))?;
        self.dropped += 1;
        Ok(())
    }

    /// Makes untried events retries, because the position passes them.
    fn queue(&mut self, events: &[Position]) -> Result<()> {
        let retry = format!(
            "INSERT OR IGNORE INTO retries (sink, event, attempts, due_at)
            SELECT name, ?1, 0, ?2 FROM sinks WHERE name IN ({DROPPING}) AND position < ?1"
        );
        let mut retry = self.connection.prepare_cached(&retry)?;
        for event in events {
            self.queued += retry.execute(params![event, self.now.saturating_mul(1000)])?;
            self.advance(*event)?;
        }
        Ok(())
    }

    fn advance(&self, event: Position) -> Result<()> {
        let advance = format!("UPDATE sinks SET position = ?1 WHERE name IN ({DROPPING}) AND position < ?1");
        self.connection.prepare_cached(&advance)?.execute([event])?;
        Ok(())
    }
}

/// Deletes the oldest entries of the list if it has more than `listed`.
fn forget_listed(connection: &Connection, listed: u64) -> Result<()> {
    let forget = "DELETE FROM dropped WHERE number <= (SELECT max(number) FROM dropped) - ?1";
    connection.prepare_cached(forget)?.execute([i64::try_from(listed).unwrap_or(i64::MAX)])?;
    Ok(())
}

/// Deletes the next entries of the list that are older than `before` (seconds since the epoch).
pub(super) fn expire_listed(connection: &Connection, before: i64) -> Result<()> {
    let oldest =
        "DELETE FROM dropped WHERE at < ?1 AND number IN (SELECT number FROM dropped ORDER BY number LIMIT ?2)";
    connection.prepare_cached(oldest)?.execute((before, EXAMINED_MAX))?;
    Ok(())
}

fn positions(mut query: CachedStatement<'_>, parameters: impl rusqlite::Params) -> Result<Vec<Position>> {
    query.query_map(parameters, |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests;
