//! Dead letters and stored events that are sent again.

use super::*;
use crate::receiver::journal::{
    Outcome, Settlement,
    query::DueQuery,
    sqlite::{bounds::Bounds, due, removed, schema, settle::settle},
    tries::Tries,
};

/// All events that wait.
const ALL: DueQuery =
    DueQuery { now: i64::MAX, horizon: i64::MAX, after: 0, retries: 10_000, fresh: 10_000, max_bytes: usize::MAX };

/// When the n-th event was received, in seconds.
const RECEIVED: i64 = 1_700_000_000;
const NOW: i64 = 1_800_000_000_000;
const LIMIT: usize = 256;

/// A journal with sinks `a` and `b` and `count` events that both have settled: all are dead letters of `b`.
fn journal(count: i64) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    schema::MIGRATIONS.iter().for_each(|step| connection.execute_batch(step).unwrap());
    fill(&connection, count);
    connection
}

fn fill(connection: &Connection, count: i64) {
    removed::set_sinks(connection, &["a".to_owned(), "b".to_owned()], 0).unwrap();
    for id in 1..=count {
        let event = "INSERT INTO events VALUES (?1, 'd' || ?1, 'link.created', 0, ?2, 'k1', 0, x'')";
        connection.execute(event, (id, RECEIVED + id)).unwrap();
        record(connection, "a", id, Outcome::Done);
        record(connection, "b", id, dead_letter());
    }
}

fn dead_letter() -> Outcome {
    Outcome::DeadLetter { failure: "answered 400".into(), at: 0 }
}

fn record(connection: &Connection, sink: &str, position: Position, outcome: Outcome) {
    settle(connection, sink, &[Settlement { position, outcome }], NOW / 1000).unwrap();
}

fn dead(connection: &Connection, sink: &str) -> Vec<Position> {
    let dead = connection.prepare_cached("SELECT event FROM dead_letters WHERE sink = ?1 ORDER BY event").unwrap();
    positions(dead, [sink]).unwrap()
}

/// The events that are due at a sink, and whether each is sent again on request.
fn waiting(connection: &Connection, sink: &str) -> Vec<(Position, bool)> {
    let due = due::due(connection, sink, ALL).unwrap();
    let mut events: Vec<_> = due.retries.iter().chain(&due.fresh).map(|it| (it.position, it.replayed)).collect();
    events.sort_unstable();
    events
}

fn request(connection: &Connection, id: &str, source: Source, target: &str, per_second: u32) {
    let matched = match &source {
        Source::DeadLetters { sink } => dead_letters(connection, sink).unwrap(),
        Source::Received { from, to } => received(connection, 0, *from, *to).unwrap().unwrap().0,
    };
    let part = Part { source, target: target.to_owned(), matched };
    accept(connection, &Redrive { id: id.to_owned(), per_second, parts: vec![part] }, NOW / 1000).unwrap();
}

fn dead_letters_of(sink: &str) -> Source {
    Source::DeadLetters { sink: sink.to_owned() }
}

fn again(events: impl IntoIterator<Item = Position>) -> Vec<(Position, bool)> {
    events.into_iter().map(|event| (event, true)).collect()
}

#[test]
fn dead_letters_are_sent_again_at_the_rate_and_once_each() {
    let connection = journal(25);
    request(&connection, "r1", dead_letters_of("b"), "b", 10);
    assert_eq!(matched(&connection, "r1").unwrap(), Some(25));
    assert_eq!(step(&connection, NOW, LIMIT).unwrap(), Step { queued: 10, pending: true });
    assert_eq!((waiting(&connection, "b"), dead(&connection, "b")), (again(1..=10), (11..=25).collect()));
    let dues = connection.prepare_cached("SELECT due_at FROM retries ORDER BY event").unwrap();
    assert_eq!(positions(dues, []).unwrap(), Vec::from_iter((0..10).map(|n| NOW + 100 * n)), "spread over the second");
    record(&connection, "b", 1, Outcome::Done);
    record(&connection, "b", 2, dead_letter());
    record(&connection, "b", 3, Outcome::Retry { tries: Tries { attempts: 1, ..Tries::default() }, due_at: NOW });
    assert_eq!(step(&connection, NOW + 1_000, LIMIT).unwrap(), Step { queued: 10, pending: true });
    assert_eq!(step(&connection, NOW + 2_000, LIMIT).unwrap(), Step { queued: 5, pending: false });
    assert_eq!(step(&connection, NOW + 3_000, LIMIT).unwrap(), Step::default());
    assert_eq!(dead(&connection, "b"), [2], "one that fails again is a dead letter again, and is not sent once more");
    assert_eq!(waiting(&connection, "b"), again(3..=25), "a failed attempt does not lose the mark");
    let progress = progress(&connection).unwrap();
    assert_eq!((progress[0].matched, progress[0].queued, progress[0].complete), (25, 25, true));
}

