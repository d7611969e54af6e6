//! A journal that can be opened later, and one that never can.

use std::{
    io::{Error, ErrorKind},
    sync::atomic::{AtomicU32, Ordering},
};

use prometheus_client::metrics::histogram::Histogram;

use super::*;
use crate::linktree::{headers::SentAt, secret::Secret, signature::Signature};

fn event() -> Event {
    let sent_at = SentAt::from_seconds(1_700_000_000).unwrap();
    let signature = Signature::sign(&Secret::new("s3cret"), &sent_at, b"{}");
    Event::new(None, &signature, &sent_at, "k1", Bytes::from_static(b"{}"), sent_at.seconds())
}

fn settings() -> Settings {
    Settings {
        sinks: vec!["cms".to_owned()],
        drop_oldest: Vec::new(),
        deduplication_window_seconds: u64::MAX,
        retention_seconds: u64::MAX,
        dead_letter_retention_seconds: u64::MAX,
        capacity_bytes: u64::MAX,
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_is_opened_again_until_its_volume_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let attempts = Arc::new(AtomicU32::new(0));
    let open = move || match attempts.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Err(OpenError::Io(Error::from(ErrorKind::ReadOnlyFilesystem))),
        _ => SqliteJournal::open(&path, Histogram::new([0.1])),
    };
    let journal = Arc::new(UnavailableJournal::new("full".into()));
    let mut appended = journal.appended();
    appended.mark_unchanged();
    tokio::spawn(Arc::clone(&journal).reopen(open));
    journal.configure(settings()).await.unwrap();
    assert_eq!(journal.append(event()).await, Err(JournalError::Failed { problem: "full".into() }));
    assert!(journal.backlog().await.is_err(), "it is not known to be empty");
    // Without a deadline of its own: the clock of a test that pauses it runs ahead while the writer works.
    appended.changed().await.unwrap();
    assert_eq!(journal.health(), JournalHealth::Healthy);
    assert_eq!(journal.append(event()).await, Ok(Appended::Stored));
    appended.wait_for(|arrivals| arrivals.last == 1).await.unwrap();
    let query = DueQuery { now: 0, horizon: i64::MAX, after: 0, retries: 1, fresh: 10, max_bytes: 1 << 20 };
    assert_eq!(journal.due("cms", query).await.unwrap().fresh.len(), 1, "it was configured");
    journal.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_corrupt_after_all_is_not_opened_again() {
    let journal = Arc::new(UnavailableJournal::new("full".into()));
    let open = || Err(OpenError::TooNew { version: 99, known: 5 });
    Arc::clone(&journal).reopen(open).await;
    let JournalHealth::Failed { problem } = journal.health() else { panic!() };
    assert!(problem.contains("later version"), "{problem}");
}
