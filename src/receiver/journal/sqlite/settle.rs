//! Records the outcomes of events at their sinks, inside the caller's transaction.

use rusqlite::{Connection, Result, params};

use super::removed::Membership;
use crate::receiver::journal::{Outcome, Position, Settlement, tries::Tries};

/// Records outcomes of events at `now`, the journal's time.
pub(super) fn settle(connection: &Connection, sink: &str, settlements: &[Settlement], now: i64) -> Result<()> {
    let membership = Membership::find(connection, sink)?;
    let mut accepted = 0;
    for Settlement { position, outcome } in settlements {
        // The attempt began before the sink was removed; the event may be a dead letter by now.
        let late = membership.is_late(*position);
        let settled = matches!(outcome, Outcome::Done | Outcome::Unwanted);
        let waits = || -> Result<bool> {
            Ok(exists(connection, *position)? && (!late || membership.keeps_waiting(connection, *position)?))
        };
        if !settled && !waits()? {
            continue;
        }
        match outcome {
            Outcome::Done | Outcome::Unwanted => {
                accepted += i64::from(*outcome == Outcome::Done);
                let retried = forget_retry(connection, sink, *position)?;
                if (late && forget_dead_letter(connection, sink, *position)?) || retried {
                    let late = "INSERT OR REPLACE INTO settled_late VALUES (?1, ?2)";
                    connection.prepare_cached(late)?.execute((position, now))?;
                }
            }
            Outcome::Retry { tries: Tries { attempts, suspicions, charged_ms, taken }, due_at } => {
                let retry = "INSERT INTO retries (sink, event, attempts, due_at, suspicions, charged_ms, taken)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                    ON CONFLICT (sink, event) DO UPDATE SET attempts = excluded.attempts, due_at = excluded.due_at,
                        suspicions = excluded.suspicions, charged_ms = excluded.charged_ms, taken = excluded.taken";
                let retry = &mut connection.prepare_cached(retry)?;
                retry.execute(params![sink, position, attempts, due_at, suspicions, charged_ms, taken])?;
            }
            Outcome::DeadLetter { failure, at } => {
                forget_retry(connection, sink, *position)?;
                let dead = "INSERT OR REPLACE INTO dead_letters (event, sink, at, failure, settled_at)
                    VALUES (?1, ?2, ?3, ?4, ?5)";
                connection.prepare_cached(dead)?.execute(params![position, sink, at, failure, now])?;
            }
        }
    }
    if let Some(last) = settlements.iter().map(|settled| settled.position).max() {
        let advance = "UPDATE sinks SET position = max(position, ?2), taken = taken + ?3
            WHERE name = ?1 AND (position < ?2 OR ?3 > 0)";
        connection.prepare_cached(advance)?.execute(params![sink, last, accepted])?;
    }
    Ok(())
}

/// Whether the event was not given up during the attempt.
fn exists(connection: &Connection, position: Position) -> Result<bool> {
    let exists = "SELECT EXISTS (SELECT 1 FROM events WHERE id = ?1)";
    connection.prepare_cached(exists)?.query_row([position], |row| row.get(0))
}

/// Returns whether the event waited for a retry.
fn forget_retry(connection: &Connection, sink: &str, position: Position) -> Result<bool> {
    let forget = "DELETE FROM retries WHERE sink = ?1 AND event = ?2";
    Ok(connection.prepare_cached(forget)?.execute(params![sink, position])? > 0)
}

/// Returns whether the event was a dead letter of the sink.
fn forget_dead_letter(connection: &Connection, sink: &str, position: Position) -> Result<bool> {
    let forget = "DELETE FROM dead_letters WHERE event = ?1 AND sink = ?2";
    Ok(connection.prepare_cached(forget)?.execute(params![position, sink])? > 0)
}
