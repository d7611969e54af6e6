//! A full journal with a sink that gives up its oldest events.

use super::*;

#[tokio::test]
async fn the_intake_continues_while_a_sink_that_is_down_gives_up_its_oldest_events() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let full = Settings { drop_oldest: vec!["down".into()], capacity_bytes: 400_000, ..settings(&["down", "up"]) };
    journal.configure(full).await.unwrap();
    let big = |n: i64| format!("[{n}, \"{}\"]", "x".repeat(20_000));
    for n in 1..=60 {
        let stored = journal.append(delivery(&format!("d{n}"), &big(n), *NOW)).await;
        assert_eq!(stored, Ok(Appended::Stored), "event {n}");
        assert_eq!(due(&journal, "up").await, [format!("d{n}")], "the other sink gets every event");
        settle(&journal, "up", n, Outcome::Done).await;
    }
    let waiting = due(&journal, "down").await;
    let dropped = journal.inventory().await.unwrap().dropped["down"] as usize;
    assert!(dropped >= 40 && waiting.len() >= 5, "{dropped} {waiting:?}");
    assert_eq!(dropped + waiting.len(), 60, "each is counted or waits");
    assert_eq!(waiting, Vec::from_iter((dropped + 1..=60).map(|n| format!("d{n}"))), "the oldest were given up");
    let listed = journal.dropped(0, 100).await.unwrap();
    assert_eq!((listed.len(), listed[0].id.as_str(), listed[0].sink.as_str()), (dropped, "d1", "down"));
    assert_eq!(journal.health(), JournalHealth::Healthy);
    journal.close().await.unwrap();
    assert_eq!(open(directory.path()).inventory().await.unwrap().dropped["down"] as usize, dropped);
}

#[tokio::test]
async fn an_event_that_a_sink_with_refuse_waits_for_is_not_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let full = Settings { drop_oldest: vec!["a".into()], capacity_bytes: 360_000, ..settings(&["a", "b"]) };
    journal.configure(full).await.unwrap();
    let big = |n: usize| format!("[{n}, \"{}\"]", "x".repeat(20_000));
    let mut kept = 0;
    while journal.append(delivery(&format!("d{kept}"), &big(kept), *NOW)).await.is_ok() {
        kept += 1;
    }
    assert_eq!((due(&journal, "a").await.len(), due(&journal, "b").await.len()), (kept, kept));
    // The last event may exceed the capacity by more than one event frees.
    settle(&journal, "b", 1, Outcome::Done).await;
    settle(&journal, "b", 2, Outcome::Done).await;
    until(async || journal.append(delivery("fresh", "[]", *NOW)).await.is_ok()).await;
    let left = due(&journal, "a").await.len();
    assert!((kept - 1..=kept).contains(&left), "{left} of {kept}: only the oldest are given up, for the fresh one");
}

#[tokio::test]
async fn a_commit_that_fails_gives_nothing_up_and_passes_nothing_over() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let full = Settings { drop_oldest: vec!["down".into()], capacity_bytes: 400_000, ..settings(&["down"]) };
    journal.configure(full).await.unwrap();
    let big = |n: usize| format!("[{n}, \"{}\"]", "x".repeat(20_000));
    let append = async |n: usize| journal.append(delivery(&format!("d{n}"), &big(n), *NOW)).await;
    for n in 1..=30 {
        append(n).await.unwrap();
    }
    let other = rusqlite::Connection::open(directory.path().join(schema::DATABASE)).unwrap();
    other.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let fail = "CREATE TRIGGER fail BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.execute_batch(fail).unwrap();
    for n in 31..=36 {
        append(n).await.unwrap_err();
    }
    other.execute_batch("DROP TRIGGER fail").unwrap();
    append(37).await.unwrap();
    append(38).await.unwrap();
    let waiting = due(&journal, "down").await;
    let dropped = journal.inventory().await.unwrap().dropped["down"] as usize;
    assert_eq!(dropped + waiting.len(), 32);
    let left = (dropped + 1..=30).chain(37..=38);
    assert_eq!(waiting, Vec::from_iter(left.map(|n| format!("d{n}"))), "the oldest were given up");
}
