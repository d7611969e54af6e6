//! Queries of the reading connection: due events, probes and backlog.

use rusqlite::{Connection, OptionalExtension, Params, Result, Row, params};

use crate::{
    linktree::event::EventType,
    receiver::journal::{
        Backlog, Due, Pending, Position,
        query::{DueQuery, Probe},
        tries::Tries,
    },
};

/// The columns of [`pending`] for a retry. A crash may lose the last settlements of events that the sink has taken, but
/// not a retry that was recorded after them: it then counts as recorded at the sink's number of now.
const RETRY: &str = "SELECT event, events.name, type, sent_at, body, attempts, suspicions, charged_ms,
        min(retries.taken, sinks.taken), length(body), replayed, due_at
    FROM retries JOIN events ON id = event JOIN sinks ON sinks.name = sink";

/// The columns of [`pending`] for a new event.
const FRESH: &str = "SELECT id, name, type, sent_at, body, 0, 0, 0, NULL, length(body), 0 FROM events";

/// The due events of `sink`.
pub(super) fn due(connection: &Connection, sink: &str, query: DueQuery) -> Result<Due> {
    let DueQuery { now, horizon, after, retries, fresh, max_bytes } = query;
    let Some((position, taken)) = state(connection, sink)? else { return Ok(Due::default()) };
    let after = after.max(position);
    let mut budget = Budget { left: max_bytes, needs: None };
    let due = format!("{RETRY} WHERE sink = ?1 AND due_at <= ?2 ORDER BY due_at, event LIMIT ?3");
    let mut retries_due = budget.select(connection, &due, params![sink, now, retries as i64])?;
    let left = retries.saturating_sub(retries_due.len());
    let far = format!("{RETRY} WHERE sink = ?1 AND due_at > ?2 ORDER BY due_at DESC LIMIT ?3");
    retries_due.extend(budget.select(connection, &far, params![sink, horizon, left as i64])?);
    let new = format!("{FRESH} WHERE id > ?1 ORDER BY id LIMIT ?2");
    let fresh = budget.select(connection, &new, params![after, fresh as i64])?;
    let next = "SELECT min(due_at) FROM retries WHERE sink = ?1 AND due_at > ?2 AND due_at <= ?3";
    let next = connection.prepare_cached(next)?.query_row(params![sink, now, horizon], |row| row.get(0))?;
    let waiting = "SELECT max(0, coalesce((SELECT max(id) FROM events), 0) - ?2)
        + (SELECT count(*) FROM (SELECT 1 FROM retries WHERE sink = ?1 LIMIT 2))";
    let waiting: i64 = connection.prepare_cached(waiting)?.query_row(params![sink, position], |row| row.get(0))?;
    Ok(Due { retries: retries_due, fresh, next, needs: budget.needs, position, taken, alone: waiting < 2 })
}

/// An event to probe `sink` with, whose body has at most `max_bytes`.
pub(super) fn probe(connection: &Connection, sink: &str, probe: Probe, max_bytes: usize) -> Result<Option<Pending>> {
    let Some((position, _)) = state(connection, sink)? else { return Ok(None) };
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let one = |query: &str, parameters: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(query)?.query_row(parameters, pending).optional()
    };
    match probe {
        Probe::Newest { before } => {
            let newest = format!("{FRESH} WHERE id > ?1 AND id < ?2 AND length(body) <= ?3 ORDER BY id DESC LIMIT 1");
            if let Some(event) = one(&newest, params![position, before, max_bytes])? {
                return Ok(Some(event));
            }
            let newest =
                format!("{RETRY} WHERE sink = ?1 AND event < ?2 AND length(body) <= ?3 ORDER BY event DESC LIMIT 1");
            one(&newest, params![sink, before, max_bytes])
        }
        Probe::Fewest { after } => {
            // Not one behind an event that is too large: the sink's position would pass over that one.
            let oldest =
                format!("{FRESH} WHERE id = (SELECT min(id) FROM events WHERE id > ?1) AND length(body) <= ?2");
            if let Some(event) = one(&oldest, params![after.max(position), max_bytes])? {
                return Ok(Some(event));
            }
            let fewest = format!("{RETRY} WHERE sink = ?1 AND length(body) <= ?2 ORDER BY attempts, event LIMIT 1");
            one(&fewest, params![sink, max_bytes])
        }
    }
}

