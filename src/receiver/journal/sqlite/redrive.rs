//! Sends stored events again: accepts requests, and turns their events into retries, a bounded batch at a time, inside
//! the caller's transaction. A dead letter stops being one in the transaction that makes it a retry.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::{
    receiver::journal::{
        Position,
        redrive::{Matched, PENDING_MAX, Part, Redrive, Source},
    },
    route::redrive::RedriveProgress,
};

/// How many events a step or a query scans for each request.
const SCAN_MAX: i64 = 10_000;
/// How many parts of requests are kept and listed.
const KEPT: i64 = 256;

/// Accepts a request unless one with its id was accepted before, or too many are incomplete.
pub(super) fn accept(connection: &Connection, redrive: &Redrive, now: i64) -> Result<()> {
    let Redrive { id, per_second, parts } = redrive;
    let pending = "SELECT count(DISTINCT id) FROM redrives WHERE ended_at IS NULL";
    let pending: i64 = connection.prepare_cached(pending)?.query_row([], |row| row.get(0))?;
    if pending >= PENDING_MAX as i64 || matched(connection, id)?.is_some() {
        return Ok(());
    }
    let add = "INSERT INTO redrives (id, sink, target, received_from, received_to, per_second, reached, last, matched,
            ended_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let mut add = connection.prepare_cached(add)?;
    for Part { source, target, matched: Matched { count, first, last } } in parts {
        let (sink, from, to) = match source {
            Source::DeadLetters { sink } => (Some(sink), None, None),
            Source::Received { from, to } => (None, Some(from), Some(to)),
        };
        let ended = (*count == 0).then_some(now);
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        add.execute(params![id, sink, target, from, to, per_second, first.saturating_sub(1), last, count, ended])?;
    }
    let forget =
        "DELETE FROM redrives WHERE ended_at IS NOT NULL AND number <= (SELECT max(number) FROM redrives) - ?1";
    connection.prepare_cached(forget)?.execute([KEPT])?;
    Ok(())
}

/// The number of events of an accepted request.
pub(super) fn matched(connection: &Connection, id: &str) -> Result<Option<u64>> {
    let matched = "SELECT sum(matched) FROM redrives WHERE id = ?1";
    let matched: Option<i64> = connection.prepare_cached(matched)?.query_row([id], |row| row.get(0))?;
    Ok(matched.map(i64::unsigned_abs))
}

/// The id of the last accepted request.
pub(super) fn last_accepted(connection: &Connection) -> Result<Option<String>> {
    let last = "SELECT id FROM redrives ORDER BY number DESC LIMIT 1";
    connection.prepare_cached(last)?.query_row([], |row| row.get(0)).optional()
}

/// The progress of the latest requests, the newest first.
pub(super) fn progress(connection: &Connection) -> Result<Vec<RedriveProgress>> {
    let list = "SELECT id, target, matched, queued, ended_at IS NOT NULL FROM redrives ORDER BY number DESC LIMIT ?1";
    let mut list = connection.prepare_cached(list)?;
    let rows = list.query_map([KEPT], |row| {
        Ok(RedriveProgress {
            id: row.get(0)?,
            target_sink: row.get(1)?,
            matched: row.get::<_, i64>(2)?.unsigned_abs(),
            queued: row.get::<_, i64>(3)?.unsigned_abs(),
            complete: row.get(4)?,
        })
    })?;
    rows.collect()
}

/// The result of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) queued: usize,
    /// Whether a request is incomplete.
    pub(super) pending: bool,
}

/// An incomplete part of a request.
struct Pending {
    number: i64,
    /// The sink of the dead letters; `None`: events by the time when they were received.
    sink: Option<String>,
    target: String,
    received: (Option<i64>, Option<i64>),
    per_second: usize,
    reached: Position,
    last: Position,
}

impl Pending {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Pending {
            number: row.get(0)?,
            sink: row.get(1)?,
            target: row.get(2)?,
            received: (row.get(3)?, row.get(4)?),
            per_second: row.get::<_, u32>(5)? as usize,
            reached: row.get(6)?,
            last: row.get(7)?,
        })
    }

    /// The next events, at most `limit`, and the position up to which there are no others.
    fn next(&self, connection: &Connection, limit: usize) -> Result<(Vec<Position>, Position)> {
        let (events, end) = match &self.sink {
            Some(sink) => {
                let dead = "SELECT event FROM dead_letters WHERE sink = ?1 AND event > ?2 AND event <= ?3
                    ORDER BY event LIMIT ?4";
                let dead = connection.prepare_cached(dead)?;
                (positions(dead, params![sink, self.reached, self.last, limit as i64])?, self.last)
            }
            None => {
                // Expired events leave no gap to scan.
                let first = "SELECT coalesce(min(id) - 1, ?2) FROM events WHERE id > ?1";
                let after: Position =
                    connection.prepare_cached(first)?.query_row([self.reached, self.last], |row| row.get(0))?;
                let end = after.saturating_add(SCAN_MAX).min(self.last);
                let (from, to) = self.received;
                let events =
                    "SELECT id FROM events WHERE id > ?1 AND id <= ?2 AND received_at >= ?3 AND received_at < ?4
                    ORDER BY id LIMIT ?5";
                (positions(connection.prepare_cached(events)?, params![after, end, from, to, limit as i64])?, end)
            }
        };
        let reached = if events.len() < limit { end } else { events.last().copied().unwrap_or(end) };
        Ok((events, reached))
    }
}

