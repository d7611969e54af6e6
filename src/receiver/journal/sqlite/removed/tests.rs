//! The events of removed sinks.

use super::*;
use crate::receiver::journal::{
    Outcome, Settlement,
    query::DueQuery,
    sqlite::{due, schema, settle::settle},
    tries::Tries,
};

/// All events that wait.
const ALL: DueQuery =
    DueQuery { now: i64::MAX, horizon: i64::MAX, after: 0, retries: 10_000, fresh: 10_000, max_bytes: usize::MAX };

const NOW: i64 = 1_700_000_000;
const LIMIT: usize = 100;

/// A journal with sinks `a` and `b`, and then `count` events.
fn journal(count: i64) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    schema::MIGRATIONS.iter().for_each(|step| connection.execute_batch(step).unwrap());
    set(&connection, &["a", "b"], 0);
    append(&connection, 1..=count);
    connection
}

fn append(connection: &Connection, ids: impl IntoIterator<Item = i64>) {
    for id in ids {
        let event = "INSERT INTO events VALUES (?1, 'd', 'link.created', 0, ?2, 'k1', 0, x'')";
        connection.execute(event, (id, NOW)).unwrap();
    }
}

fn set(connection: &Connection, sinks: &[&str], last: Position) -> Vec<Removed> {
    let sinks: Vec<String> = sinks.iter().map(|&sink| sink.to_owned()).collect();
    set_sinks(connection, &sinks, last).unwrap()
}

fn record(connection: &Connection, sink: &str, position: Position, outcome: Outcome) {
    settle(connection, sink, &[Settlement { position, outcome }], NOW).unwrap();
}

fn dead(connection: &Connection, sink: &str) -> Vec<Position> {
    positions(connection, "SELECT event FROM dead_letters WHERE sink = ?1 ORDER BY event", [sink]).unwrap()
}

fn waiting(connection: &Connection, sink: &str) -> Vec<Position> {
    let due = due::due(connection, sink, ALL).unwrap();
    due.retries.iter().chain(&due.fresh).map(|event| event.position).collect()
}

const TRIES: Tries = Tries { attempts: 3, suspicions: 0, charged_ms: 0, taken: None };
const RETRY: Outcome = Outcome::Retry { tries: TRIES, due_at: 0 };

#[test]
fn all_that_a_removed_sink_waits_for_becomes_dead_letters_of_its_name() {
    let connection = journal(5);
    record(&connection, "b", 1, RETRY);
    record(&connection, "b", 2, Outcome::Done);
    assert_eq!(set(&connection, &["a"], 5), [Removed { sink: "b".into(), waiting: 4 }]);
    assert!(set(&connection, &["a"], 5).is_empty(), "reported once");
    append(&connection, 6..=7);
    assert!(waiting(&connection, "b").is_empty(), "it gets no more");
    while convert(&connection, NOW, LIMIT).unwrap() {}
    assert_eq!(dead(&connection, "b"), [1, 3, 4, 5], "and not what arrived later");
    let failures = "SELECT count(*) FROM dead_letters WHERE failure = ?1 AND at = ?2";
    let failures: i64 = connection.query_row(failures, (REMOVED, NOW * 1000), |row| row.get(0)).unwrap();
    assert_eq!(failures, 4);
    assert_eq!(waiting(&connection, "a"), [1, 2, 3, 4, 5, 6, 7]);
    set(&connection, &["a", "b"], 7);
    append(&connection, [8]);
    assert_eq!(waiting(&connection, "b"), [8]);
    assert_eq!(dead(&connection, "b"), [1, 3, 4, 5], "they stay dead letters");
}

#[test]
fn a_long_backlog_is_converted_in_bounded_batches_and_can_come_back_meanwhile() {
    let count = 3 * LIMIT as i64 + 7;
    let connection = journal(count);
    for event in 1..=LIMIT as i64 + 2 {
        record(&connection, "b", event, RETRY);
    }
    set(&connection, &["a"], count);
    for batch in 1..=2 {
        assert!(convert(&connection, NOW, LIMIT).unwrap());
        assert_eq!(dead(&connection, "b").len(), batch * LIMIT);
    }
    set(&connection, &["a", "b"], count);
    assert!(!convert(&connection, NOW, LIMIT).unwrap());
    assert_eq!(waiting(&connection, "b").len(), count as usize - 2 * LIMIT, "it continues where it stood");
    set(&connection, &["a"], count);
    while convert(&connection, NOW, LIMIT).unwrap() {}
    assert_eq!(dead(&connection, "b"), Vec::from_iter(1..=count));
}

#[test]
fn an_outcome_that_arrives_after_the_removal_is_not_lost() {
    for (sentence, converted, back) in
        [("before the conversion", false, false), ("after it", true, false), ("after the sink is back", true, true)]
    {
        let connection = journal(3);
        set(&connection, &["a"], 3);
        while converted && convert(&connection, NOW, LIMIT).unwrap() {}
        if back {
            set(&connection, &["a", "b"], 3);
        }
        let settled = [(1, Outcome::Done), (2, RETRY)];
        let settled = settled.map(|(position, outcome)| Settlement { position, outcome });
        settle(&connection, "b", &settled, NOW).unwrap();
        while convert(&connection, NOW, LIMIT).unwrap() {}
        assert_eq!(dead(&connection, "b"), [2, 3], "{sentence}");
        assert!(waiting(&connection, "b").is_empty(), "{sentence}");
    }
}
