//! A flush from start to end, and the state after a crash during one.

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

/// Flushes as commits that add one key each would, until the flush ends. Returns the number of commits.
fn flush_all(pending: &mut PendingIndex<Delivery>, connection: &Connection, last: Number) -> usize {
    for commits in 1.. {
        let chunk = pending.flush(connection, 1, last).unwrap();
        let ended = chunk.flush.is_none();
        pending.apply(chunk);
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
fn identities_are_found_before_and_after_the_flush() {
    let last = FLUSH_AT as Number;
    let connection = tables(last, |id| id % 1000);
    let mut pending = PendingIndex::load(&connection).unwrap();
    let before: Vec<_> = pending.numbers(Delivery(7)).collect();
    assert_eq!(before, [7, 1007, 2007, 3007, 4007]);
    assert!(found(&connection, 7).is_empty());
    assert_eq!(flush_all(&mut pending, &connection, last), FLUSH_AT / FLUSH_RATIO + 1);
    assert_eq!(found(&connection, 7), before);
    assert_eq!(pending.numbers(Delivery(7)).count(), 0);
    assert!(PendingIndex::<Delivery>::load(&connection).unwrap().entries.is_empty());
}

#[test]
fn few_keys_start_no_flush() {
    let last = FLUSH_AT as Number - 1;
    let connection = tables(last, |id| id);
    assert_eq!(flush_all(&mut PendingIndex::load(&connection).unwrap(), &connection, last), 1);
    assert!(found(&connection, 7).is_empty());
}

#[test]
fn keys_added_during_a_flush_and_keys_of_an_interrupted_flush_are_found() {
    let last = FLUSH_AT as Number;
    let delivery = |id| last + 3 - id;
    let connection = tables(last + 2, delivery);
    let everywhere = |pending: &PendingIndex<Delivery>, delivery| -> BTreeSet<Number> {
        found(&connection, delivery).into_iter().chain(pending.numbers(Delivery(delivery))).collect()
    };
    let mut pending = PendingIndex::load(&connection).unwrap();
    // The last two arrive later, where the flush has passed already.
    for id in [last + 1, last + 2] {
        pending.forget(Delivery(delivery(id)), id);
    }
    let begun = pending.flush(&connection, 100, last).unwrap();
    pending.apply(begun);
    for id in [last + 1, last + 2] {
        pending.insert(Delivery(delivery(id)), id);
    }
    for id in 1..=last + 2 {
        assert_eq!(everywhere(&pending, delivery(id)), [id].into());
    }
    let mut after_a_crash = PendingIndex::load(&connection).unwrap();
    assert_eq!(after_a_crash.entries.len(), FLUSH_AT + 2, "all are loaded, flushed or not");
    flush_all(&mut pending, &connection, last);
    assert_eq!(flushed(&connection, Delivery::INDEX).unwrap(), last);
    assert!(found(&connection, delivery(last + 1)).is_empty(), "the next flush inserts it");
    flush_all(&mut after_a_crash, &connection, last + 2);
    for id in 1..=last + 2 {
        assert_eq!(found(&connection, delivery(id)), [id]);
    }
}

#[test]
fn expired_keys_are_not_flushed() {
    let last = FLUSH_AT as Number;
    let connection = tables(last + 1, |id| id);
    let mut pending = PendingIndex::load(&connection).unwrap();
    pending.forget(Delivery(7), 7);
    flush_all(&mut pending, &connection, last + 1);
    assert!(found(&connection, 7).is_empty());
}
