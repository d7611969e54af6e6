//! Sets the sinks and records the outcomes of their events, inside the caller's transaction.

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::receiver::journal::{Outcome, Position, Settlement};

/// Sets the sinks to `names`. A new one starts after `last`; a removed one is deleted with its waiting events, but its
/// dead letters stay.
pub(super) fn set_sinks(connection: &Connection, names: &[String], last: Position) -> Result<()> {
    let known: Vec<String> = {
        let mut statement = connection.prepare("SELECT name FROM sinks")?;
        statement.query_map([], |row| row.get(0))?.collect::<Result<_>>()?
    };
    for gone in known.iter().filter(|name| !names.contains(name)) {
        connection.execute("DELETE FROM sinks WHERE name = ?1", [gone])?;
        connection.execute("DELETE FROM retries WHERE sink = ?1", [gone])?;
    }
    for name in names.iter().filter(|name| !known.contains(name)) {
        connection.execute("INSERT OR IGNORE INTO sinks VALUES (?1, ?2)", params![name, last])?;
    }
    Ok(())
}

/// Records outcomes of events at `now` (seconds since the epoch). A removed sink has nothing to record.
pub(super) fn settle(connection: &Connection, sink: &str, settlements: &[Settlement], now: i64) -> Result<()> {
    let position = "SELECT position FROM sinks WHERE name = ?1";
    let position: Option<Position> =
        connection.prepare_cached(position)?.query_row([sink], |row| row.get(0)).optional()?;
    let (Some(position), Some(last)) = (position, settlements.iter().map(|settled| settled.position).max()) else {
        return Ok(());
    };
    for Settlement { position, outcome } in settlements {
        match outcome {
            Outcome::Done => {
                if forget_retry(connection, sink, *position)? {
                    let late = "INSERT OR REPLACE INTO settled_late VALUES (?1, ?2)";
                    connection.prepare_cached(late)?.execute((position, now))?;
                }
            }
            Outcome::Retry { attempts, due_at } => {
                let retry = "INSERT OR REPLACE INTO retries VALUES (?1, ?2, ?3, ?4)";
                connection.prepare_cached(retry)?.execute(params![sink, position, attempts, due_at])?;
            }
            Outcome::DeadLetter { failure, at } => {
                forget_retry(connection, sink, *position)?;
                let dead = "INSERT OR REPLACE INTO dead_letters VALUES (?1, ?2, ?3, ?4)";
                connection.prepare_cached(dead)?.execute(params![position, sink, at, failure])?;
            }
        }
    }
    if last > position {
        connection.prepare_cached("UPDATE sinks SET position = ?2 WHERE name = ?1")?.execute(params![sink, last])?;
    }
    Ok(())
}

/// Returns whether the event waited for a retry.
fn forget_retry(connection: &Connection, sink: &str, position: Position) -> Result<bool> {
    let forget = "DELETE FROM retries WHERE sink = ?1 AND event = ?2";
    Ok(connection.prepare_cached(forget)?.execute(params![sink, position])? > 0)
}
