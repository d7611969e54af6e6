//! The length of the write-ahead log: bounded under every load, also while readers hold snapshots, and deliveries are
//! stored again once a snapshot ends.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use linktree_operator::{
    receiver::journal::{Appended, Journal, Outcome, Settings, Settlement, inspect::Inspect, sqlite::SqliteJournal},
    route::status::JournalHealth,
};
use prometheus_client::metrics::histogram::Histogram;
use rand::seq::SliceRandom;
use tokio::{runtime::Runtime, task::JoinSet};

use super::{
    deliveries::{Delivery, in_time},
    process,
    row::{Row, count},
};

/// The limit of the log, on a volume of 512 MiB or more.
const LIMIT: u64 = 32 << 20;
/// The bytes of all bodies of one case: several times the limit.
const LOAD_BYTES: usize = 112 << 20;
const EVENTS_MAX: usize = 20_000;
/// How long one append may take, with a snapshot or without.
const APPEND_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
enum Reader {
    None,
    /// Lists the journal again and again, as metrics and tools do.
    Lists,
    /// Another process with one snapshot for the whole load.
    Snapshot,
    /// Another process with a new snapshot every 20 ms.
    Snapshots,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    body: usize,
    at_once: usize,
    reader: Reader,
    /// Whether a sink settles the events meanwhile.
    settled: bool,
}

#[test]
fn log_is_bounded() {
    let mut row = Row::new("write-ahead log is bounded", "log_is_bounded");
    let mut cases = Vec::new();
    for body in [200, 4_000, 65_000, 262_144, 4 << 20] {
        for at_once in [1, 32, 500] {
            for reader in [Reader::None, Reader::Lists, Reader::Snapshot, Reader::Snapshots] {
                cases.extend([true, false].map(|settled| Case { body, at_once, reader, settled }));
            }
        }
    }
    cases.shuffle(&mut row.rng());
    for case in cases.into_iter().take(count(60, 4)) {
        let directory = process::directory();
        let journal = directory.path().join("journal");
        let wrong = Runtime::new().unwrap().block_on(run(case, &journal));
        row.tried(1);
        wrong.into_iter().for_each(|what| row.violated(format!("{case:?}: {what}")));
    }
    row.finish();
}

async fn run(case: Case, directory: &Path) -> Vec<String> {
    let Case { body, at_once, reader, settled } = case;
    let journal = Arc::new(SqliteJournal::open(directory, Histogram::new([1.0])).unwrap());
    let sink = settled.then(|| ([127, 0, 0, 1], 1).into());
    journal.configure(Settings::of(&process::route(sink))).await.unwrap();
    let log = Log::sample(directory);
    let reading = Reading::start(reader, directory, &journal);
    let events = (LOAD_BYTES / body).min(EVENTS_MAX);
    let (mut stored, mut failed, mut slowest) = (0, 0, Duration::ZERO);
    let (mut appends, mut next) = (JoinSet::new(), 0);
    // At the limit, further appends fail as long as the snapshot lasts.
    while (next < events && failed < 3 * at_once) || !appends.is_empty() {
        while next < events && failed < 3 * at_once && appends.len() < at_once {
            let (journal, event) = (Arc::clone(&journal), sized(next, body).event());
            appends.spawn(async move {
                let began = Instant::now();
                (journal.append(event).await, began.elapsed())
            });
            next += 1;
        }
        let Some(Ok((appended, elapsed))) = appends.join_next().await else { break };
        slowest = slowest.max(elapsed);
        match appended {
            Ok(_) => stored += 1,
            Err(_) => failed += 1,
        }
        if settled && stored % 50 == 1 {
            let done = (stored - 49).max(1)..=stored;
            let done = done.map(|position| Settlement { position, outcome: Outcome::Done }).collect();
            let _ = journal.settle("sink", done).await;
        }
    }
    let mut wrong = Vec::new();
    let held = matches!(reader, Reader::Snapshot);
    if failed > 0 && !held {
        wrong.push(format!("{failed} of {next} appends failed, health {:?}", journal.health()));
    }
    if slowest > APPEND_TIMEOUT {
        wrong.push(format!("an append took {slowest:?}"));
    }
    reading.end();
    let last = sized(events, body);
    let mut healthy = false;
    for _ in 0..200 {
        healthy = matches!(journal.append(last.event()).await, Ok(Appended::Stored | Appended::Duplicate))
            && journal.health() == JournalHealth::Healthy;
        if healthy {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if !healthy {
        wrong.push(format!("without a snapshot, health {:?}", journal.health()));
    }
    match journal.inventory().await {
        Ok(inventory) if i64::try_from(inventory.events).unwrap() >= stored => {}
        other => wrong.push(format!("{stored} events were stored, found {other:?}")),
    }
    journal.close().await.unwrap();
    let longest = log.longest();
    if longest > LIMIT {
        wrong.push(format!("a log of {longest} bytes"));
    }
    wrong
}

fn sized(n: usize, bytes: usize) -> Delivery {
    let body = format!(r#"{{"type":"link.updated","data":{{"n":{n},"title":"{}"}}}}"#, "x".repeat(bytes));
    Delivery { body, ..Delivery::numbered(n) }
}

/// Samples the length of the log.
struct Log {
    ended: Arc<AtomicBool>,
    thread: thread::JoinHandle<u64>,
}

impl Log {
    fn sample(directory: &Path) -> Self {
        let (file, ended) = (directory.join("journal.sqlite-wal"), Arc::<AtomicBool>::default());
        let end = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            let mut longest = 0;
            while !end.load(Ordering::Relaxed) {
                longest = longest.max(fs::metadata(&file).map_or(0, |log| log.len()));
                thread::sleep(Duration::from_millis(2));
            }
            longest
        });
        Log { ended, thread }
    }

    fn longest(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A reader, until it is ended.
struct Reading {
    ended: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Reading {
    fn start(reader: Reader, directory: &Path, journal: &Arc<SqliteJournal>) -> Self {
        let ended = Arc::<AtomicBool>::default();
        let (end, file, journal) = (Arc::clone(&ended), directory.join("journal.sqlite"), Arc::clone(journal));
        let runtime = tokio::runtime::Handle::current();
        let (begun, begins) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let ended = || end.load(Ordering::Relaxed);
            let snapshots = |length: Duration| {
                while !ended() {
                    snapshot(&file, &|since| ended() || since > length, &begun);
                }
            };
            match reader {
                Reader::None => {}
                Reader::Lists => {
                    while !ended() {
                        let _ = runtime.block_on(journal.list(0, 500));
                        let _ = runtime.block_on(journal.backlog());
                    }
                }
                Reader::Snapshot => snapshots(Duration::MAX),
                Reader::Snapshots => snapshots(Duration::from_millis(20)),
            }
        });
        match reader {
            Reader::None | Reader::Lists => {}
            Reader::Snapshot | Reader::Snapshots => begins.recv().unwrap(),
        }
        Reading { ended, thread: Some(thread) }
    }

    fn end(mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Holds a snapshot until `ended`, which gets its age.
fn snapshot(file: &PathBuf, ended: &dyn Fn(Duration) -> bool, begun: &std::sync::mpsc::Sender<()>) {
    let mut database = rusqlite::Connection::open(file).unwrap();
    let transaction = database.transaction().unwrap();
    let read = transaction.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0));
    let _ = begun.send(());
    let began = Instant::now();
    if read.is_ok() {
        in_time(|| ended(began.elapsed()));
    }
}
