//! The guarantees of [`Journal`] over the embedded database.

use std::{path::Path, sync::LazyLock};

use bytes::Bytes;

use super::{bounds::Bounds, *};
use crate::{
    clock,
    linktree::{
        headers::{DeliveryId, SentAt},
        secret::Secret,
        signature::Signature,
    },
    receiver::journal::{Outcome, inspect::Inspect, tries::Tries},
};

mod drop_oldest;
mod forwarding;
mod full;
mod log_limit;

/// Identities expire by the real clock, so deliveries arrive now.
static NOW: LazyLock<i64> = LazyLock::new(|| clock::now().as_second());

fn open(directory: &Path) -> SqliteJournal {
    SqliteJournal::open(directory, Histogram::new([0.1])).unwrap()
}

fn settings(sinks: &[&str]) -> Settings {
    Settings {
        sinks: sinks.iter().map(|&name| name.into()).collect(),
        drop_oldest: Vec::new(),
        deduplication_window_seconds: 604_800,
        retention_seconds: u64::MAX,
        dead_letter_retention_seconds: u64::MAX,
        capacity_bytes: u64::MAX,
    }
}

/// A delivery `id` of `body`, signed and received at `sent_at`.
fn delivery(id: &str, body: &str, sent_at: i64) -> Event {
    let sent = SentAt::from_seconds(sent_at).unwrap();
    let signature = Signature::sign(&Secret::new("s3cret"), &sent, body.as_bytes());
    let id = DeliveryId::parse(id.as_bytes());
    Event::new(id.as_ref(), &signature, &sent, "k1", Bytes::copy_from_slice(body.as_bytes()), sent_at)
}

/// The same, signed with another key.
fn rotated(id: &str, body: &str, sent_at: i64) -> Event {
    let sent = SentAt::from_seconds(sent_at).unwrap();
    let signature = Signature::sign(&Secret::new("r0tated"), &sent, body.as_bytes());
    let id = DeliveryId::parse(id.as_bytes());
    Event::new(id.as_ref(), &signature, &sent, "k2", Bytes::copy_from_slice(body.as_bytes()), sent_at)
}

async fn append(journal: &SqliteJournal, id: &str, body: &str) -> Appended {
    journal.append(delivery(id, body, *NOW)).await.unwrap()
}

async fn due(journal: &SqliteJournal, sink: &str) -> Vec<String> {
    due_at(journal, sink, *NOW * 1000).await.1
}

/// When the next retry is due, and the events that are due at `now`.
async fn due_at(journal: &SqliteJournal, sink: &str, now: i64) -> (Option<i64>, Vec<String>) {
    let due = journal.due(sink, query(now)).await.unwrap();
    (due.next, due.retries.into_iter().chain(due.fresh).map(|event| event.id).collect())
}

fn query(now: i64) -> DueQuery {
    DueQuery { now, horizon: i64::MAX, after: 0, retries: 100, fresh: 100, max_bytes: usize::MAX }
}

fn retry(due_at: i64) -> Outcome {
    Outcome::Retry { tries: Tries { attempts: 1, ..Tries::default() }, due_at }
}

async fn settle(journal: &SqliteJournal, sink: &str, position: Position, outcome: Outcome) {
    journal.settle(sink, vec![Settlement { position, outcome }]).await.unwrap();
}

#[tokio::test]
async fn a_delivery_is_stored_once_also_across_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    assert_eq!(append(&journal, "d1", "{}").await, Appended::Stored);
    assert_eq!(append(&journal, "d1", "{}").await, Appended::Duplicate);
    journal.close().await.unwrap();
    assert_eq!(append_error(&journal).await, JournalError::Closed);
    let journal = open(directory.path());
    assert_eq!(append(&journal, "d1", "{}").await, Appended::Duplicate);
}

async fn append_error(journal: &SqliteJournal) -> JournalError {
    journal.append(delivery("fresh", "{\"fresh\":1}", *NOW)).await.unwrap_err()
}

