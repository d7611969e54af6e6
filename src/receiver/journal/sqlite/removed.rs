//! Sets the sinks, and turns the events that removed sinks wait for into dead letters, a bounded batch at a time, inside
//! the caller's transaction. A removed sink keeps its row until that is complete, so its events stay, and it continues at
//! its position if it comes back before.

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::receiver::journal::Position;

/// The failure of an event that a removed sink was waiting for.
pub(super) const REMOVED: &str = "the sink was removed from the webhook before it got the event";

/// A sink that has just been removed, and how many events it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) sink: String,
    pub(super) waiting: u64,
}

/// Sets the sinks to `names`. A new one starts after `last`. Returns the removed ones.
pub(super) fn set_sinks(connection: &Connection, names: &[String], last: Position) -> Result<Vec<Removed>> {
    let known: Vec<(String, bool)> = {
        let mut statement = connection.prepare("SELECT name, removed_after IS NOT NULL FROM sinks")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_>>()?
    };
    let mut gone = Vec::new();
    for (sink, _) in known.iter().filter(|(name, removed)| !removed && !names.contains(name)) {
        let waiting = "SELECT max(0, ?2 - position) + (SELECT count(*) FROM retries WHERE sink = name) FROM sinks
            WHERE name = ?1";
        let waiting: i64 = connection.query_row(waiting, params![sink, last], |row| row.get(0))?;
        connection.execute("UPDATE sinks SET removed_after = ?2 WHERE name = ?1", params![sink, last])?;
        gone.push(Removed { sink: sink.clone(), waiting: waiting.unsigned_abs() });
    }
    for name in names {
        let add = "INSERT INTO sinks (name, position, first) VALUES (?1, ?2, ?2)
            ON CONFLICT (name) DO UPDATE SET removed_after = NULL";
        connection.execute(add, params![name, last])?;
        connection.execute("DELETE FROM removed_dropping WHERE sink = ?1", [name])?;
    }
    let forget = "DELETE FROM removed_dropping
        WHERE NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.sink = removed_dropping.sink)";
    connection.execute(forget, [])?;
    Ok(gone)
}

/// Sets the sinks whose oldest events may be given up. A removed sink keeps its policy.
pub(super) fn set_policies(connection: &Connection, drop_oldest: &[String]) -> Result<()> {
    connection.execute("UPDATE sinks SET drop_oldest = 0 WHERE removed_after IS NULL", [])?;
    for sink in drop_oldest {
        connection.execute("UPDATE sinks SET drop_oldest = 1 WHERE name = ?1", [sink])?;
    }
    Ok(())
}

/// Turns the next events that a removed sink waits for, at most `limit`, into dead letters at `now`, the journal's
/// time. Returns whether there may be more.
pub(super) fn convert(connection: &Connection, now: i64, limit: usize) -> Result<bool> {
    let removed = "SELECT name, position, removed_after FROM sinks WHERE removed_after IS NOT NULL LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let removed: Option<(String, Position, Position)> =
        connection.prepare_cached(removed)?.query_row([], read).optional()?;
    let Some((sink, position, last)) = removed else { return Ok(false) };
    let retried = "SELECT event FROM retries WHERE sink = ?1 ORDER BY event LIMIT ?2";
    let mut waiting = positions(connection, retried, params![sink, limit as i64])?;
    let mut forget = connection.prepare_cached("DELETE FROM retries WHERE sink = ?1 AND event = ?2")?;
    for event in &waiting {
        forget.execute(params![sink, event])?;
    }
    let untried = "SELECT id FROM events WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
    let room = limit.saturating_sub(waiting.len());
    let untried = positions(connection, untried, params![position, last, room as i64])?;
    let reached = untried.last().copied().unwrap_or(position);
    waiting.extend(untried);
    let mut dead = connection.prepare_cached("INSERT OR IGNORE INTO dead_letters VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for event in &waiting {
        dead.execute(params![event, sink, now.saturating_mul(1000), REMOVED, now])?;
    }
    if waiting.len() == limit {
        connection.prepare_cached("UPDATE sinks SET position = ?2 WHERE name = ?1")?.execute(params![sink, reached])?;
    } else {
        let keep = "INSERT OR IGNORE INTO removed_dropping SELECT name FROM sinks WHERE name = ?1 AND drop_oldest";
        connection.prepare_cached(keep)?.execute([&sink])?;
        connection.prepare_cached("DELETE FROM sinks WHERE name = ?1")?.execute([sink])?;
    }
    Ok(true)
}

/// The place of a sink in the journal, to interpret an outcome that arrives after the sink was removed.
#[derive(Debug)]
pub(super) struct Membership<'a> {
    sink: &'a str,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The sink gets the events after this one.
    Current {
        first: Position,
    },
    /// Its waiting events are becoming dead letters.
    Removed,
    Unknown,
}

impl<'a> Membership<'a> {
    pub(super) fn find(connection: &Connection, sink: &'a str) -> Result<Self> {
        let find = "SELECT first, removed_after IS NOT NULL FROM sinks WHERE name = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let state = match connection.prepare_cached(find)?.query_row([sink], read).optional()? {
            Some((first, false)) => State::Current { first },
            Some((_, true)) => State::Removed,
            None => State::Unknown,
        };
        Ok(Membership { sink, state })
    }

    /// Whether an outcome of this event may be of an attempt that began before the sink was removed.
    pub(super) fn is_late(&self, event: Position) -> bool {
        match self.state {
            State::Current { first } => event <= first,
            State::Removed | State::Unknown => true,
        }
    }

    /// Whether the sink still waits for an event whose outcome is late.
    pub(super) fn keeps_waiting(&self, connection: &Connection, event: Position) -> Result<bool> {
        match self.state {
            State::Unknown => Ok(false),
            State::Current { .. } | State::Removed => {
                let dead = "SELECT EXISTS (SELECT 1 FROM dead_letters WHERE event = ?1 AND sink = ?2)";
                let dead = connection.prepare_cached(dead)?.query_row(params![event, self.sink], |row| row.get(0));
                dead.map(|dead: bool| !dead)
            }
        }
    }
}

fn positions(connection: &Connection, query: &str, parameters: impl rusqlite::Params) -> Result<Vec<Position>> {
    connection.prepare_cached(query)?.query_map(parameters, |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests;
