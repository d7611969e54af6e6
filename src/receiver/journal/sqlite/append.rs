//! The identity check and the insertion of one event, inside the caller's transaction.

use rusqlite::{Connection, Result, params};

use crate::receiver::{
    event::{Event, HalfDigest, Identity},
    journal::{Appended, Position},
};

/// What the journal knows of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Never,
    /// The same delivery, or one with the same signature: a signature covers timestamp and body, so it is the same
    /// request whatever delivery id it now bears.
    Same,
    /// The same delivery under a signature of its own: a retry that was signed afresh.
    Resigned,
    /// Its delivery id, with another body.
    OtherBody,
}

/// Looks an identity up among those seen at `since` or later (seconds since the epoch).
pub(super) fn seen(connection: &Connection, identity: &Identity, since: i64) -> Result<Seen> {
    let by_signature = "SELECT EXISTS (SELECT 1 FROM identities WHERE signature = ?1 AND seen_at >= ?2)";
    if connection.prepare_cached(by_signature)?.query_row(params![identity.signature, since], |row| row.get(0))? {
        return Ok(Seen::Same);
    }
    let by_delivery = "SELECT body FROM identities WHERE delivery = ?1 AND seen_at >= ?2";
    let mut statement = connection.prepare_cached(by_delivery)?;
    let mut bodies = statement.query(params![identity.delivery, since])?;
    let mut seen = Seen::Never;
    while let Some(row) = bodies.next()? {
        if row.get::<_, HalfDigest>(0)? == identity.body {
            return Ok(Seen::Resigned);
        }
        seen = Seen::OtherBody;
    }
    Ok(seen)
}

/// Keeps an event and its identity under a number that no event has had.
pub(super) fn insert(connection: &Connection, position: Position, event: &Event, conflict: bool) -> Result<Appended> {
    let Event { id, event_type, sent_at, received_at, key, identity, body } = event;
    // A consumer knows an event by its id (CloudEvents: source and id are unique together), so a conflict must not
    // bear the id of the event it is in conflict with, or it would be dropped there.
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
    remember(connection, identity, *received_at)?;
    Ok(if conflict { Appended::Conflict } else { Appended::Stored })
}

/// Remembers an identity as seen at `seen_at`.
pub(super) fn remember(connection: &Connection, identity: &Identity, seen_at: i64) -> Result<()> {
    let Identity { delivery, body, signature } = identity;
    connection
        .prepare_cached("INSERT INTO identities (delivery, body, signature, seen_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![delivery, body, signature, seen_at])?;
    Ok(())
}

/// The highest number given to an event that anything still refers to.
pub(super) fn last_position(connection: &Connection) -> Result<Position> {
    let last = "SELECT max(
        coalesce((SELECT max(id) FROM events), 0),
        coalesce((SELECT max(position) FROM sinks), 0))";
    connection.query_row(last, [], |row| row.get(0))
}
