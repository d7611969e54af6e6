//! Faults of the volume at each place where the receiver writes: an error injected into the n-th call, and a volume
//! that is full for real. 503 and not ready, never a false 200, whole again afterwards. What a failed fsync was to
//! bring to the disk counts as lost until it is written and synced anew (see `disk`).

use std::{collections::HashMap, fs, path::Path, sync::Mutex, thread, time::Duration};

use super::{
    crash_images::{Run, check_events},
    deliveries::{Connection, Delivery, in_time, until},
    process::{self, Process},
    row::{Row, count, full},
    trace::{self, Ports},
};

/// A fault: which call fails, how, the first time and for how many times.
#[derive(Clone, Copy, Debug)]
struct Fault {
    call: &'static str,
    error: &'static str,
    first: usize,
    times: usize,
    /// Whether it meets the second process, on what a first one left when it was killed.
    restart: bool,
}

/// What is sent while it lasts.
#[derive(Clone, Copy)]
struct Load {
    events: usize,
    /// Of a body, in bytes.
    size: usize,
}

/// Each event its own commit.
const SMALL: Load = Load { events: 12, size: 200 };
/// Large enough for a checkpoint while it runs.
const LARGE: Load = Load { events: 45, size: 180_000 };
/// How often one delivery is tried, 10 ms apart, until the fault must be over.
const TRIES: usize = 1500;

/// Cases at once: most of a case is waiting.
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
        // The fault that comes so late that it never comes: the run shows how many calls there are of each kind.
        let never = Fault { call: "fsync", error: "EIO", first: 60_000, times: 1, restart: *restart };
        let (calls, wrong) = run(never, *load, 0);
        assert!(wrong.is_empty(), "without a fault: {wrong:?}");
        assert!(!calls.opens.is_empty(), "the journal was opened without a trace");
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

/// `most` numbers of calls, spread over those there are: the first, the last, and some between.
fn spread(there: &[usize], most: usize) -> Vec<usize> {
    if there.len() <= most {
        return there.to_vec();
    }
    (0..most).map(|n| there[n * (there.len() - 1) / (most - 1).max(1)]).collect()
}

/// The calls of a run.
#[derive(Default)]
struct Calls {
    /// How many of each kind one thread made at most.
    most: HashMap<String, usize>,
    /// Which of its thread's `openat` were of the volume: the others have nothing to do with the journal.
    opens: Vec<usize>,
}

/// One run with one fault. Returns the calls there were, and what was wrong.
fn run(fault: Fault, load: Load, seed: u64) -> (Calls, Vec<String>) {
    let Fault { call, error, first, times, restart } = fault;
    let directory = process::directory();
    process::write_route(directory.path(), &process::route(None));
    let volume = directory.path().join("volume");
    let inject = format!("inject={call}:error={error}:when={first}..{}", first + times - 1);
    let mut wrong = Vec::new();
    let mut run = Run { steps: Vec::new(), sent: HashMap::new() };
    let mut left: Vec<Delivery> = (0..load.events).rev().map(|n| sized(n, load.size)).collect();
    let mut acknowledged = Vec::new();
    let mut calls = Calls::default();
    // A process that ends is started again, as Kubernetes would; the fault is over by then.
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
                // The log is brought in also after the last answer: it may be that sync which failed.
                if left.is_empty() {
                    let settled = |(status, why): (u16, String)| status == 200 || why.contains("sync failed");
                    if !in_time(|| settled(receiver.readiness())) {
                        wrong.push(format!("neither ready nor about to end: {:?}", receiver.readiness()));
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
        wrong.push(format!("{} deliveries were never taken", left.len()));
    }
    wrong.extend(run.cut_power(&volume, 0, seed).1);
    wrong.extend(check_events(&volume.join("journal"), &acknowledged));
    let which = format!("{inject}, restart: {restart}, {} bytes", load.size);
    (calls, wrong.into_iter().map(|what| format!("{which}: {what}")).collect())
}

/// Sends a delivery until it is taken; false when the receiver ended before.
fn persist(
    receiver: &mut Process,
    connection: &mut Connection,
    delivery: &Delivery,
    sent: &mut HashMap<Ports, Vec<Delivery>>,
    wrong: &mut Vec<String>,
) -> bool {
    let (mut ready, mut refusals) = (false, 0);
    for _ in 0..TRIES {
        sent.entry(connection.ports).or_default().push(delivery.clone());
        match connection.deliver(delivery) {
            Ok((200, _)) => return true,
            Ok((503, _)) if ready => {
                wrong.push(format!("{} was answered 503 by a receiver that said it was ready", delivery.id));
                return false;
            }
            Ok((503, _)) => match receiver.readiness() {
                // Ready all the same, so the fault must be over.
                (200, _) => ready = true,
                // It takes nothing more and ends in half a minute; a supervisor may be faster.
                (_, why) if why.contains("sync failed") => {
                    refusals += 1;
                    if refusals == 20 {
                        return false;
                    }
                }
                _ => {}
            },
            Ok(other) => wrong.push(format!("{} was answered {other:?}", delivery.id)),
            // Answered before the whole body was sent, and closed; or gone.
            Err(_) => match Connection::open(receiver.delivery) {
                Ok(new) => *connection = new,
                Err(_) => return false,
            },
        }
        thread::sleep(Duration::from_millis(10));
    }
    wrong.push(format!("{} was refused for ever", delivery.id));
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
fn a_network_file_system_is_refused() {
    let directory = process::directory();
    process::write_route(directory.path(), &process::route(None));
    // What the kernel would say of NFS.
    let inject = ["-e", "trace=statfs", "-e", "inject=statfs:poke_exit=@arg2=6969000000000000"].map(str::to_owned);
    let receiver = Process::traced(directory.path(), &directory.path().join("trace"), &inject).unwrap();
    until("it says so", || receiver.readiness().1.contains("network file system (NFS)"));
    let answer = Connection::open(receiver.delivery).unwrap().deliver(&Delivery::numbered(1)).unwrap();
    assert_eq!(answer.0, 503);
    assert!(!directory.path().join("volume/journal/journal.sqlite").exists(), "nothing is written there");
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

/// Fills a small volume up, then makes room.
fn fill_up(kind: &str, round: usize, row: &mut Row) {
    let directory = process::directory();
    process::write_route(directory.path(), &process::route(None));
    let receiver = Process::on_volume(directory.path(), kind, 4 + 2 * round).unwrap();
    receiver.until_ready();
    let mut connection = Connection::open(receiver.delivery).unwrap();
    let mut kept = Vec::new();
    let refused = loop {
        let delivery = sized(kept.len(), 3000 * (round + 1));
        match connection.deliver(&delivery).unwrap() {
            (200, _) => kept.push(delivery),
            answer => break (delivery, answer),
        }
        assert!(kept.len() < 10_000, "it never fills up");
    };
    if refused.1.0 != 503 || receiver.ready() {
        row.violated(format!("{kind}: a full volume was answered {:?}, ready: {}", refused.1, receiver.ready()));
    }
    fs::remove_file(receiver.inside(&directory.path().join("volume/ballast"))).unwrap();
    receiver.until_ready();
    if connection.deliver(&refused.0).unwrap().0 != 200 {
        row.violated(format!("{kind}: there is room again, and it is refused"));
    }
    for delivery in &kept {
        let again = connection.deliver(delivery).unwrap();
        if again != (200, r#"{"duplicate":true}"#.to_owned()) {
            row.violated(format!("{kind}: {} was acknowledged; again: {again:?}", delivery.id));
        }
    }
}
