//! Deletes events, a bounded batch at a time, inside the caller's transaction: events that all sinks have settled, when
//! space is needed. Never one that a sink still waits for.

use rusqlite::{Connection, Result, params};

use crate::receiver::journal::Position;

/// How many rows one transaction deletes: a delivery may wait for it.
pub(super) const DELETE_BATCH: usize = 500;

/// Deletes the oldest events that all sinks have settled, to free space. Dead letters stay. Returns the number of
/// deleted events.
pub(super) fn evict_events(connection: &Connection) -> Result<usize> {
    let delivered = "SELECT id FROM events
        WHERE id <= coalesce((SELECT min(position) FROM sinks), ?2)
          AND NOT EXISTS (SELECT 1 FROM retries WHERE event = id)
          AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE event = id)
        ORDER BY id LIMIT ?1";
    let mut statement = connection.prepare_cached(delivered)?;
    let delivered = statement.query_map(params![DELETE_BATCH as i64, i64::MAX], |row| row.get(0))?;
    delete(connection, &delivered.collect::<Result<Vec<_>>>()?)
}

/// The used bytes of the database file. The write-ahead log adds some megabytes.
pub(super) fn used_bytes(connection: &Connection) -> Result<u64> {
    let used = "SELECT (page_count - freelist_count) * page_size
        FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    let used: i64 = connection.prepare_cached(used)?.query_row([], |row| row.get(0))?;
    Ok(used.unsigned_abs())
}

/// Deletes events, with their dead letters and times of settlement. Returns their number.
pub(super) fn delete(connection: &Connection, positions: &[Position]) -> Result<usize> {
    let mut late = connection.prepare_cached("DELETE FROM settled_late WHERE event = ?1")?;
    let mut letters = connection.prepare_cached("DELETE FROM dead_letters WHERE event = ?1")?;
    let mut events = connection.prepare_cached("DELETE FROM events WHERE id = ?1")?;
    for position in positions {
        late.execute([position])?;
        letters.execute([position])?;
        events.execute([position])?;
    }
    Ok(positions.len())
}

/// The second `seconds` before `now`, or the minimum on overflow.
pub(super) fn ago(now: i64, seconds: u64) -> i64 {
    i64::try_from(seconds).ok().and_then(|seconds| now.checked_sub(seconds)).unwrap_or(i64::MIN)
}
