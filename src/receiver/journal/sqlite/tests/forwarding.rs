//! The selections of events for a sink: due events, probes, and what is stored about failed attempts.

use super::*;

async fn journal(events: usize, bytes: usize) -> (tempfile::TempDir, SqliteJournal) {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    journal.configure(settings(&["cms"])).await.unwrap();
    for n in 1..=events {
        append(&journal, &format!("d{n}"), &format!("[{n}, \"{}\"]", "x".repeat(bytes))).await;
    }
    (directory, journal)
}

fn ids(events: &[Pending]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

#[tokio::test]
async fn tries_survive_a_restart_and_the_number_of_taken_events_is_counted() {
    let (directory, journal) = journal(4, 0).await;
    let tries = Tries { attempts: 7, suspicions: 2, charged_ms: 9_000, taken: Some(1) };
    settle(&journal, "cms", 1, Outcome::Done).await;
    settle(&journal, "cms", 2, Outcome::Unwanted).await;
    settle(&journal, "cms", 3, Outcome::Retry { tries, due_at: 5 }).await;
    // The journal lost the last events that the sink has taken, but not this failure after them.
    settle(&journal, "cms", 4, Outcome::Retry { tries: Tries { taken: Some(9), ..tries }, due_at: 6 }).await;
    journal.close().await.unwrap();
    let journal = open(directory.path());
    let due = journal.due("cms", query(10)).await.unwrap();
    assert_eq!((due.position, due.taken, due.alone), (4, 1, false));
    assert_eq!(due.retries.iter().map(|event| event.tries).collect::<Vec<_>>(), [tries, tries]);
}

#[tokio::test]
async fn a_retry_beyond_the_horizon_is_due_because_the_clock_was_set_back() {
    let (_directory, journal) = journal(3, 0).await;
    for (position, due_at) in [(1, 100), (2, 3_600_000), (3, 400)] {
        settle(&journal, "cms", position, retry(due_at)).await;
    }
    let at = |now, horizon| DueQuery { horizon, ..query(now) };
    let due = journal.due("cms", at(100, 1_000)).await.unwrap();
    assert_eq!((ids(&due.retries), due.next), (vec!["d1", "d2"], Some(400)));
    let due = journal.due("cms", at(i64::MIN, 99)).await.unwrap();
    assert_eq!((due.retries.len(), due.next), (3, None));
}

#[tokio::test]
async fn due_events_are_limited_in_bytes_and_new_ones_follow_a_cursor() {
    let (_directory, journal) = journal(4, 1000).await;
    settle(&journal, "cms", 1, retry(0)).await;
    let due = journal.due("cms", DueQuery { max_bytes: 2_500, ..query(1) }).await.unwrap();
    assert_eq!((ids(&due.retries), ids(&due.fresh), due.needs), (vec!["d1"], vec!["d2"], Some(1007)));
    let due = journal.due("cms", DueQuery { max_bytes: 10, ..query(1) }).await.unwrap();
    assert_eq!((due.retries.len(), due.fresh.len(), due.needs), (0, 0, Some(1007)));
    let due = journal.due("cms", DueQuery { after: 3, retries: 0, ..query(1) }).await.unwrap();
    assert_eq!((ids(&due.fresh), due.needs, due.alone), (vec!["d4"], None, false));
}

#[tokio::test]
async fn a_probe_is_the_newest_event_or_the_one_with_the_fewest_attempts() {
    let (_directory, journal) = journal(5, 0).await;
    let failed = |attempts| Outcome::Retry { tries: Tries { attempts, ..Tries::default() }, due_at: i64::MAX };
    for (position, attempts) in [(1, 3), (2, 1), (3, 2)] {
        settle(&journal, "cms", position, failed(attempts)).await;
    }
    let probe = async |probe| journal.probe("cms", probe, 100).await.unwrap().map(|event| event.position);
    assert_eq!(probe(Probe::Newest { before: i64::MAX }).await, Some(5));
    assert_eq!(probe(Probe::Newest { before: 5 }).await, Some(4));
    assert_eq!(probe(Probe::Newest { before: 4 }).await, Some(3));
    assert_eq!(probe(Probe::Newest { before: 1 }).await, None);
    assert_eq!(probe(Probe::Fewest { after: 0 }).await, Some(4), "the oldest that was not attempted");
    assert_eq!(probe(Probe::Fewest { after: 4 }).await, Some(5));
    assert_eq!(probe(Probe::Fewest { after: 5 }).await, Some(2));
    assert_eq!(journal.probe("other", Probe::Fewest { after: 0 }, 100).await.unwrap().map(|event| event.id), None);
}
