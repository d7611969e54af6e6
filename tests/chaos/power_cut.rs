//! Power cuts at every sync of a 1,000-event trace of the real binary, with kills and restarts in between.

use std::{collections::HashMap, fs, net::SocketAddr, thread};

use super::{
    crash_images::Run,
    deliveries::{Connection, Delivery},
    process::{self, Process},
    row::{Row, count, full},
    trace::{self, Ports},
};

const LANES: usize = 4;

#[test]
fn power_cut() {
    let mut row = Row::new("power cut", "power_cut");
    let (restarts, events) = if full() { (5, 1000) } else { (2, 60) };
    let directory = process::directory();
    process::write_route(directory.path(), &process::route(None));
    let mut run = Run { steps: Vec::new(), sent: HashMap::new() };
    let volume = directory.path().join("volume");
    for n in 0..restarts {
        let file = directory.path().join("trace");
        let mut receiver = Process::traced(directory.path(), &file, &["-e".into(), trace::CALLS.into()]).unwrap();
        receiver.until_ready();
        let each = events / restarts;
        run.sent.extend(send(receiver.delivery, n * each..(n + 1) * each));
        receiver.kill();
        run.record(trace::read(&fs::read(&file).unwrap(), &volume), &volume);
    }
    let (tried, wrong) = run.cut_power(&volume, count(10_000, 150), row.seed);
    row.tried(tried);
    wrong.into_iter().for_each(|what| row.violated(what));
    row.finish();
}

/// Sends deliveries with these numbers over several connections; returns the deliveries of each.
fn send(address: SocketAddr, numbers: std::ops::Range<usize>) -> HashMap<Ports, Vec<Delivery>> {
    let lanes = (0..LANES).map(|lane| {
        let numbers = numbers.clone();
        thread::spawn(move || {
            let mut connection = Connection::open(address).unwrap();
            let sent: Vec<Delivery> = numbers.skip(lane).step_by(LANES).map(Delivery::numbered).collect();
            for delivery in &sent {
                connection.deliver(delivery).unwrap();
            }
            (connection.ports, sent)
        })
    });
    let lanes: Vec<_> = lanes.collect();
    lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
}
