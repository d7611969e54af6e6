//! A journal that is full of things that no sink waits for.

use tokio::task::JoinSet;

use super::*;

/// Appends tiny events with this time, many at once, until the journal is full. Returns their number.
async fn fill(journal: &Arc<SqliteJournal>, sent_at: i64) -> usize {
    for round in 0..200 {
        let mut appends = JoinSet::new();
        for n in 0..200 {
            let journal = Arc::clone(journal);
            let event = delivery(&format!("{sent_at}-{round}-{n}"), &format!("[{round}, {n}]"), sent_at);
            appends.spawn(async move { journal.append(event).await });
        }
        if appends.join_all().await.contains(&Err(JournalError::Full)) {
            return round * 200;
        }
    }
    panic!("never full")
}

#[tokio::test]
async fn identities_that_fill_a_journal_are_forgotten_after_the_shortest_window() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(directory.path()));
    journal.configure(Settings { capacity_bytes: 400_000, ..settings(&[]) }).await.unwrap();
    let window = identities::SHORTEST_WINDOW_SECONDS as i64;
    assert!(fill(&journal, *NOW - window - 60).await > 400, "events are evicted before");
    until(async || journal.append(delivery("fresh", "[]", *NOW)).await.is_ok()).await;
    fill(&journal, *NOW - window / 2).await;
    assert_eq!(append(&journal, "fresh", "[]").await, Appended::Duplicate, "a later identity is remembered");
}
