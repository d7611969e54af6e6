//! What is acknowledged is kept; what cannot be kept is not acknowledged.

use linktree_operator::{
    receiver::{Args, ReceiverError, run},
    route::status::JournalHealth,
};
use tokio_util::sync::CancellationToken;

use super::fixture::{BODY, Collector, Running, SECRET, delivery, numbered, route, sink, until, vacant};

#[tokio::test]
async fn a_restart_loses_nothing_and_repeats_nothing() {
    let collector = Collector::start().await;
    collector.answers(503);
    let receiver = Running::start(&route(vec![sink("cms", collector.address)])).await;
    for n in 0..5 {
        assert_eq!(receiver.deliver(&numbered(n)).await.0, 200);
    }
    let directory = receiver.stop().await;
    collector.answers(204);
    let receiver = Running::start_in(directory).await;
    until("all five arrived", async || collector.ids().len() == 5).await;
    let repeated = receiver.deliver(&numbered(3)).await;
    assert_eq!(repeated, (200, r#"{"duplicate":true}"#.to_owned()));
    until("all is settled", async || receiver.status().await.backlog == 0).await;
    let mut ids = collector.ids();
    ids.sort();
    assert_eq!(ids, ["d0", "d1", "d2", "d3", "d4"]);
}

#[tokio::test]
async fn a_full_journal_is_not_ready_answers_503_and_heals_when_there_is_room() {
    let mut small = route(vec![sink("cms", vacant().await)]);
    small.capacity_bytes = 200_000;
    let receiver = Running::start(&small).await;
    let big = |n: usize| delivery(&format!("big{n}"), &format!("[{n},\"{}\"]", "x".repeat(50_000)), SECRET);
    let mut kept = 0;
    let refused = loop {
        let response = receiver.post(&big(kept)).send().await.unwrap();
        if response.status() != 200 {
            break response;
        }
        kept += 1;
        assert!(kept < 10, "it never fills up");
    };
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"10".parse().unwrap()));
    let status = receiver.status().await;
    assert_eq!((status.journal, status.last_hour.unavailable), (JournalHealth::Full, 1));
    assert_eq!(status.backlog, kept as u64, "nothing was dropped to make room");
    assert_eq!(receiver.get("/readyz").await.status(), 503);
    small.capacity_bytes = 10_000_000;
    receiver.reroute(&small).await;
    until("it is ready again", async || receiver.get("/readyz").await.status() == 200).await;
    assert_eq!(receiver.deliver(&big(kept)).await, (200, r#"{"received":true}"#.to_owned()));
}

#[tokio::test]
async fn a_failing_database_is_answered_503_and_never_taken_for_done() {
    let receiver = Running::start(&route(vec![])).await;
    let database = receiver.directory.path().join("journal/journal.sqlite");
    let intruder = rusqlite::Connection::open(database).unwrap();
    intruder.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(receiver.deliver(&delivery("d1", BODY, SECRET)).await.0, 503);
    assert!(matches!(receiver.status().await.journal, JournalHealth::Failed { .. }));
    intruder.execute_batch("ROLLBACK").unwrap();
    let again = delivery("d1", BODY, SECRET);
    assert_eq!(receiver.deliver(&again).await, (200, r#"{"received":true}"#.to_owned()));
    assert_eq!(receiver.status().await.journal, JournalHealth::Healthy);
}

#[tokio::test]
async fn two_receivers_never_share_a_journal() {
    let receiver = Running::start(&route(vec![])).await;
    let args = Args {
        route_file: receiver.route_file(),
        journal: receiver.directory.path().join("journal"),
        delivery_address: "127.0.0.1:0".parse().unwrap(),
        admin_address: "127.0.0.1:0".parse().unwrap(),
    };
    let error = run(args, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, ReceiverError::Journal { .. }));
    assert!(error.to_string().ends_with("another process uses this journal"), "{error}");
}
