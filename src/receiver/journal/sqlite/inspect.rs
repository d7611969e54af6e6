//! Queries of the reading connection for metrics and tools.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::{SqliteJournal, counts, prune, redrive};
use crate::{
    receiver::journal::{
        JournalError, Position,
        inspect::{Inspect, Inventory},
    },
    route::{
        journal::{DropReason, DroppedEvent, Entry, SinkEntry, SinkState},
        status::RemovedSink,
    },
};

/// How many removed sinks are listed.
const REMOVED_SINKS_MAX: i64 = 100;

#[async_trait]
impl Inspect for SqliteJournal {
    async fn inventory(&self) -> std::result::Result<Inventory, JournalError> {
        let inventory = self.reader.read(inventory).await?;
        Ok(Inventory { capacity_bytes: self.limits.capacity.load(Ordering::Relaxed), ..inventory })
    }

    async fn list(&self, after: Position, limit: usize) -> std::result::Result<Vec<Entry>, JournalError> {
        self.reader.read(move |connection| list(connection, after, limit)).await
    }

    async fn dropped(&self, after: i64, limit: usize) -> std::result::Result<Vec<DroppedEvent>, JournalError> {
        self.reader.read(move |connection| dropped(connection, after, limit)).await
    }

    async fn show(
        &self,
        position: Position,
    ) -> std::result::Result<Option<(Entry, Bytes, Vec<SinkEntry>)>, JournalError> {
        self.reader.read(move |connection| show(connection, position)).await
    }
}

fn inventory(connection: &Connection) -> Result<Inventory> {
    let oldest = "SELECT name, (SELECT received_at FROM events WHERE id = min(
                coalesce((SELECT min(id) FROM events WHERE id > position), 9223372036854775807),
                coalesce((SELECT min(event) FROM retries WHERE sink = name), 9223372036854775807)))
        FROM sinks WHERE removed_after IS NULL";
    let mut statement = connection.prepare_cached(oldest)?;
    let oldest = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let mut inventory = Inventory {
        events: counts::count(connection, "events")?,
        identities: counts::count(connection, "identities")?,
        bytes: prune::used_bytes(connection)?,
        last_milestone: connection.prepare_cached("SELECT last FROM milestones")?.query_row([], |row| row.get(0))?,
        removed: removed_sinks(connection)?,
        last_redrive: redrive::last_accepted(connection)?,
        ..Inventory::default()
    };
    let mut drops = connection.prepare_cached("SELECT sink, count FROM drops")?;
    for row in drops.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))? {
        let (sink, count) = row?;
        inventory.dropped.insert(sink, count);
    }
    for row in oldest {
        let (sink, received_at) = row?;
        inventory.oldest.extend(received_at.map(|received_at| (sink, received_at)));
    }
    Ok(inventory)
}

fn list(connection: &Connection, after: Position, limit: usize) -> Result<Vec<Entry>> {
    let list = "SELECT id, name, type, sent_at, received_at, key, conflict, length(body) FROM events
        WHERE id > ?1 ORDER BY id LIMIT ?2";
    connection.prepare_cached(list)?.query_map(params![after, limit as i64], entry)?.collect()
}

fn show(connection: &Connection, position: Position) -> Result<Option<(Entry, Bytes, Vec<SinkEntry>)>> {
    let show = "SELECT id, name, type, sent_at, received_at, key, conflict, length(body), body FROM events
        WHERE id = ?1";
    let read = |row: &Row<'_>| Ok((entry(row)?, row.get::<_, Vec<u8>>(8)?.into()));
    let Some((entry, body)) = connection.prepare_cached(show)?.query_row([position], read).optional()? else {
        return Ok(None);
    };
    // A sink has no state for an event that arrived before the sink was added or after it was removed, unless the event
    // was sent to it by hand.
    let sinks = "SELECT name, attempts, due_at / 1000, dead.at / 1000, failure, position < ?1,
            first < ?1 AND ?1 <= coalesce(removed_after, ?1)
        FROM (SELECT name FROM sinks UNION SELECT sink FROM dead_letters WHERE event = ?1)
            LEFT JOIN sinks USING (name)
            LEFT JOIN retries ON retries.sink = name AND retries.event = ?1
            LEFT JOIN dead_letters AS dead ON dead.sink = name AND dead.event = ?1
        ORDER BY name";
    let mut statement = connection.prepare_cached(sinks)?;
    let sinks = statement.query_map([position], sink)?.filter_map(Result::transpose).collect::<Result<_>>()?;
    Ok(Some((entry, body, sinks)))
}

