//! The identity check and the insertion of one event, inside the caller's transaction.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::deliveries::{self, IdentityNumber};
use crate::receiver::{
    event::{Event, HalfDigest},
    journal::{Appended, Position},
};

/// What the journal knows of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Never,
    /// The same delivery, or another with the same signature: signed in the same second, with the same key, over the same
    /// body. It is the same request whatever delivery id it now bears.
    Same,
    /// The same delivery under a signature of its own: a retry that was signed afresh.
    Resigned,
    /// Its delivery id, with another body.
    OtherBody,
}

/// Looks the identity of `event` up among those seen at `since` or later (seconds since the epoch), of which `same_id`
/// are those of its delivery id.
pub(super) fn seen(
    connection: &Connection,
    event: &Event,
    since: i64,
    same_id: impl IntoIterator<Item = IdentityNumber>,
) -> Result<Seen> {
    let Event { sent_at, identity, .. } = event;
    let by_body = "SELECT EXISTS (SELECT 1 FROM identities
        WHERE sent_at = ?1 AND substr(body, 1, 8) = substr(?2, 1, 8) AND body = ?2 AND signature = ?3
            AND sent_at + delay >= ?4)";
    let mut statement = connection.prepare_cached(by_body)?;
    if statement.query_row(params![sent_at, identity.body, identity.signature, since], |row| row.get(0))? {
        return Ok(Seen::Same);
    }
    let mut seen = Seen::Never;
    for number in same_id {
        let mut statement =
            connection.prepare_cached("SELECT body FROM identities WHERE id = ?1 AND sent_at + delay >= ?2")?;
        let body: Option<HalfDigest> = statement.query_row([number, since], |row| row.get(0)).optional()?;
        match body {
            Some(body) if body == identity.body => return Ok(Seen::Resigned),
            Some(_) => seen = Seen::OtherBody,
            None => {}
        }
    }
    Ok(seen)
}

/// Keeps an event under a number that no event has had.
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
    Ok(if conflict { Appended::Conflict } else { Appended::Stored })
}

/// Remembers the identity of `event` under a number that no identity has had.
pub(super) fn remember(connection: &Connection, number: IdentityNumber, event: &Event) -> Result<()> {
    let Event { sent_at, received_at, identity, .. } = event;
    connection.prepare_cached("INSERT INTO identities VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        number,
        deliveries::key(identity),
        identity.body,
        identity.signature,
        sent_at,
        received_at.saturating_sub(*sent_at)
    ])?;
    Ok(())
}

/// The highest number given to an event that anything still refers to.
pub(super) fn last_position(connection: &Connection) -> Result<Position> {
    let last = "SELECT max(
        coalesce((SELECT max(id) FROM events), 0),
        coalesce((SELECT max(position) FROM sinks), 0))";
    connection.query_row(last, [], |row| row.get(0))
}
