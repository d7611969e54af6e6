//! The write-ahead log stays within its limit under large loads, beside readers of this process and of another one.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::task::JoinSet;

use super::*;

const LIMIT: u64 = 32 << 20;
const BODY: usize = 1 << 20;

/// Samples the length of a journal's log until it is asked for the maximum.
struct LogLength {
    log: PathBuf,
    enough: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl LogLength {
    fn sample(directory: &Path) -> Self {
        let (log, enough) = (directory.join("journal.sqlite-wal"), Arc::<AtomicBool>::default());
        let (path, ended) = (log.clone(), Arc::clone(&enough));
        let thread = thread::spawn(move || {
            let mut longest = 0;
            while !ended.load(Ordering::Relaxed) {
                longest = longest.max(fs::metadata(&path).map_or(0, |log| log.len()));
                thread::sleep(Duration::from_millis(1));
            }
            longest
        });
        LogLength { log, enough, thread }
    }

    fn longest(self) -> u64 {
        let LogLength { log, enough, thread } = self;
        enough.store(true, Ordering::Relaxed);
        thread.join().unwrap().max(fs::metadata(log).unwrap().len())
    }
}

/// A delivery with a large body.
fn large(n: usize) -> Event {
    delivery(&format!("d{n}"), &format!("[{n}, \"{}\"]", "x".repeat(BODY)), *NOW)
}

/// Holds a snapshot of the events until it is interrupted.
fn endless(connection: &rusqlite::Connection) -> rusqlite::Result<i64> {
    let endless = "WITH RECURSIVE n(i) AS (SELECT max(id) FROM events UNION ALL SELECT i + 1 FROM n)
        SELECT i FROM n WHERE i < 0";
    connection.query_row(endless, [], |row| row.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_beside_a_reader_that_holds_the_log_stay_within_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(directory.path()));
    journal.configure(settings(&["cms"])).await.unwrap();
    append(&journal, "d", "{}").await;
    let log = LogLength::sample(directory.path());
    let reader = journal.reader.clone();
    let (reading, begun) = oneshot::channel();
    let reading = std::sync::Mutex::new(Some(reading));
    let endless = tokio::spawn(async move {
        let query = move |connection: &rusqlite::Connection| match reading.lock().unwrap().take() {
            Some(reading) => {
                reading.send(()).unwrap();
                endless(connection)
            }
            None => connection.query_row("SELECT max(id) FROM events", [], |row| row.get(0)),
        };
        reader.read(query).await
    });
    begun.await.unwrap();
    let mut appends = JoinSet::new();
    for n in 0..96 {
        let journal = Arc::clone(&journal);
        appends.spawn(async move { journal.append(large(n)).await });
    }
    for appended in appends.join_all().await {
        assert_eq!(appended, Ok(Appended::Stored));
    }
    let read = endless.await.unwrap();
    assert!(read.as_ref().is_ok_and(|last| *last > 1), "it is interrupted and runs again: {read:?}");
    assert_eq!(due(&journal, "cms").await.len(), 97, "later reads are not affected");
    let longest = log.longest();
    assert!((LIMIT / 4..=LIMIT).contains(&longest), "{longest} bytes");
}

#[tokio::test]
async fn at_the_limit_deliveries_fail_until_another_process_ends_its_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    append(&journal, "d", "{}").await;
    let log = LogLength::sample(directory.path());
    let mut foreign = schema::open_for_reading(directory.path()).unwrap();
    let snapshot = foreign.transaction().unwrap();
    snapshot.query_row("SELECT count(*) FROM events", [], |_| Ok(())).unwrap();
    let mut stored = 0;
    let error = loop {
        match journal.append(large(stored)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 64, "the log has no limit");
    };
    assert!(matches!(error, JournalError::Failed { .. }), "{error:?}");
    assert!(matches!(journal.health(), JournalHealth::Failed { .. }));
    drop(snapshot);
    until(async || journal.append(large(stored)).await.is_ok()).await;
    until(async || journal.health() == JournalHealth::Healthy).await;
    let longest = log.longest();
    assert!((LIMIT / 4..=LIMIT).contains(&longest), "{longest} bytes");
}

#[tokio::test]
async fn a_pass_of_maintenance_waits_for_no_snapshot_of_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    journal.configure(Settings { retention_seconds: 0, ..settings(&[]) }).await.unwrap();
    append(&journal, "d", "{}").await;
    until(async || count(directory.path(), "events") == 0).await;
    let mut foreign = schema::open_for_reading(directory.path()).unwrap();
    let snapshot = foreign.transaction().unwrap();
    snapshot.query_row("SELECT count(*) FROM events", [], |_| Ok(())).unwrap();
    // More than half of the log, so that a pass has no room.
    for n in 0..20 {
        journal.append(large(n)).await.unwrap();
    }
    let mut slowest = Duration::ZERO;
    let began = clock::monotonic();
    let mut n = 100;
    while clock::since(began) < Duration::from_secs(5) {
        let asked = clock::monotonic();
        append(&journal, &format!("d{n}"), &format!("[{n}]")).await;
        slowest = slowest.max(clock::since(asked));
        n += 1;
        assert_eq!(journal.health(), JournalHealth::Healthy);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(slowest < Duration::from_millis(300), "{slowest:?}");
    drop(snapshot);
    until(async || count(directory.path(), "events") == 0).await;
}
