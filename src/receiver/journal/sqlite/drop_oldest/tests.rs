//! Events that are given up for want of room.

use super::*;
use crate::receiver::journal::{
    Outcome, Settlement,
    query::DueQuery,
    sqlite::{due, removed, schema, settle::settle},
    tries::Tries,
};

/// All events that wait.
const ALL: DueQuery =
    DueQuery { now: i64::MAX, horizon: i64::MAX, after: 0, retries: 10_000, fresh: 10_000, max_bytes: usize::MAX };

const NOW: i64 = 1_700_000_000;
const LIMITS: Limits = Limits { bytes: i128::MAX, events: usize::MAX, listed: 100 };

/// A journal of `count` events, each of about 1,000 bytes. `down` gives up its oldest events, `up` does not.
fn journal(count: i64) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    schema::MIGRATIONS.iter().for_each(|step| connection.execute_batch(step).unwrap());
    removed::set_sinks(&connection, &["down".to_owned(), "up".to_owned()], 0).unwrap();
    removed::set_policies(&connection, &["down".to_owned()]).unwrap();
    for id in 1..=count {
        let event = "INSERT INTO events VALUES (?1, 'd' || ?1, 'link.created', 0, 0, 'k1', 0, zeroblob(488))";
        connection.execute(event, [id]).unwrap();
    }
    connection
}

fn record(connection: &Connection, sink: &str, position: Position, outcome: Outcome) {
    settle(connection, sink, &[Settlement { position, outcome }], NOW).unwrap();
}

fn dead_letter() -> Outcome {
    Outcome::DeadLetter { failure: "answered 400".into(), at: 0 }
}

const TRIES: Tries = Tries { attempts: 3, suspicions: 0, charged_ms: 0, taken: None };
const RETRY: Outcome = Outcome::Retry { tries: TRIES, due_at: 0 };

fn waiting(connection: &Connection, sink: &str) -> Vec<Position> {
    let due = due::due(connection, sink, ALL).unwrap();
    due.retries.iter().chain(&due.fresh).map(|event| event.position).collect()
}

fn events(connection: &Connection) -> Vec<Position> {
    positions(connection.prepare_cached("SELECT id FROM events ORDER BY id").unwrap(), []).unwrap()
}

fn counted(connection: &Connection) -> Vec<(String, i64)> {
    let mut counted = connection.prepare("SELECT sink, count FROM drops").unwrap();
    counted.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_>>().unwrap()
}

#[test]
fn dead_letters_are_given_up_first_then_the_oldest_waiting_events_and_only_as_many_as_needed() {
    let connection = journal(10);
    record(&connection, "up", 10, Outcome::Done);
    record(&connection, "down", 1, RETRY);
    record(&connection, "down", 2, Outcome::Done);
    record(&connection, "down", 3, dead_letter());
    let (mut search, mut gone) = (Search::new(), vec![2]);
    for next in [3, 1, 4, 5] {
        while search.give_up(&connection, Limits { bytes: 1, ..LIMITS }, NOW).unwrap() == 0 {}
        gone.push(next);
        let left: Vec<_> = (1..=10).filter(|event| *event == 2 || !gone.contains(event)).collect();
        assert_eq!(events(&connection), left, "2 is settled: it is evicted, not given up");
    }
    assert_eq!(waiting(&connection, "down"), [6, 7, 8, 9, 10]);
    assert_eq!(counted(&connection), [("down".to_owned(), 4)]);
    let listed = "SELECT group_concat(name) FROM dropped WHERE sink = 'down' AND at = ?1";
    let listed: String = connection.query_row(listed, [NOW], |row| row.get(0)).unwrap();
    assert_eq!(listed, "d3,d1,d4,d5");
    record(&connection, "down", 4, RETRY);
    assert_eq!(waiting(&connection, "down"), [6, 7, 8, 9, 10], "an attempt under way does not bring one back");
}

