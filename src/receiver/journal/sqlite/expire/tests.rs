//! The times at which events and dead letters expire.

use super::*;
use crate::receiver::journal::{
    Outcome, Settlement,
    sqlite::{removed, schema, settle},
    tries::Tries,
};

const WEEK: i64 = 604_800;
const MONTH: i64 = 2_592_000;
/// When the events were received.
const NOW: i64 = 1_700_000_000;

/// A journal with two sinks, in chosen time.
struct Journal {
    connection: Connection,
    expiry: Expiry,
    settings: Settings,
}

impl Journal {
    fn new() -> Self {
        Journal::with_events(3)
    }

    fn with_events(events: Position) -> Self {
        let connection = Connection::open_in_memory().unwrap();
        schema::MIGRATIONS.iter().for_each(|step| connection.execute_batch(step).unwrap());
        let sinks = vec!["a".to_owned(), "b".to_owned()];
        removed::set_sinks(&connection, &sinks, 0).unwrap();
        for id in 1..=events {
            let event = "INSERT INTO events VALUES (?1, 'd', 'link.created', ?2, ?2, 'k1', 0, x'')";
            connection.execute(event, (id, NOW)).unwrap();
        }
        let expiry = Expiry::load(&connection).unwrap();
        let settings = Settings {
            sinks,
            drop_oldest: Vec::new(),
            deduplication_window_seconds: WEEK as u64,
            retention_seconds: WEEK as u64,
            dead_letter_retention_seconds: MONTH as u64,
            capacity_bytes: u64::MAX,
        };
        Journal { connection, expiry, settings }
    }

    fn settle(&self, sink: &str, position: Position, outcome: Outcome, now: i64) {
        settle::settle(&self.connection, sink, &[Settlement { position, outcome }], now).unwrap();
    }

    /// The events that are left at `now`.
    fn at(&mut self, now: i64) -> Vec<Position> {
        self.pass(now, clock::monotonic());
        self.events()
    }

    fn pass(&mut self, now: i64, at: Instant) -> bool {
        let budget = &mut Budget::of_pages(2000);
        let more = self.expiry.expire(&self.connection, &self.settings, now, at, budget).unwrap();
        self.expiry.committed();
        more
    }

    fn events(&self) -> Vec<Position> {
        let mut events = self.connection.prepare("SELECT id FROM events ORDER BY id").unwrap();
        events.query_map([], |row| row.get(0)).unwrap().collect::<Result<_>>().unwrap()
    }
}

fn dead_letter(at: i64) -> Outcome {
    Outcome::DeadLetter { failure: "400".into(), at: at * 1000 }
}

#[test]
fn events_expire_by_their_last_settlement_not_by_their_arrival() {
    let mut journal = Journal::new();
    let settled = NOW + 2 * WEEK;
    assert_eq!(journal.at(settled), [1, 2, 3], "they wait");
    journal.settle("a", 3, Outcome::Done, NOW);
    journal.settle("b", 2, Outcome::Done, settled);
    assert_eq!(journal.at(settled + 605), [1, 2, 3]);
    assert_eq!(journal.at(settled + WEEK), [1, 2, 3]);
    assert_eq!(journal.at(settled + WEEK + 606), [3], "b has not settled the last one");
}

#[test]
fn an_event_that_was_retried_expires_by_its_own_settlement() {
    let mut journal = Journal::new();
    journal.settle("a", 3, Outcome::Done, NOW);
    journal.settle("b", 3, Outcome::Done, NOW);
    journal.settle("b", 2, Outcome::Retry { tries: Tries::default(), due_at: 0 }, NOW);
    journal.at(NOW);
    assert_eq!(journal.at(NOW + WEEK + 1), [2], "it waits");
    let settled = NOW + 3 * WEEK;
    journal.settle("b", 2, Outcome::Done, settled);
    assert_eq!(journal.at(settled + WEEK), [2]);
    assert!(journal.at(settled + WEEK + 1).is_empty());
    let late: i64 = journal.connection.query_row("SELECT count(*) FROM settled_late", [], |row| row.get(0)).unwrap();
    assert_eq!(late, 0);
}

#[test]
fn a_dead_letter_expires_by_the_time_when_it_became_one() {
    let mut journal = Journal::new();
    journal.settle("a", 3, Outcome::Done, NOW);
    journal.settle("b", 3, Outcome::Done, NOW);
    journal.settle("b", 1, Outcome::Retry { tries: Tries::default(), due_at: 0 }, NOW);
    journal.at(NOW);
    let dead = NOW + 2 * MONTH;
    journal.settle("b", 1, dead_letter(dead), dead);
    assert_eq!(journal.at(dead), [1], "it is older than both retentions");
    assert_eq!(journal.at(dead + MONTH), [1]);
    assert!(journal.at(dead + MONTH + 1).is_empty());
    let dead: i64 = journal.connection.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get(0)).unwrap();
    assert_eq!(dead, 0);
}

#[test]
fn a_dead_letter_stays_at_least_as_long_as_a_delivered_event() {
    let mut journal = Journal::new();
    journal.settings.dead_letter_retention_seconds = 60;
    journal.settle("a", 3, Outcome::Done, NOW);
    journal.settle("b", 3, Outcome::Done, NOW);
    journal.settle("b", 1, dead_letter(NOW), NOW);
    journal.at(NOW);
    assert_eq!(journal.at(NOW + WEEK), [1, 2, 3]);
    assert!(journal.at(NOW + WEEK + 1).is_empty());
}

#[test]
fn events_of_a_removed_sink_expire_as_dead_letters() {
    let mut journal = Journal::new();
    journal.settle("a", 3, Outcome::Done, NOW);
    journal.settle("b", 3, Outcome::Retry { tries: Tries::default(), due_at: 0 }, NOW);
    journal.at(NOW);
    assert_eq!(journal.at(NOW + WEEK + 1), [3]);
    removed::set_sinks(&journal.connection, &["a".to_owned()], 3).unwrap();
    journal.expiry.rescan();
    assert_eq!(journal.at(NOW + WEEK + 2), [3]);
    while removed::convert(&journal.connection, NOW + WEEK + 2, 10).unwrap() {}
    assert_eq!(journal.at(NOW + WEEK + 2 + MONTH), [3]);
    assert!(journal.at(NOW + WEEK + 3 + MONTH).is_empty());
}

#[test]
fn dead_letters_that_something_keeps_do_not_hold_up_later_ones() {
    let last = 3 * DELETE_BATCH as Position;
    let mut journal = Journal::with_events(last);
    journal.settle("a", last, Outcome::Done, NOW);
    for position in 1..=last {
        journal.settle("b", position, dead_letter(NOW), NOW);
        if position <= last - 10 {
            let retry = Outcome::Retry { tries: Tries::default(), due_at: 0 };
            journal.settle("a", position, retry, NOW);
        }
    }
    journal.settle("b", last, Outcome::Done, NOW);
    journal.at(NOW + 1);
    journal.expiry.scanned = last;
    let mut passes = 1;
    while journal.pass(NOW + MONTH + 2, clock::monotonic()) {
        passes += 1;
    }
    assert!(passes <= 8, "{passes} passes");
    assert_eq!(journal.events().len() as Position, last - 10);
    journal.settle("a", 7, Outcome::Done, NOW + MONTH + 2);
    journal.at(NOW + MONTH + WEEK + 3);
    assert!(!journal.events().contains(&7), "it expires once the last sink has settled it");
}

mod clock_jumps;
