//! A flush from its beginning to its end, and what a crash leaves of one.

use super::*;
use crate::receiver::journal::sqlite::{identities::Delivery, schema};

/// The tables, and identities 1 to `last` with `delivery` as their key.
fn tables(last: Number, delivery: impl Fn(Number) -> i64) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    schema::MIGRATIONS.iter().for_each(|step| connection.execute_batch(step).unwrap());
    for id in 1..=last {
        let insert = "INSERT INTO identities VALUES (?1, ?2, x'0102030405060708', x'', 0, 0)";
        connection.execute(insert, [id, delivery(id)]).unwrap();
    }
    connection
}

/// Files as commits would that add one each, until a flush ends. Returns how many commits it took.
fn flush_all(waiting: &mut PendingIndex<Delivery>, connection: &Connection, last: Number) -> usize {
    for commits in 1.. {
        let chunk = waiting.flush(connection, 1, last).unwrap();
        let ended = chunk.flush.is_none();
        waiting.apply(chunk);
        if ended {
            return commits;
        }
    }
    unreachable!()
}

fn found(connection: &Connection, delivery: i64) -> Vec<Number> {
    find(connection, Delivery(delivery)).unwrap()
}

#[test]
fn identities_are_found_before_and_after_they_are_filed() {
    let last = FLUSH_AT as Number;
    let connection = tables(last, |id| id % 1000);
    let mut waiting = PendingIndex::load(&connection).unwrap();
    let before: Vec<_> = waiting.numbers(Delivery(7)).collect();
    assert_eq!(before, [7, 1007, 2007, 3007, 4007]);
    assert!(found(&connection, 7).is_empty());
    assert_eq!(flush_all(&mut waiting, &connection, last), FLUSH_AT / FLUSH_RATIO + 1);
    assert_eq!(found(&connection, 7), before);
    assert_eq!(waiting.numbers(Delivery(7)).count(), 0);
    assert!(PendingIndex::<Delivery>::load(&connection).unwrap().entries.is_empty());
}

#[test]
fn a_few_are_not_worth_filing() {
    let last = FLUSH_AT as Number - 1;
    let connection = tables(last, |id| id);
    assert_eq!(flush_all(&mut PendingIndex::load(&connection).unwrap(), &connection, last), 1);
    assert!(found(&connection, 7).is_empty());
}

#[test]
fn what_comes_during_a_sweep_and_what_a_crash_leaves_half_filed_is_found() {
    let last = FLUSH_AT as Number;
    let delivery = |id| last + 3 - id;
    let connection = tables(last + 2, delivery);
    let everywhere = |waiting: &PendingIndex<Delivery>, delivery| -> BTreeSet<Number> {
        found(&connection, delivery).into_iter().chain(waiting.numbers(Delivery(delivery))).collect()
    };
    let mut waiting = PendingIndex::load(&connection).unwrap();
    // The last two come later, where the flush has been by then.
    for id in [last + 1, last + 2] {
        waiting.forget(Delivery(delivery(id)), id);
    }
    let begun = waiting.flush(&connection, 100, last).unwrap();
    waiting.apply(begun);
    for id in [last + 1, last + 2] {
        waiting.insert(Delivery(delivery(id)), id);
    }
    for id in 1..=last + 2 {
        assert_eq!(everywhere(&waiting, delivery(id)), [id].into());
    }
    let mut after_a_crash = PendingIndex::load(&connection).unwrap();
    assert_eq!(after_a_crash.entries.len(), FLUSH_AT + 2, "filed or not, none is left out");
    flush_all(&mut waiting, &connection, last);
    assert_eq!(flushed(&connection, Delivery::INDEX).unwrap(), last);
    assert!(found(&connection, delivery(last + 1)).is_empty(), "that is for the next sweep");
    flush_all(&mut after_a_crash, &connection, last + 2);
    for id in 1..=last + 2 {
        assert_eq!(found(&connection, delivery(id)), [id]);
    }
}

#[test]
fn what_is_forgotten_is_not_filed() {
    let last = FLUSH_AT as Number;
    let connection = tables(last + 1, |id| id);
    let mut waiting = PendingIndex::load(&connection).unwrap();
    waiting.forget(Delivery(7), 7);
    flush_all(&mut waiting, &connection, last + 1);
    assert!(found(&connection, 7).is_empty());
}
