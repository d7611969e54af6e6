//! Concurrent duplicates: one delivery on 64 connections at once is received once, and 63 copies are duplicates.

use std::{path::Path, thread, time::Duration};

use super::{
    deliveries::{Answer, Connection, Delivery},
    process::{self, Process},
    row::{Row, count},
};

const CONNECTIONS: usize = 64;
/// Threads; each sends on all of its connections before it reads.
const THREADS: usize = 4;

#[test]
fn concurrent_duplicates() {
    let mut row = Row::new("concurrent duplicates (x 64)", "concurrent_duplicates");
    let directory = process::directory();
    process::write_route(directory.path(), &process::route(None));
    let receiver = Process::start(directory.path()).unwrap();
    receiver.until_ready();
    let ids = count(10_000, 50);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let address = receiver.delivery;
            thread::spawn(move || {
                let open = || Connection::open(address).unwrap();
                let mut connections: Vec<Connection> = (0..CONNECTIONS / THREADS).map(|_| open()).collect();
                let mut received = vec![0u32; ids];
                let mut odd = Vec::new();
                for (n, received) in received.iter_mut().enumerate() {
                    let request = Delivery { sent_at: super::deliveries::now(), ..Delivery::numbered(n) }.request();
                    connections.iter_mut().for_each(|connection| connection.send(&request).unwrap());
                    for connection in &mut connections {
                        match answered(connection, &request) {
                            (200, body) if body == r#"{"received":true}"# => *received += 1,
                            (200, body) if body == r#"{"duplicate":true}"# => {}
                            other => odd.push(format!("d{n}: {other:?}")),
                        }
                    }
                }
                (received, odd)
            })
        })
        .collect();
    let mut received = vec![0; ids];
    for thread in threads {
        let (counts, odd) = thread.join().unwrap();
        received.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        odd.into_iter().for_each(|what| row.violated(what));
    }
    row.tried(ids);
    for (n, times) in received.iter().enumerate().filter(|(_, times)| **times != 1) {
        row.violated(format!("d{n} was received {times} times"));
    }
    drop(receiver);
    check_stored(directory.path(), ids, &mut row);
    row.finish();
}

/// The response; after 503 the response to a retry.
fn answered(connection: &mut Connection, request: &[u8]) -> Answer {
    for _ in 0..500 {
        let answer = connection.answer().unwrap();
        if answer.0 != 503 {
            return answer;
        }
        thread::sleep(Duration::from_millis(20));
        connection.send(request).unwrap();
    }
    connection.answer().unwrap()
}

fn check_stored(directory: &Path, ids: usize, row: &mut Row) {
    let database = rusqlite::Connection::open(directory.join("volume/journal/journal.sqlite")).unwrap();
    let count = "SELECT count(*), count(DISTINCT name) FROM events";
    let stored: (i64, i64) = database.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let ids = i64::try_from(ids).unwrap();
    if stored != (ids, ids) {
        row.violated(format!("{ids} ids, but (events, distinct ids) are {stored:?}"));
    }
}
