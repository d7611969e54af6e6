//! kill −9 under load: every acknowledged delivery is in the journal once, and reaches the sink at least once.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rand::{Rng, rngs::StdRng};

use super::{
    deliveries::{Connection, Delivery, get, until},
    process::{self, Process},
    row::{Row, count},
    sink::Sink,
};

const LANES: usize = 4;

/// The knowledge of the senders.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<Delivery>,
    /// Sent without a response: the sender retries these.
    open: Vec<Delivery>,
}

#[test]
fn kill_under_load() {
    let mut row = Row::new("kill -9 under load", "kill_under_load");
    let (mut rng, sink, directory) = (row.rng(), Sink::start(), process::directory());
    process::write_route(directory.path(), &process::route(Some(sink.address)));
    let (kills, numbers, mut sent) = (count(1000, 10), Arc::new(AtomicUsize::new(0)), Sent::default());
    for _ in 0..kills {
        let mut receiver = Process::start(directory.path()).expect("the receiver must start after a kill");
        // One kill in eight happens during the start.
        if rng.random_ratio(7, 8) {
            receiver.until_ready();
            check_memory(&receiver, &sent.acknowledged, &mut rng, &mut row);
        }
        let open = std::mem::take(&mut sent.open);
        let senders = load(receiver.delivery, open, &numbers);
        thread::sleep(Duration::from_micros(rng.random_range(0..150_000)));
        receiver.kill();
        for sender in senders {
            let more = sender.join().unwrap();
            sent.acknowledged.extend(more.acknowledged);
            sent.open.extend(more.open);
        }
        row.tried(1);
    }
    let receiver = Process::start(directory.path()).unwrap();
    receiver.until_ready();
    until_drained(&receiver);
    check_end(&sent.acknowledged, &stored(directory.path()), &sink.taken(), &mut row);
    assert!(sent.acknowledged.len() > kills, "too little load: {} acknowledged", sent.acknowledged.len());
    row.finish();
}

/// Starts senders that retry open deliveries first, then send new ones, until the connection ends.
fn load(address: SocketAddr, open: Vec<Delivery>, numbers: &Arc<AtomicUsize>) -> Vec<thread::JoinHandle<Sent>> {
    let mut queues: Vec<Vec<Delivery>> = vec![Vec::new(); LANES];
    for (n, delivery) in open.into_iter().enumerate() {
        queues[n % LANES].push(delivery);
    }
    let send = |queue| {
        let numbers = Arc::clone(numbers);
        thread::spawn(move || send(address, queue, &numbers))
    };
    queues.into_iter().map(send).collect()
}

fn send(address: SocketAddr, mut queue: Vec<Delivery>, numbers: &AtomicUsize) -> Sent {
    let mut sent = Sent::default();
    if let Ok(mut connection) = Connection::open(address) {
        loop {
            let next = queue.pop().unwrap_or_else(|| Delivery::numbered(numbers.fetch_add(1, Ordering::Relaxed)));
            match connection.deliver(&next) {
                Ok((200, _)) => sent.acknowledged.push(next),
                Ok(_) => sent.open.push(next),
                Err(_) => {
                    sent.open.push(next);
                    break;
                }
            }
        }
    }
    sent.open.extend(queue);
    sent
}

/// Checks that a sample of acknowledged deliveries are duplicates.
fn check_memory(receiver: &Process, acknowledged: &[Delivery], rng: &mut StdRng, row: &mut Row) {
    let mut connection = Connection::open(receiver.delivery).unwrap();
    let last = acknowledged.iter().rev().take(3);
    let some = (0..2).filter_map(|_| acknowledged.get(rng.random_range(0..acknowledged.len().max(1))));
    for delivery in last.chain(some) {
        let again = Delivery { sent_at: super::deliveries::now(), ..delivery.clone() };
        match connection.deliver(&again) {
            Ok((200, body)) if body == r#"{"duplicate":true}"# => {}
            other => row.violated(format!("{} was acknowledged; again: {other:?}", delivery.id)),
        }
    }
}

fn until_drained(receiver: &Process) {
    let backlog = || -> Option<u64> {
        let (_, body) = get(receiver.admin, "/status").ok()?;
        serde_json::from_str::<serde_json::Value>(&body).ok()?["backlog"].as_u64()
    };
    let mut left = u64::MAX;
    // Without a deadline, as long as it makes progress.
    while left > 0 {
        until("the backlog shrinks", || backlog().is_some_and(|now| now < left));
        left = backlog().unwrap_or(left);
    }
}

/// The count of each id in the journal, read by a separate connection.
fn stored(directory: &Path) -> HashMap<String, u32> {
    let database = rusqlite::Connection::open(directory.join("volume/journal/journal.sqlite")).unwrap();
    let mut statement = database.prepare("SELECT name, count(*) FROM events GROUP BY name").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn check_end(acknowledged: &[Delivery], stored: &HashMap<String, u32>, taken: &HashMap<String, u32>, row: &mut Row) {
    for Delivery { id, .. } in acknowledged {
        if !stored.contains_key(id) {
            row.violated(format!("{id} was acknowledged, but is lost"));
        } else if !taken.contains_key(id) {
            row.violated(format!("{id} was acknowledged, but never reached the sink"));
        }
    }
    for (id, times) in stored.iter().filter(|(_, times)| **times > 1) {
        row.violated(format!("{id} is stored {times} times"));
    }
}
