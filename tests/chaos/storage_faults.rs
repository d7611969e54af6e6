//! Faults of the volume at each write of the receiver: an error injected into the n-th call, and a really full volume.
//! The receiver answers 503 and is not ready, never answers a false 200, and recovers afterwards. Content of a failed
//! fsync counts as lost until it is written and synced again (see `disk`).

use std::{collections::HashMap, fs, net::SocketAddr, path::Path, sync::Mutex, thread, time::Duration};

use linktree_operator::route::{Forwarding, Route};

use super::{
    crash_images::{Run, check_events},
    deliveries::{Connection, Delivery, in_time, until},
    process::{self, Process},
    row::{Row, count, full},
    trace::{self, Ports},
};

/// A fault: the failing call, its error, the first occurrence and the number of failures.
#[derive(Clone, Copy, Debug)]
struct Fault {
    call: &'static str,
    error: &'static str,
    first: usize,
    times: usize,
    /// Whether it affects a second process, after the first one was killed.
    restart: bool,
}

/// The load during the fault.
#[derive(Clone, Copy)]
struct Load {
    events: usize,
    /// The size of a body in bytes.
    size: usize,
}

/// One commit per event.
const SMALL: Load = Load { events: 12, size: 200 };
/// Enough for a checkpoint during the run.
const LARGE: Load = Load { events: 45, size: 180_000 };
/// The maximum number of attempts of one delivery, 10 ms apart, within which the fault must end.
const TRIES: usize = 1500;

/// Concurrent cases: most of a case is waiting.
const AT_ONCE: usize = 4;

#[test]
fn injected_faults() {
    let mut row = Row::new("EIO, full, failing fsync, ro", "injected_faults");
    let cases = Mutex::new(cases());
    row.tried(cases.lock().unwrap().len());
    let seed = row.seed;
    let wrong: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut wrong = Vec::new();
            loop {
                let Some((fault, load)) = cases.lock().unwrap().pop() else { return wrong };
                wrong.extend(run(fault, load, seed).1);
            }
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    wrong.into_iter().for_each(|what| row.violated(what));
    row.finish();
}

fn cases() -> Vec<(Fault, Load)> {
    let mut cases = Vec::new();
    let kinds: &[(Load, bool, usize)] = &[(SMALL, false, 60), (SMALL, true, 40), (LARGE, false, 16)];
    let kinds = if full() { kinds } else { &kinds[..2] };
    for (load, restart, most) in kinds {
        // A fault that never occurs: the run shows the number of calls of each kind.
        let never = Fault { call: "fsync", error: "EIO", first: 60_000, times: 1, restart: *restart };
        let (calls, wrong) = run(never, *load, 0);
        assert!(wrong.is_empty(), "without a fault: {wrong:?}");
        assert!(!calls.opens.is_empty(), "the trace has no open of the journal");
        for call in ["openat", "fsync", "fdatasync", "pwrite64", "ftruncate", "unlink", "mkdir"] {
            let there: Vec<usize> = match call {
                "openat" => calls.opens.clone(),
                _ => (1..=calls.most.get(call).copied().unwrap_or(0)).collect(),
            };
            for first in spread(&there, count(*most, 1 + usize::from(!restart))) {
                let errors: &[&str] = match call {
                    "fsync" | "fdatasync" => &["EIO", "ENOSPC"],
                    _ => &["EIO", "ENOSPC", "EROFS"],
                };
                let error = errors[first % errors.len()];
                let times: &[usize] = if full() { &[1, 8] } else { &[[1, 8][first % 2]] };
                let fault = |times: &usize| Fault { call, error, first, times: *times, restart: *restart };
                cases.extend(times.iter().map(|times| (fault(times), *load)));
            }
        }
    }
    cases
}

/// At most `most` call numbers: the first, the last, and some in between.
fn spread(there: &[usize], most: usize) -> Vec<usize> {
    if there.len() <= most {
        return there.to_vec();
    }
    (0..most).map(|n| there[n * (there.len() - 1) / (most - 1).max(1)]).collect()
}

/// The calls of a run.
#[derive(Default)]
struct Calls {
    /// The maximum number of calls of each kind by one thread.
    most: HashMap<String, usize>,
    /// The indexes of `openat` calls below the volume; the others do not concern the journal.
    opens: Vec<usize>,
}

