//! What the journal lets go of, a bounded piece at a time, inside the caller's transaction: events that every sink is
//! done with, once they are old or the room is needed. Never one that a sink still waits for.

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::receiver::journal::Position;

/// How much one transaction lets go of: a delivery may wait behind it.
pub(super) const PIECE: usize = 500;
/// How many events one transaction looks at, where those that a sink tries again stand in between.
const REACH: i64 = 10 * PIECE as i64;

/// Lets go of the oldest settled events that came before `before` (seconds since the epoch); dead letters among them
/// have been kept as long as a delivered event, so they go too. Returns how many went.
pub(super) fn expire_events(connection: &Connection, before: i64) -> Result<usize> {
    // Mostly nothing is that old, and to read thousands of events to find it out would hold up those that come.
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
    let old = statement.query_map(params![before, PIECE as i64, REACH, i64::MAX], |row| row.get(0))?;
    delete(connection, &old.collect::<Result<Vec<_>>>()?)
}

/// Lets go of the oldest events that every sink has had, to make room. Dead letters stay. Returns how many went.
pub(super) fn evict_events(connection: &Connection) -> Result<usize> {
    let delivered = "SELECT id FROM events
        WHERE id <= coalesce((SELECT min(position) FROM sinks), ?2)
          AND NOT EXISTS (SELECT 1 FROM retries WHERE event = id)
          AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE event = id)
        ORDER BY id LIMIT ?1";
    let mut statement = connection.prepare_cached(delivered)?;
    let delivered = statement.query_map(params![PIECE as i64, i64::MAX], |row| row.get(0))?;
    delete(connection, &delivered.collect::<Result<Vec<_>>>()?)
}

/// How many bytes of the database file are in use. The write-ahead log comes on top, some megabytes.
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