/// A sink's position, and the number of events that it has taken; `None` if the sink is unknown.
fn state(connection: &Connection, sink: &str) -> Result<Option<(Position, i64)>> {
    let state = "SELECT position, taken FROM sinks WHERE name = ?1 AND removed_after IS NULL";
    connection.prepare_cached(state)?.query_row([sink], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// The bytes that a selection may still read.
struct Budget {
    left: usize,
    /// The size of the first event that did not fit.
    needs: Option<usize>,
}

impl Budget {
    /// The events of a query until one does not fit. The length of a body is read without the body.
    fn select(&mut self, connection: &Connection, query: &str, parameters: impl Params) -> Result<Vec<Pending>> {
        let mut statement = connection.prepare_cached(query)?;
        let mut rows = statement.query(parameters)?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            let length = usize::try_from(row.get::<_, i64>(9)?).unwrap_or(usize::MAX);
            let Some(left) = self.left.checked_sub(length) else {
                self.needs.get_or_insert(length);
                break;
            };
            self.left = left;
            events.push(pending(row)?);
        }
        Ok(events)
    }
}

/// The events after position `after` that wait for a retry at `sink`, each with its due time.
pub(super) fn waiting(
    connection: &Connection,
    sink: &str,
    after: Position,
    limit: usize,
) -> Result<Vec<(Pending, i64)>> {
    let waiting = format!("{RETRY} WHERE sink = ?1 AND event > ?2 ORDER BY event LIMIT ?3");
    let mut waiting = connection.prepare_cached(&waiting)?;
    let rows = waiting.query_map(params![sink, after, limit as i64], |row| Ok((pending(row)?, row.get(11)?)))?;
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
        tries: Tries { attempts: row.get(5)?, suspicions: row.get(6)?, charged_ms: row.get(7)?, taken: row.get(8)? },
        replayed: row.get(10)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::journal::sqlite::{removed, schema};

    #[test]
    fn no_event_behind_one_that_is_too_large_is_the_oldest() {
        let connection = Connection::open_in_memory().unwrap();
        schema::MIGRATIONS.iter().for_each(|step| connection.execute_batch(step).unwrap());
        removed::set_sinks(&connection, &["a".to_owned()], 0).unwrap();
        for (id, bytes) in [(1, 10), (2, 1000), (3, 10)] {
            let event = "INSERT INTO events VALUES (?1, 'd', 'link.created', 0, 0, 'k1', 0, zeroblob(?2))";
            connection.execute(event, [id, bytes]).unwrap();
        }
        let select = |probe, max_bytes| probe_of(&connection, "a", probe, max_bytes);
        assert_eq!(select(Probe::Fewest { after: 0 }, 100), Some(1));
        assert_eq!(select(Probe::Fewest { after: 1 }, 100), None, "the sink's position would pass over event 2");
        assert_eq!(select(Probe::Fewest { after: 1 }, 1000), Some(2));
        assert_eq!(select(Probe::Newest { before: 3 }, 100), Some(1), "which does not move the position");
        connection.execute("INSERT INTO retries (sink, event, attempts, due_at) VALUES ('a', 1, 1, 0)", []).unwrap();
        connection.execute("UPDATE sinks SET position = 1", []).unwrap();
        assert_eq!(select(Probe::Fewest { after: 1 }, 100), Some(1), "a retry");
    }

    fn probe_of(connection: &Connection, sink: &str, which: Probe, max_bytes: usize) -> Option<Position> {
        probe(connection, sink, which, max_bytes).unwrap().map(|event| event.position)
    }

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