/// Queues the events that are due in the second after `now` (milliseconds since the epoch), spread over it: at most
/// `limit`.
pub(super) fn step(connection: &Connection, now: i64, limit: usize) -> Result<Step> {
    let pending = "SELECT number, sink, target, received_from, received_to, per_second, reached, last FROM redrives
        WHERE ended_at IS NULL ORDER BY number LIMIT ?1";
    let pending: Vec<Pending> =
        connection.prepare_cached(pending)?.query_map([limit as i64], Pending::read)?.collect::<Result<_>>()?;
    let share = limit.checked_div(pending.len()).unwrap_or(limit);
    let mut step = Step::default();
    for part in &pending {
        let Some(position) = position(connection, &part.target)? else {
            // The sink was removed: the rest stay dead letters.
            end(connection, part.number, now)?;
            continue;
        };
        let (events, reached) = part.next(connection, part.per_second.min(share))?;
        let spacing = 1000_i64.checked_div(events.len() as i64).unwrap_or(0);
        let mut queued = 0;
        for (index, event) in events.iter().enumerate() {
            if let Some(sink) = &part.sink {
                forget_dead_letter(connection, sink, *event)?;
            }
            let due_at = now.saturating_add(spacing.saturating_mul(index as i64));
            queued += usize::from(*event <= position && queue(connection, &part.target, *event, due_at)?);
        }
        let advance = "UPDATE redrives SET reached = ?2, queued = queued + ?3 WHERE number = ?1";
        connection.prepare_cached(advance)?.execute(params![part.number, reached, queued as i64])?;
        if reached >= part.last {
            end(connection, part.number, now)?;
        }
        step.pending |= reached < part.last;
        step.queued += queued;
    }
    Ok(step)
}

/// Makes an event that the sink has settled a waiting retry. Returns whether it does not wait already.
fn queue(connection: &Connection, sink: &str, event: Position, due_at: i64) -> Result<bool> {
    forget_dead_letter(connection, sink, event)?;
    let retry = "INSERT OR IGNORE INTO retries (sink, event, attempts, due_at, replayed) VALUES (?1, ?2, 0, ?3, 1)";
    Ok(connection.prepare_cached(retry)?.execute(params![sink, event, due_at])? > 0)
}

fn forget_dead_letter(connection: &Connection, sink: &str, event: Position) -> Result<()> {
    let forget = "DELETE FROM dead_letters WHERE event = ?1 AND sink = ?2";
    connection.prepare_cached(forget)?.execute(params![event, sink])?;
    Ok(())
}

fn end(connection: &Connection, number: i64, now: i64) -> Result<()> {
    let end = "UPDATE redrives SET ended_at = ?2 WHERE number = ?1";
    connection.prepare_cached(end)?.execute([number, now / 1000])?;
    Ok(())
}

/// The position of a sink of the route.
fn position(connection: &Connection, sink: &str) -> Result<Option<Position>> {
    let position = "SELECT position FROM sinks WHERE name = ?1 AND removed_after IS NULL";
    connection.prepare_cached(position)?.query_row([sink], |row| row.get(0)).optional()
}

/// The dead letters of a sink.
pub(super) fn dead_letters(connection: &Connection, sink: &str) -> Result<Matched> {
    let dead = "SELECT count(*), coalesce(min(event), 0), coalesce(max(event), 0) FROM dead_letters WHERE sink = ?1";
    connection.prepare_cached(dead)?.query_row([sink], read_matched)
}

/// The next events after `after` that were received from `from` until before `to`, and the last scanned event; `None`
/// at the end of the journal.
pub(super) fn received(
    connection: &Connection,
    after: Position,
    from: i64,
    to: i64,
) -> Result<Option<(Matched, Position)>> {
    let Some(end) = scan_end(connection, after)? else { return Ok(None) };
    let received = "SELECT count(*), coalesce(min(id), 0), coalesce(max(id), 0) FROM events
        WHERE id > ?1 AND id <= ?2 AND received_at >= ?3 AND received_at < ?4";
    let found = connection.prepare_cached(received)?.query_row([after, end, from, to], read_matched)?;
    Ok(Some((found, end)))
}

/// The newest event named `id` among the next ones after `after`, and the last scanned event; `None` at the end of the
/// journal.
pub(super) fn named(
    connection: &Connection,
    after: Position,
    id: &str,
) -> Result<Option<(Option<Position>, Position)>> {
    let Some(end) = scan_end(connection, after)? else { return Ok(None) };
    let named = "SELECT max(id) FROM events WHERE id > ?1 AND id <= ?2 AND name = ?3";
    let found = connection.prepare_cached(named)?.query_row(params![after, end, id], |row| row.get(0))?;
    Ok(Some((found, end)))
}

pub(super) fn exists(connection: &Connection, event: Position) -> Result<bool> {
    let exists = "SELECT EXISTS (SELECT 1 FROM events WHERE id = ?1)";
    connection.prepare_cached(exists)?.query_row([event], |row| row.get(0))
}

/// The end of a bounded scan of the events after `after`; `None` if there are none.
fn scan_end(connection: &Connection, after: Position) -> Result<Option<Position>> {
    let first = "SELECT min(id) FROM events WHERE id > ?1";
    let first: Option<Position> = connection.prepare_cached(first)?.query_row([after], |row| row.get(0))?;
    Ok(first.map(|first| first.saturating_add(SCAN_MAX)))
}

fn read_matched(row: &Row<'_>) -> Result<Matched> {
    Ok(Matched { count: row.get::<_, i64>(0)?.unsigned_abs(), first: row.get(1)?, last: row.get(2)? })
}

fn positions(mut query: rusqlite::CachedStatement<'_>, parameters: impl rusqlite::Params) -> Result<Vec<Position>> {
    query.query_map(parameters, |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests;
