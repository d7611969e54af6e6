//! The writer after a failed sync and after other failures.

use bytes::Bytes;
use rusqlite::ffi;

use super::*;
use crate::{
    linktree::{headers::SentAt, secret::Secret, signature::Signature},
    receiver::journal::sqlite::{bounds::Bounds, queue::queue, reader::Reader, schema},
};

fn failure(extended_code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(extended_code), None)
}

fn event() -> Event {
    let sent_at = SentAt::from_seconds(1_700_000_000).unwrap();
    let signature = Signature::sign(&Secret::new("s3cret"), &sent_at, b"{}");
    Event::new(None, &signature, &sent_at, "k1", Bytes::from_static(b"{}"), sent_at.seconds())
}

/// The answer to an append after a commit failed with this code, whether the journal is lost, and its health.
async fn after(extended_code: i32) -> (Answer, bool, JournalHealth) {
    let directory = tempfile::tempdir().unwrap();
    let (requests, waiting) = queue();
    let (health, seen) = watch::channel(JournalHealth::Healthy);
    let lost = CancellationToken::new();
    let mut connection = schema::open(directory.path(), Bounds::LARGEST).unwrap();
    let (_reader, readers) = Reader::start(schema::open_for_reading(directory.path()).unwrap()).unwrap();
    let wal = Wal::watch(&mut connection, directory.path(), readers, lost.clone(), Bounds::LARGEST).unwrap();
    let pending = PendingIdentities::load(&connection).unwrap();
    let expiry = Expiry::load(&connection).unwrap();
    let writer = Writer {
        connection,
        wal,
        room: VolumeRoom::new(directory.path()),
        lock: Lock::acquire(directory.path()).unwrap(),
        shared_memory: SharedMemory::allocate(directory.path()).unwrap(),
        requests: waiting,
        expiry,
        settings: Settings {
            sinks: Vec::new(),
            drop_oldest: Vec::new(),
            deduplication_window_seconds: u64::MAX,
            retention_seconds: u64::MAX,
            dead_letter_retention_seconds: u64::MAX,
            capacity_bytes: u64::MAX,
        },
        last: 0,
        last_identity: 0,
        pending,
        health,
        appended: watch::Sender::default(),
        commits: Histogram::new([0.1]),
        runtime: Handle::current(),
        nothing_to_evict: false,
        drops: Drops::new(),
        convert_at: None,
        redrive_at: None,
        maintenance: Schedule::new(clock::monotonic()),
        began: clock::monotonic(),
        group_commit: false,
        lost: lost.clone(),
    };
    writer.mark_failed(failure(extended_code));
    let (answer, appended) = oneshot::channel();
    requests.push(Request { work: Work::Append(event()), answer }).unwrap();
    let (answer, closed) = oneshot::channel();
    requests.close(answer).unwrap();
    let thread = std::thread::spawn(move || writer.run());
    let appended = appended.await.unwrap();
    let health = seen.borrow().clone();
    assert_eq!(closed.await.unwrap(), Ok(None), "it still closes");
    thread.join().unwrap();
    (appended, lost.is_cancelled(), health)
}

#[tokio::test]
async fn after_a_failed_sync_the_writer_is_shut_down() {
    for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC] {
        let (answer, lost, health) = after(code).await;
        assert_eq!(answer, Err(JournalError::Failed { problem: SYNC_FAILED.to_owned() }));
        assert!(lost && matches!(health, JournalHealth::Failed { .. }));
    }
}

#[tokio::test]
async fn after_any_other_failure_the_next_commit_may_succeed() {
    for code in [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_FULL, ffi::SQLITE_BUSY] {
        let (answer, lost, health) = after(code).await;
        assert_eq!((answer, lost), (Ok(Some(Appended::Stored)), false));
        assert_eq!(health, JournalHealth::Healthy);
    }
}
