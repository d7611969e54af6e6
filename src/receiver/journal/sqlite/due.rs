//! Queries of the reading connection: due events and backlog.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::{
    linktree::event::EventType,
    receiver::journal::{Backlog, Due, Pending, Position},
};

/// The events due for `sink` at `now`, oldest first. Up to half of them are retries, so that neither retries nor new
/// events starve.
pub(super) fn due(connection: &Connection, sink: &str, now: i64, limit: usize) -> Result<Due> {
    let position = "SELECT position FROM sinks WHERE name = ?1 AND removed_after IS NULL";
    let position: Option<Position> =
        connection.prepare_cached(position)?.query_row([sink], |row| row.get(0)).optional()?;
    let Some(position) = position else { return Ok(Due::default()) };
    let again = "SELECT id, name, type, sent_at, body, attempts, replayed FROM retries JOIN events ON id = event
        WHERE sink = ?1 AND due_at <= ?2 ORDER BY due_at, event LIMIT ?3";
    let mut again = connection.prepare_cached(again)?;
    let again = again.query_map(params![sink, now, (limit / 2).max(1) as i64], pending)?;
    let mut events = again.collect::<Result<Vec<_>>>()?;
    events.sort_by_key(|event| event.position);
    let fresh = "SELECT id, name, type, sent_at, body, 0, 0 FROM events WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut fresh = connection.prepare_cached(fresh)?;
    let room = limit.saturating_sub(events.len()) as i64;
    for event in fresh.query_map(params![position, room], pending)? {
        events.push(event?);
    }
    let next = "SELECT min(due_at) FROM retries WHERE sink = ?1 AND due_at > ?2";
    let next = connection.prepare_cached(next)?.query_row(params![sink, now], |row| row.get(0))?;
    Ok(Due { events, next })
}

/// The events after position `after` that wait for a retry at `sink`, each with its due time.
pub(super) fn waiting(
    connection: &Connection,
    sink: &str,
    after: Position,
    limit: usize,
) -> Result<Vec<(Pending, i64)>> {
    let waiting =
        "SELECT id, name, type, sent_at, body, attempts, replayed, due_at FROM retries JOIN events ON id = event
        WHERE sink = ?1 AND event > ?2 ORDER BY event LIMIT ?3";
    let mut waiting = connection.prepare_cached(waiting)?;
    let rows = waiting.query_map(params![sink, after, limit as i64], |row| Ok((pending(row)?, row.get(7)?)))?;
    rows.collect()
}

const BACKLOG: &str = "SELECT name,
        max(0, coalesce((SELECT max(id) FROM events), 0) - position)
            + (SELECT count(*) FROM retries WHERE sink = name),
        (SELECT count(*) FROM dead_letters WHERE sink = name)
    FROM sinks WHERE removed_after IS NULL ORDER BY name";

/// The backlog of each sink. Events are numbered without gaps, so the events after a position need not be counted.
pub(super) fn backlog(connection: &Connection) -> Result<Vec<Backlog>> {
    let mut statement = connection.prepare_cached(BACKLOG)?;
    let rows = statement.query_map([], |row| {
        Ok(Backlog {
            sink: row.get(0)?,
            waiting: row.get::<_, i64>(1)?.unsigned_abs(),
            dead_lettered: row.get::<_, i64>(2)?.unsigned_abs(),
        })
    })?;
    rows.collect()
}

fn pending(row: &Row<'_>) -> Result<Pending> {
    Ok(Pending {
        position: row.get(0)?,
        id: row.get(1)?,
        event_type: EventType::named(row.get_ref(2)?.as_str()?),
        sent_at: row.get(3)?,
        body: row.get::<_, Vec<u8>>(4)?.into(),
        attempts: row.get(5)?,
        replayed: row.get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::journal::sqlite::schema;

    #[test]
    fn the_backlog_is_counted_in_indexes() {
        let connection = Connection::open_in_memory().unwrap();
        schema::MIGRATIONS.iter().for_each(|step| connection.execute_batch(step).unwrap());
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {BACKLOG}")).unwrap();
        let plan: Vec<String> = plan.query_map([], |row| row.get(3)).unwrap().collect::<Result<_>>().unwrap();
        for table in ["retries", "dead_letters"] {
            let step = plan.iter().find(|step| step.contains(table)).unwrap();
            assert!(step.starts_with("SEARCH") && step.contains("sink=?"), "{plan:?}");
        }
    }
}