#[tokio::test]
async fn the_identity_covers_more_than_the_delivery_id() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    journal.configure(settings(&["cms"])).await.unwrap();
    assert_eq!(append(&journal, "d1", "{}").await, Appended::Stored);
    assert_eq!(append(&journal, "d2", "{}").await, Appended::Duplicate, "replayed under a fresh id");
    let resigned = journal.append(delivery("d1", "{}", *NOW + 10)).await.unwrap();
    assert_eq!(resigned, Appended::Duplicate, "a retry that was signed again");
    assert_eq!(append(&journal, "d1", "[]").await, Appended::Conflict, "the same id with another body");
    let equal = journal.append(rotated("d4", "{}", *NOW)).await.unwrap();
    assert_eq!(equal, Appended::Stored, "an equal body of the same second that another key signed is another request");
    let again = journal.append(delivery("d1", "[]", *NOW + 10)).await.unwrap();
    assert_eq!(again, Appended::Duplicate, "the retry of a conflict");
    let equal = journal.append(delivery("d3", "{}", *NOW + 10)).await.unwrap();
    assert_eq!(equal, Appended::Duplicate, "the signature of the retry is known, whatever the id");
    let equal = journal.append(delivery("d3", "{}", *NOW + 20)).await.unwrap();
    assert_eq!(equal, Appended::Stored, "two events may be equal");
    let names = due(&journal, "cms").await;
    assert_eq!((names[0].as_str(), names.len()), ("d1", 4));
    assert!(names[1].starts_with("d1~"), "a consumer must be able to tell a conflict apart: {names:?}");
}

#[tokio::test]
async fn an_identity_lives_for_the_window_and_longer_than_its_event() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    journal.configure(Settings { retention_seconds: 0, ..settings(&["cms"]) }).await.unwrap();
    append(&journal, "d1", "{}").await;
    settle(&journal, "cms", 1, Outcome::Done).await;
    until(async || count(directory.path(), "events") == 0).await;
    let late = *NOW + 604_800;
    let later = late + 604_801;
    assert_eq!(journal.append(delivery("d1", "{}", late)).await.unwrap(), Appended::Duplicate);
    assert_eq!(journal.append(delivery("d1", "{}", later)).await.unwrap(), Appended::Stored);
}

#[tokio::test]
async fn each_sink_has_its_own_position() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    append(&journal, "d0", "[0]").await;
    journal.configure(settings(&["a", "b"])).await.unwrap();
    append(&journal, "d1", "[1]").await;
    append(&journal, "d2", "[2]").await;
    settle(&journal, "a", 2, Outcome::Done).await;
    assert_eq!(due(&journal, "a").await, ["d2"]);
    assert_eq!(due(&journal, "b").await, ["d1", "d2"], "a new sink gets the events from then on");
    journal.configure(settings(&["b", "c"])).await.unwrap();
    assert!(due(&journal, "a").await.is_empty(), "removed");
    assert!(due(&journal, "c").await.is_empty(), "new");
    journal.configure(settings(&["a", "b", "c"])).await.unwrap();
    append(&journal, "d3", "[3]").await;
    let back = due(&journal, "a").await;
    assert!(
        back == ["d3"] || back == ["d2", "d3"],
        "it continues where it stood, or its events are dead letters: {back:?}"
    );
}

#[tokio::test]
async fn a_failed_event_is_due_again_later_and_does_not_block_others() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    journal.configure(settings(&["cms"])).await.unwrap();
    for id in ["d1", "d2", "d3"] {
        append(&journal, id, &format!("[\"{id}\"]")).await;
    }
    settle(&journal, "cms", 1, retry(*NOW * 1000 + 5)).await;
    settle(&journal, "cms", 2, Outcome::DeadLetter { failure: "400".into(), at: *NOW }).await;
    let later = *NOW * 1000 + 5;
    assert_eq!(due_at(&journal, "cms", *NOW * 1000).await, (Some(later), vec!["d3".to_owned()]));
    let due = journal.due("cms", query(later)).await.unwrap();
    let attempts = |events: &[Pending]| -> Vec<(String, u32)> {
        events.iter().map(|event| (event.id.clone(), event.tries.attempts)).collect()
    };
    assert_eq!((attempts(&due.retries), attempts(&due.fresh)), (vec![("d1".into(), 1)], vec![("d3".into(), 0)]));
    let backlog = journal.backlog().await.unwrap();
    assert_eq!(backlog, [Backlog { sink: "cms".into(), waiting: 2, dead_lettered: 1 }]);
    settle(&journal, "cms", 1, Outcome::Done).await;
    settle(&journal, "cms", 3, Outcome::Done).await;
    let backlog = journal.backlog().await.unwrap();
    assert_eq!(backlog, [Backlog { sink: "cms".into(), waiting: 0, dead_lettered: 1 }]);
}

