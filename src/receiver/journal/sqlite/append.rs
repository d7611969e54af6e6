//! Inserts events inside the caller's transaction.

use rusqlite::{Connection, Result, params};

use crate::receiver::{
    ingest::event::Event,
    journal::{Appended, Position},
};

/// Stores an event under a new number.
pub(super) fn insert(connection: &Connection, position: Position, event: &Event, conflict: bool) -> Result<Appended> {
    let Event { id, event_type, sent_at, received_at, key, identity, body } = event;
    // A consumer identifies an event by its id (CloudEvents: source and id are unique together), so a conflict must not
    // have the id of the event that it conflicts with, or the consumer would drop it.
    let name = if conflict { format!("{id}~{}", hex::encode(identity.body)) } else { id.clone() };
    connection.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
        position,
        name,
        event_type.as_str(),
        sent_at,
        received_at,
        key,
        conflict,
        &body[..]
    ])?;
    Ok(if conflict { Appended::Conflict } else { Appended::Stored })
}

/// Records the arrival of a milestone.
pub(super) fn note_milestone(connection: &Connection, received_at: i64) -> Result<()> {
    connection.prepare_cached("UPDATE milestones SET last = ?1")?.execute([received_at])?;
    Ok(())
}

/// The highest number that an event had.
pub(super) fn last_position(connection: &Connection) -> Result<Position> {
    let last = "SELECT max(
        coalesce((SELECT max(id) FROM events), 0),
        coalesce((SELECT max(position) FROM sinks), 0),
        (SELECT last FROM counts WHERE name = 'events'))";
    connection.query_row(last, [], |row| row.get(0))
}