#[test]
fn an_event_that_another_sink_holds_stays_for_both() {
    let connection = journal(6);
    record(&connection, "up", 2, RETRY);
    record(&connection, "up", 3, dead_letter());
    record(&connection, "up", 4, Outcome::Done);
    let mut search = Search::new();
    while search.is_open() {
        search.give_up(&connection, LIMITS, NOW).unwrap();
    }
    assert_eq!(events(&connection), [2, 3, 5, 6], "5 and 6 have not been sent to the other sink");
    assert_eq!(waiting(&connection, "down"), [2, 3, 5, 6]);
    assert_eq!(waiting(&connection, "up"), [2, 5, 6]);
}

#[test]
fn without_the_policy_nothing_is_given_up() {
    let connection = journal(6);
    record(&connection, "up", 6, Outcome::Done);
    record(&connection, "down", 1, dead_letter());
    removed::set_policies(&connection, &[]).unwrap();
    let mut search = Search::new();
    while search.is_open() {
        assert_eq!(search.give_up(&connection, LIMITS, NOW).unwrap(), 0);
    }
    removed::set_policies(&connection, &["down".to_owned()]).unwrap();
    removed::set_sinks(&connection, &["up".to_owned()], 6).unwrap();
    let mut search = Search::new();
    while search.is_open() {
        search.give_up(&connection, LIMITS, NOW).unwrap();
    }
    assert_eq!(events(&connection), [2, 3, 4, 5, 6], "its waiting events become dead letters first");
}

#[test]
fn a_batch_is_bounded_and_so_is_the_list() {
    let connection = journal(300);
    record(&connection, "up", 300, Outcome::Done);
    let mut search = Search::new();
    let mut dropped = 0;
    while search.is_open() {
        let batch = search.give_up(&connection, Limits { events: 50, ..LIMITS }, NOW).unwrap();
        assert!(batch <= 50);
        dropped += batch;
    }
    assert_eq!((dropped, events(&connection).len()), (300, 0));
    let listed = || connection.query_row("SELECT count(*) FROM dropped", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(listed(), 100);
    expire_listed(&connection, NOW).unwrap();
    assert_eq!(listed(), 100);
    expire_listed(&connection, NOW + 1).unwrap();
    assert_eq!(listed(), 0);
}

/// Gives up all that may be.
fn give_up_all(connection: &Connection) {
    let mut search = Search::new();
    while search.is_open() {
        search.give_up(connection, LIMITS, NOW).unwrap();
    }
}

#[test]
fn the_dead_letters_of_a_removed_sink_are_given_up_if_its_policy_was_to_drop_the_oldest() {
    let connection = journal(4);
    record(&connection, "up", 4, Outcome::Done);
    record(&connection, "down", 1, dead_letter());
    removed::set_sinks(&connection, &["up".to_owned()], 4).unwrap();
    removed::set_policies(&connection, &[]).unwrap();
    give_up_all(&connection);
    assert_eq!(events(&connection), [2, 3, 4], "its waiting events become dead letters first");
    while removed::convert(&connection, NOW, 100).unwrap() {}
    give_up_all(&connection);
    assert!(events(&connection).is_empty());
    assert_eq!(counted(&connection), [("down".to_owned(), 4)]);
}

#[test]
fn the_dead_letters_of_a_removed_sink_stay_if_its_policy_was_to_refuse_or_is_when_it_comes_back() {
    let connection = journal(4);
    record(&connection, "down", 4, Outcome::Done);
    record(&connection, "up", 1, dead_letter());
    let remove = |sink: &str, policies: &[String]| {
        removed::set_sinks(&connection, &[sink.to_owned()], 4).unwrap();
        removed::set_policies(&connection, policies).unwrap();
        while removed::convert(&connection, NOW, 100).unwrap() {}
    };
    remove("down", &["down".to_owned()]);
    give_up_all(&connection);
    assert_eq!(events(&connection), [1, 2, 3, 4], "they are dead letters of the sink with Refuse");
    record(&connection, "down", 2, dead_letter());
    remove("up", &[]);
    removed::set_sinks(&connection, &["up".to_owned(), "down".to_owned()], 4).unwrap();
    removed::set_policies(&connection, &[]).unwrap();
    give_up_all(&connection);
    assert_eq!(events(&connection), [1, 2, 3, 4], "the sink is back, with Refuse");
}
