//! Starts of the receiver on a volume with a few free blocks, or none, left by a foreign file, with and without the
//! ballast and the shared memory of the process before: it is up, answers 503 at worst, and is ready again once there is
//! space.

use super::{
    deliveries::{Connection, Delivery, in_time},
    process,
    row::{Row, count},
    volume::Volume,
};

/// The free space of a case, in KiB.
const FREE: [u64; 20] = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 64, 66, 72, 96];

#[derive(Clone, Copy, Debug)]
struct Case {
    free_kib: u64,
    ballast: bool,
    shared_memory: bool,
}

#[test]
fn few_free_blocks() {
    let mut row = Row::new("few free blocks", "few_free_blocks");
    let mut cases = Vec::new();
    for (ballast, shared_memory) in [(false, false), (true, false), (false, true), (true, true)] {
        cases.extend(FREE.map(|free_kib| Case { free_kib, ballast, shared_memory }));
    }
    // Prime to the number of cases: also a few of them are of every kind.
    let few = (0..count(cases.len(), 6)).map(|n| cases[(n * 29 + 8) % cases.len()]);
    let volume = Volume::ext4(24, 0);
    process::write_route(volume.directory(), &process::route(None));
    let mut receiver = volume.start().unwrap();
    let mut sent = 0;
    let mut next = || {
        sent += 1;
        Delivery { body: format!(r#"{{"n":{sent},"title":"{}"}}"#, "x".repeat(3000)), ..Delivery::numbered(sent) }
    };
    for case in few.collect::<Vec<_>>() {
        let mut wrong = Vec::new();
        let mut deliver = |receiver: &process::Process| {
            Connection::open(receiver.delivery).and_then(|mut connection| connection.deliver(&next()))
        };
        if !in_time(|| deliver(&receiver).is_ok_and(|(status, _)| status == 200)) {
            wrong.push(format!("there is space, and a delivery is answered {:?}", deliver(&receiver)));
        }
        receiver.kill();
        if !case.ballast {
            volume.remove("journal.ballast");
        }
        if !case.shared_memory {
            volume.remove("journal.sqlite-shm");
        }
        volume.leave_space(case.free_kib << 10);
        match volume.start() {
            Ok(started) => {
                receiver = started;
                // All of them, one after another, and the journal's own work.
                for _ in 0..20 {
                    match deliver(&receiver) {
                        Ok((200 | 503, _)) => {}
                        other => wrong.push(format!("a delivery is answered {other:?}: {:?}", receiver.log())),
                    }
                }
                volume.free_space();
            }
            Err(log) => {
                wrong.push(format!("does not start: {log}"));
                volume.free_space();
                receiver = volume.start().unwrap();
            }
        }
        if !in_time(|| receiver.ready()) {
            wrong.push(format!("not ready although there is space: {:?}", receiver.readiness()));
        }
        row.tried(1);
        wrong.into_iter().for_each(|what| row.violated(format!("{case:?}: {what}")));
    }
    row.finish();
}