#[test]
fn a_request_is_handled_once_and_continues_in_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let open = || schema::open(directory.path(), Bounds::LARGEST).unwrap();
    let connection = open();
    fill(&connection, 20);
    request(&connection, "r1", dead_letters_of("b"), "b", 5);
    step(&connection, NOW, LIMIT).unwrap();
    drop(connection);
    let connection = open();
    request(&connection, "r1", dead_letters_of("b"), "b", 5);
    assert_eq!(matched(&connection, "r1").unwrap(), Some(20), "the answer to the first request");
    let mut steps = 0;
    while step(&connection, NOW, LIMIT).unwrap().pending {
        steps += 1;
    }
    assert_eq!((steps, waiting(&connection, "b")), (2, again(1..=20)));
    assert_eq!(last_accepted(&connection).unwrap().as_deref(), Some("r1"));
}

#[test]
fn dead_letters_of_a_removed_sink_are_sent_to_another() {
    let connection = journal(3);
    removed::set_sinks(&connection, &["a".to_owned()], 3).unwrap();
    while removed::convert(&connection, NOW / 1000, LIMIT).unwrap() {}
    request(&connection, "r1", dead_letters_of("b"), "a", 10);
    step(&connection, NOW, LIMIT).unwrap();
    assert_eq!((dead(&connection, "b"), waiting(&connection, "a")), (vec![], again(1..=3)));
}

#[test]
fn events_that_wait_for_the_sink_are_not_sent_twice() {
    let connection = journal(4);
    // The sink waits for 5 and 6, and 4 is retried; 2 was delivered by hand.
    for id in 5..=6 {
        let event = "INSERT INTO events VALUES (?1, 'd', 'link.created', 0, ?2, 'k1', 0, x'')";
        connection.execute(event, (id, RECEIVED + id)).unwrap();
    }
    record(&connection, "b", 4, Outcome::Done);
    connection.execute("DELETE FROM dead_letters WHERE event IN (2, 4)", []).unwrap();
    record(&connection, "b", 4, Outcome::Retry { tries: Tries { attempts: 7, ..Tries::default() }, due_at: NOW });
    let all = Source::Received { from: RECEIVED + 2, to: RECEIVED + 6 };
    request(&connection, "r1", all, "b", 10);
    assert_eq!(matched(&connection, "r1").unwrap(), Some(4), "2 to 5");
    assert_eq!(step(&connection, NOW, LIMIT).unwrap(), Step { queued: 2, pending: false });
    let expected = [(2, true), (3, true), (4, false), (5, false), (6, false)];
    assert_eq!((waiting(&connection, "b"), dead(&connection, "b")), (expected.to_vec(), vec![1]));
}

#[test]
fn events_of_a_time_are_found_in_bounded_scans() {
    let connection = journal(0);
    let events = "WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ?1)
        INSERT INTO events SELECT id, 'd' || id, 'link.created', 0, iif(id % 11000 = 0, ?2, 0), 'k1', 0, x'' FROM n";
    connection.execute(events, (3 * SCAN_MAX, RECEIVED)).unwrap();
    record(&connection, "b", 3 * SCAN_MAX, Outcome::Done);
    let (source, last) = (Source::Received { from: RECEIVED, to: RECEIVED + 1 }, 22_000);
    let part = Part { source, target: "b".into(), matched: Matched { count: 2, first: 11_000, last } };
    accept(&connection, &Redrive { id: "r1".into(), per_second: 10, parts: vec![part] }, 0).unwrap();
    assert_eq!(step(&connection, NOW, LIMIT).unwrap(), Step { queued: 1, pending: true });
    assert_eq!(step(&connection, NOW, LIMIT).unwrap(), Step { queued: 1, pending: false });
    assert_eq!(waiting(&connection, "b"), again([11_000, 22_000]));
    assert_eq!(named(&connection, 0, "d20000").unwrap(), Some((None, SCAN_MAX + 1)));
    assert_eq!(named(&connection, SCAN_MAX + 1, "d20000").unwrap(), Some((Some(20_000), 2 * SCAN_MAX + 2)));
    assert_eq!(named(&connection, 3 * SCAN_MAX, "d1").unwrap(), None);
}

#[test]
fn incomplete_requests_are_bounded_and_share_a_step() {
    let connection = journal(2 * LIMIT as i64);
    for n in 0..=PENDING_MAX {
        request(&connection, &format!("r{n}"), dead_letters_of("b"), "b", 250);
    }
    assert_eq!(matched(&connection, &format!("r{PENDING_MAX}")).unwrap(), None, "one too many");
    assert!(step(&connection, NOW, LIMIT).unwrap().queued <= LIMIT);
    while step(&connection, NOW, LIMIT).unwrap().pending {}
    assert_eq!(waiting(&connection, "b").len(), 2 * LIMIT, "none twice");
    request(&connection, "later", dead_letters_of("b"), "b", 1);
    assert_eq!(matched(&connection, "later").unwrap(), Some(0));
}

#[test]
fn a_request_ends_if_its_sink_is_removed() {
    let connection = journal(3);
    request(&connection, "r1", dead_letters_of("b"), "b", 1);
    step(&connection, NOW, LIMIT).unwrap();
    removed::set_sinks(&connection, &["a".to_owned()], 3).unwrap();
    assert_eq!(step(&connection, NOW, LIMIT).unwrap(), Step::default());
    while removed::convert(&connection, NOW / 1000, LIMIT).unwrap() {}
    assert_eq!(dead(&connection, "b"), [1, 2, 3], "nothing is lost");
}
