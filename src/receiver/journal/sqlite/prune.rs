//! Deletes events, a bounded batch at a time, inside the caller's transaction: events that all sinks have settled, once
//! they expire or space is needed. Never one that a sink still waits for.

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::receiver::journal::Position;

/// How many rows one transaction deletes: a delivery may wait for it.
pub(super) const DELETE_BATCH: usize = 500;
/// How many events one transaction scans past events that wait for a retry.
const SCAN_MAX: i64 = 10 * DELETE_BATCH as i64;

/// Deletes the oldest settled events received before `before` (seconds since the epoch), including dead letters, which
/// stay as long as a delivered event. Returns the number of deleted events.
pub(super) fn expire_events(connection: &Connection, before: i64) -> Result<usize> {
    // Usually no event is that old, and a scan of thousands of events to find that out would delay deliveries.
    let oldest = "SELECT received_at FROM events ORDER BY id LIMIT 1";
    let oldest: Option<i64> = connection.prepare_cached(oldest)?.query_row([], |row| row.get(0)).optional()?;
    if oldest.is_none_or(|oldest| oldest >= before) {
        return Ok(0);
    }
    let old = "SELECT id FROM events
        WHERE id < (SELECT min(id) FROM events) + ?3 AND id <= coalesce((SELECT min(position) FROM sinks), ?4)
          AND received_at < ?1 AND NOT EXISTS (SELECT 1 FROM retries WHERE event = id)
        ORDER BY id LIMIT ?2";
    let mut statement = connection.prepare_cached(old)?;
    let old = statement.query_map(params![before, DELETE_BATCH as i64, SCAN_MAX, i64::MAX], |row| row.get(0))?;
    delete(connection, &old.collect::<Result<Vec<_>>>()?)
}

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

fn delete(connection: &Connection, positions: &[Position]) -> Result<usize> {
    let mut letters = connection.prepare_cached("DELETE FROM dead_letters WHERE event = ?1")?;
    let mut events = connection.prepare_cached("DELETE FROM events WHERE id = ?1")?;
    for position in positions {
        letters.execute([position])?;
        events.execute([position])?;
    }
    Ok(positions.len())
}