/// Runs one fault. Returns the calls and the violations.
fn run(fault: Fault, load: Load, seed: u64) -> (Calls, Vec<String>) {
    let Fault { call, error, first, times, restart } = fault;
    let directory = process::directory();
    // Events that wait for their sink: delivered ones may be deleted when the volume is full.
    let waiting = process::route(Some(SocketAddr::from(([127, 0, 0, 1], 9))));
    process::write_route(directory.path(), &Route { forwarding: Forwarding::Paused, ..waiting });
    let volume = directory.path().join("volume");
    let inject = format!("inject={call}:error={error}:when={first}..{}", first + times - 1);
    let mut wrong = Vec::new();
    let mut run = Run { steps: Vec::new(), sent: HashMap::new() };
    let mut left: Vec<Delivery> = (0..load.events).rev().map(|n| sized(n, load.size)).collect();
    let mut acknowledged = Vec::new();
    let mut calls = Calls::default();
    // A process that exits is restarted, as by Kubernetes, without the fault.
    for start in 0..4 {
        let (faulty, before) = (start == usize::from(restart), restart && start == 0);
        let file = directory.path().join(format!("trace-{start}"));
        let mut options = vec!["-e".to_owned(), trace::CALLS.to_owned()];
        if faulty {
            options.extend(["-e".to_owned(), inject.clone()]);
        }
        match Process::traced(directory.path(), &file, &options) {
            Err(log) if faulty && log.contains("ERROR") => {}
            Err(log) => wrong.push(format!("does not start without a fault: {log}")),
            Ok(mut receiver) => {
                if let Ok(mut connection) = Connection::open(receiver.delivery) {
                    while let Some(delivery) = left.pop() {
                        let enough = before && left.len() < load.events / 2;
                        if enough || !persist(&mut receiver, &mut connection, &delivery, &mut run.sent, &mut wrong) {
                            left.push(delivery);
                            break;
                        }
                        acknowledged.push(delivery);
                    }
                }
                // A checkpoint may run after the last response, and its sync may be the one that failed.
                if left.is_empty() {
                    let settled = |(status, why): (u16, String)| status == 200 || why.contains("sync failed");
                    if !in_time(|| settled(receiver.readiness())) {
                        wrong.push(format!("neither ready nor shutting down: {:?}", receiver.readiness()));
                    }
                }
                receiver.kill();
            }
        }
        let text = fs::read(&file).unwrap();
        run.record(trace::read(&text, &volume), &volume);
        calls = if faulty { counted(&text, &volume) } else { calls };
        if left.is_empty() {
            break;
        }
    }
    if !left.is_empty() {
        wrong.push(format!("{} deliveries were never accepted", left.len()));
    }
    wrong.extend(run.cut_power(&volume, 0, seed).1);
    wrong.extend(check_events(&volume.join("journal"), &acknowledged));
    let which = format!("{inject}, restart: {restart}, {} bytes", load.size);
    (calls, wrong.into_iter().map(|what| format!("{which}: {what}")).collect())
}

/// Sends a delivery until it is accepted; false if the receiver exits before.
fn persist(
    receiver: &mut Process,
    connection: &mut Connection,
    delivery: &Delivery,
    sent: &mut HashMap<Ports, Vec<Delivery>>,
    wrong: &mut Vec<String>,
) -> bool {
    let (mut ready, mut rejections) = (false, 0);
    for _ in 0..TRIES {
        sent.entry(connection.ports).or_default().push(delivery.clone());
        match connection.deliver(delivery) {
            Ok((200, _)) => return true,
            Ok((503, _)) if ready => {
                wrong.push(format!("{} was answered 503 by a receiver that said it was ready", delivery.id));
                return false;
            }
            Ok((503, _)) => match receiver.readiness() {
                // Ready in spite of the 503, so the fault must be over.
                (200, _) => ready = true,
                // It accepts nothing more and exits within 30 s; a supervisor may restart it earlier.
                (_, why) if why.contains("sync failed") => {
                    rejections += 1;
                    if rejections == 20 {
                        return false;
                    }
                }
                _ => {}
            },
            Ok(other) => wrong.push(format!("{} was answered {other:?}", delivery.id)),
            // The connection was closed after an early response, or the receiver is gone.
            Err(_) => match Connection::open(receiver.delivery) {
                Ok(new) => *connection = new,
                Err(_) => return false,
            },
        }
        thread::sleep(Duration::from_millis(10));
    }
    wrong.push(format!("{} was rejected for ever", delivery.id));
    false
}