#[tokio::test]
async fn a_full_journal_rejects_new_events_drops_none_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    journal.configure(Settings { capacity_bytes: 360_000, ..settings(&["cms"]) }).await.unwrap();
    let big = |n: usize| format!("[{n}, \"{}\"]", "x".repeat(20_000));
    let mut kept = 0;
    while journal.append(delivery(&format!("d{kept}"), &big(kept), *NOW)).await.is_ok() {
        kept += 1;
    }
    assert!((1..10).contains(&kept), "{kept}");
    assert_eq!(journal.health(), JournalHealth::Full);
    assert_eq!(append(&journal, "d0", &big(0)).await, Appended::Duplicate, "duplicates are still detected");
    assert_eq!(due(&journal, "cms").await.len(), kept, "nothing was dropped");
    settle(&journal, "cms", 1, retry(0)).await;
    assert!(
        journal.append(delivery("fresh", "[]", *NOW)).await.is_err(),
        "an event that waits for a retry frees no space"
    );
    // The last event may exceed the capacity by more than one event frees.
    settle(&journal, "cms", 1, Outcome::Done).await;
    settle(&journal, "cms", 2, Outcome::Done).await;
    until(async || journal.append(delivery("fresh", "[]", *NOW)).await.is_ok()).await;
    until(async || journal.health() == JournalHealth::Healthy).await;
    assert_eq!(due(&journal, "cms").await.len(), kept - 1, "d0 and d1 were evicted for the fresh one");
}

#[tokio::test]
async fn the_last_milestone_is_stored_across_a_restart_and_longer_than_its_event() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let last = async |journal: &SqliteJournal| journal.inventory().await.unwrap().last_milestone;
    append(&journal, "d1", r#"{"type": "link.created"}"#).await;
    assert_eq!(last(&journal).await, None);
    append(&journal, "d2", r#"{"type": "analytics.milestone"}"#).await;
    append(&journal, "d3", r#"{"type": "link.deleted"}"#).await;
    assert_eq!(last(&journal).await, Some(*NOW));
    journal.configure(Settings { retention_seconds: 0, ..settings(&[]) }).await.unwrap();
    until(async || count(directory.path(), "events") == 0).await;
    journal.close().await.unwrap();
    assert_eq!(last(&open(directory.path())).await, Some(*NOW));
}

#[tokio::test]
async fn an_event_that_a_sink_waits_for_outlives_its_retention() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let short = Settings { retention_seconds: 0, dead_letter_retention_seconds: 0, ..settings(&["a", "b"]) };
    journal.configure(short).await.unwrap();
    for n in 1..=3 {
        append(&journal, &format!("d{n}"), &format!("[{n}]")).await;
        settle(&journal, "a", n, Outcome::Done).await;
    }
    settle(&journal, "b", 1, retry(*NOW * 1000)).await;
    settle(&journal, "b", 2, Outcome::DeadLetter { failure: "400".into(), at: *NOW }).await;
    until(async || count(directory.path(), "events") == 2).await;
    assert_eq!(due(&journal, "b").await, ["d1", "d3"]);
    assert_eq!(count(directory.path(), "dead_letters"), 0, "a dead letter expires with its event");
}

#[tokio::test]
async fn after_a_jump_of_the_clock_across_a_restart_identities_are_not_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let day = 86_400;
    let journal = open(directory.path());
    journal.append(delivery("d1", "{}", *NOW - 10 * day)).await.unwrap();
    journal.close().await.unwrap();
    let edited = schema::open(directory.path(), Bounds::LARGEST).unwrap();
    edited.execute("UPDATE heartbeat SET at = ?1", [*NOW - 10 * day]).unwrap();
    drop(edited);
    let journal = open(directory.path());
    journal.configure(settings(&[])).await.unwrap();
    assert_eq!(append(&journal, "d1", "{}").await, Appended::Duplicate, "the window ended only if the clock is right");
}

#[tokio::test]
async fn a_failed_database_is_reported_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    append(&journal, "d1", "{}").await;
    let intruder = schema::open(directory.path(), Bounds::LARGEST).unwrap();
    intruder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = append_error(&journal).await;
    assert!(matches!(error, JournalError::Failed { .. }), "{error:?}");
    assert!(matches!(journal.health(), JournalHealth::Failed { .. }));
    intruder.execute_batch("ROLLBACK").unwrap();
    until(async || journal.health() == JournalHealth::Healthy).await;
    assert_eq!(append(&journal, "fresh", "{\"fresh\":1}").await, Appended::Stored, "the failed one was not stored");
}

fn count(directory: &Path, table: &str) -> i64 {
    let connection = schema::open_for_reading(directory).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

async fn until(condition: impl AsyncFn() -> bool) {
    let met = async {
        while !condition().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), met).await.expect("the condition is met in time");
}
