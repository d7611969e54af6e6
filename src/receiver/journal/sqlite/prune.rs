//! Deletes events, a bounded batch at a time, inside the caller's transaction: events that all sinks have settled, when
//! space is needed. Never one that a sink still waits for.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::{budget::Budget, counts};
use crate::receiver::journal::Position;

/// How many rows one step of a transaction examines: a delivery may wait for it.
pub(super) const DELETE_BATCH: usize = 500;
/// The pages that the deletion of one event writes at most with the rows that belong to it: its own, a late settlement
/// with its index, and a dead letter of each of 16 sinks with two indexes.
const EVENT_PAGES: u64 = 5 + 16 * DEAD_LETTER_PAGES;
const DEAD_LETTER_PAGES: u64 = 3;
const LATE_PAGES: u64 = 2;

/// Deletes the oldest events that all sinks have settled, to free space. Dead letters stay. Returns the number of
/// deleted events.
pub(super) fn evict_events(connection: &Connection, mut budget: Budget) -> Result<usize> {
    let delivered = "SELECT id FROM events
        WHERE id <= coalesce((SELECT min(position) FROM sinks), ?2)
          AND NOT EXISTS (SELECT 1 FROM retries WHERE event = id)
          AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE event = id)
        ORDER BY id LIMIT ?1";
    let mut statement = connection.prepare_cached(delivered)?;
    let delivered = statement.query_map(params![DELETE_BATCH as i64, i64::MAX], |row| row.get(0))?;
    Ok(delete(connection, &delivered.collect::<Result<Vec<_>>>()?, &mut budget, |_| Ok(true))?.deleted)
}

/// The used bytes of the database file. The write-ahead log adds some megabytes.
pub(super) fn used_bytes(connection: &Connection) -> Result<u64> {
    let used = "SELECT (page_count - freelist_count) * page_size
        FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    let used: i64 = connection.prepare_cached(used)?.query_row([], |row| row.get(0))?;
    Ok(used.unsigned_abs())
}

/// The result of [`delete`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Deleted {
    /// How many candidates were examined before the budget was spent.
    pub(super) examined: usize,
    pub(super) deleted: usize,
}

/// Deletes the `candidates` that have `expired`, in order, with their dead letters and times of settlement, until the
/// budget is spent.
pub(super) fn delete(
    connection: &Connection,
    candidates: &[Position],
    budget: &mut Budget,
    mut expired: impl FnMut(Position) -> Result<bool>,
) -> Result<Deleted> {
    let mut body = connection.prepare_cached("SELECT length(body) FROM events WHERE id = ?1")?;
    let mut late = connection.prepare_cached("DELETE FROM settled_late WHERE event = ?1")?;
    let mut letters = connection.prepare_cached("DELETE FROM dead_letters WHERE event = ?1")?;
    let mut events = connection.prepare_cached("DELETE FROM events WHERE id = ?1")?;
    let mut done = Deleted::default();
    let last = counts::last_event(connection)?;
    for &position in candidates {
        if !budget.admits(EVENT_PAGES) {
            break;
        }
        done.examined += 1;
        if !expired(position)? {
            continue;
        }
        budget.spend_pages(LATE_PAGES * late.execute([position])? as u64);
        budget.spend_pages(DEAD_LETTER_PAGES * letters.execute([position])? as u64);
        let bytes: Option<i64> = body.query_row([position], |row| row.get(0)).optional()?;
        if let Some(bytes) = bytes {
            budget.spend_event(position, bytes.unsigned_abs());
            done.deleted += events.execute([position])?;
        }
    }
    counts::deleted(connection, "events", done.deleted, last)?;
    Ok(done)
}

/// The second `seconds` before `now`, or the minimum on overflow.
pub(super) fn ago(now: i64, seconds: u64) -> i64 {
    i64::try_from(seconds).ok().and_then(|seconds| now.checked_sub(seconds)).unwrap_or(i64::MIN)
}