fn dropped(connection: &Connection, after: i64, limit: usize) -> Result<Vec<DroppedEvent>> {
    let dropped = "SELECT number, event, name, sink, at FROM dropped WHERE number > ?1 ORDER BY number LIMIT ?2";
    let mut dropped = connection.prepare_cached(dropped)?;
    let rows = dropped.query_map(params![after, limit as i64], |row| {
        Ok(DroppedEvent {
            number: row.get(0)?,
            position: row.get(1)?,
            id: row.get(2)?,
            sink: row.get(3)?,
            time: row.get(4)?,
            reason: DropReason::JournalFull,
        })
    })?;
    rows.collect()
}

fn entry(row: &Row<'_>) -> Result<Entry> {
    Ok(Entry {
        position: row.get(0)?,
        id: row.get(1)?,
        event_type: row.get(2)?,
        sent_time: row.get(3)?,
        received_time: row.get(4)?,
        key: row.get(5)?,
        conflict: row.get(6)?,
        body_bytes: row.get::<_, i64>(7)?.unsigned_abs(),
    })
}

/// The state of an event at a sink; `None` if the sink has not had the event.
fn sink(row: &Row<'_>) -> Result<Option<SinkEntry>> {
    let (attempts, due, dead): (Option<u32>, Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let (untried, had): (Option<bool>, Option<bool>) = (row.get(5)?, row.get(6)?);
    let state = match (attempts.zip(due), dead.zip(row.get::<_, Option<String>>(4)?), had) {
        (Some((attempts, due_time)), _, _) => SinkState::Retrying { attempts, due_time },
        (None, Some((time, failure)), _) => SinkState::DeadLetter { time, failure },
        (None, None, Some(true)) if untried == Some(true) => SinkState::Waiting,
        (None, None, Some(true)) => SinkState::Done,
        (None, None, Some(false) | None) => return Ok(None),
    };
    Ok(Some(SinkEntry { name: row.get(0)?, state }))
}

/// The removed sinks that have dead letters, or whose waiting events are becoming dead letters: the first of them by
/// name.
fn removed_sinks(connection: &Connection) -> Result<Vec<RemovedSink>> {
    // Finds each sink of a dead letter by one search of the index, however many dead letters there are.
    let removed = "WITH RECURSIVE dead (sink) AS (
            SELECT min(sink) FROM dead_letters
            UNION ALL
            SELECT (SELECT min(sink) FROM dead_letters WHERE sink > dead.sink) FROM dead WHERE sink IS NOT NULL),
        removed (name) AS (
            SELECT sink FROM dead WHERE sink IS NOT NULL
            UNION SELECT name FROM sinks WHERE removed_after IS NOT NULL
            EXCEPT SELECT name FROM sinks WHERE removed_after IS NULL)
        SELECT name, coalesce(max(0, removed_after - position), 0) + (SELECT count(*) FROM retries WHERE sink = name),
            (SELECT count(*) FROM dead_letters WHERE sink = name)
        FROM removed LEFT JOIN sinks USING (name) ORDER BY name LIMIT ?1";
    let mut statement = connection.prepare_cached(removed)?;
    let rows = statement.query_map([REMOVED_SINKS_MAX], |row| {
        Ok(RemovedSink {
            name: row.get(0)?,
            backlog: row.get::<_, i64>(1)?.unsigned_abs(),
            dead_lettered: row.get::<_, i64>(2)?.unsigned_abs(),
        })
    })?;
    rows.collect()
}