fn sized(n: usize, bytes: usize) -> Delivery {
    let body = format!(r#"{{"type":"link.updated","data":{{"n":{n},"title":"{}"}}}}"#, "x".repeat(bytes));
    Delivery { body, ..Delivery::numbered(n) }
}

fn counted(trace: &[u8], volume: &Path) -> Calls {
    let volume = format!("\"{}", volume.display());
    let mut by_thread: HashMap<(&str, &str), usize> = HashMap::new();
    let mut calls = Calls::default();
    for line in std::str::from_utf8(trace).unwrap().lines() {
        let call = line.split_once(' ').and_then(|(thread, call)| Some((thread, call.trim_start().split_once('(')?.0)));
        if let Some(call) = call {
            let number = by_thread.entry(call).or_default();
            *number += 1;
            if call.1 == "openat" && line.contains(&volume) {
                calls.opens.push(*number);
            }
        }
    }
    for ((_, call), times) in by_thread {
        let known = calls.most.entry(call.to_owned()).or_default();
        *known = times.max(*known);
    }
    calls
}

#[test]
fn a_network_file_system_is_rejected() {
    let directory = process::directory();
    process::write_route(directory.path(), &process::route(None));
    // The kernel's result for NFS.
    let inject = ["-e", "trace=statfs", "-e", "inject=statfs:poke_exit=@arg2=6969000000000000"].map(str::to_owned);
    let receiver = Process::traced(directory.path(), &directory.path().join("trace"), &inject).unwrap();
    until("the readiness names the file system", || receiver.readiness().1.contains("network file system (NFS)"));
    let answer = Connection::open(receiver.delivery).unwrap().deliver(&Delivery::numbered(1)).unwrap();
    assert_eq!(answer.0, 503);
    assert!(!directory.path().join("volume/journal/journal.sqlite").exists(), "a file was written to the volume");
}

#[test]
fn full_volume() {
    let mut row = Row::new("disk full (a real volume)", "full_volume");
    let kinds: &[&str] = if full() { &["tmpfs", "ext4"] } else { &["tmpfs"] };
    for kind in kinds {
        for round in 0..count(5, 1) {
            fill_up(kind, round, &mut row);
            row.tried(1);
        }
    }
    row.finish();
}

/// Fills a small volume, then frees space.
fn fill_up(kind: &str, round: usize, row: &mut Row) {
    let directory = process::directory();
    process::write_route(directory.path(), &process::route(None));
    let receiver = Process::on_volume(directory.path(), kind, 4 + 2 * round).unwrap();
    receiver.until_ready();
    let mut connection = Connection::open(receiver.delivery).unwrap();
    let mut kept = Vec::new();
    let rejected = loop {
        let delivery = sized(kept.len(), 3000 * (round + 1));
        match connection.deliver(&delivery).unwrap() {
            (200, _) => kept.push(delivery),
            answer => break (delivery, answer),
        }
        assert!(kept.len() < 10_000, "the volume never fills up");
    };
    if rejected.1.0 != 503 || receiver.ready() {
        row.violated(format!("{kind}: a full volume was answered {:?}, ready: {}", rejected.1, receiver.ready()));
    }
    fs::remove_file(receiver.inside(&directory.path().join("volume/ballast"))).unwrap();
    receiver.until_ready();
    if connection.deliver(&rejected.0).unwrap().0 != 200 {
        row.violated(format!("{kind}: there is space again, but the delivery is rejected"));
    }
    for delivery in &kept {
        let again = connection.deliver(delivery).unwrap();
        if again != (200, r#"{"duplicate":true}"#.to_owned()) {
            row.violated(format!("{kind}: {} was acknowledged; again: {again:?}", delivery.id));
        }
    }
}
