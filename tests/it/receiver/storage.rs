//! Acknowledged deliveries are stored; a delivery that cannot be stored is not acknowledged.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use linktree_operator::{
    receiver::{Args, ReceiverError, run},
    route::{self, status::JournalHealth},
};
use tokio_util::sync::CancellationToken;

use super::fixture::{self, BODY, Collector, PATH, Running, SECRET, delivery, numbered, sink, until, vacant};

#[tokio::test]
async fn a_restart_loses_nothing_and_repeats_nothing() {
    let collector = Collector::start().await;
    collector.answers(503);
    let receiver = Running::start(&fixture::route(vec![sink("cms", collector.address)])).await;
    for n in 0..5 {
        assert_eq!(receiver.deliver(&numbered(n)).await.0, 200);
    }
    let directory = receiver.stop().await;
    collector.answers(204);
    let receiver = Running::start_in(directory).await;
    until("all five arrived", async || collector.ids().len() == 5).await;
    let repeated = receiver.deliver(&numbered(3)).await;
    assert_eq!(repeated, (200, r#"{"duplicate":true}"#.to_owned()));
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;
    let mut ids = collector.ids();
    ids.sort();
    assert_eq!(ids, ["d0", "d1", "d2", "d3", "d4"]);
}

#[tokio::test]
async fn a_full_journal_is_not_ready_answers_503_and_recovers_when_there_is_space() {
    let mut small = fixture::route(vec![sink("cms", vacant().await)]);
    small.capacity_bytes = 200_000;
    let receiver = Running::start(&small).await;
    let big = |n: usize| delivery(&format!("big{n}"), &format!("[{n},\"{}\"]", "x".repeat(50_000)), SECRET);
    let mut kept = 0;
    let rejected = loop {
        let response = receiver.post(&big(kept)).send().await.unwrap();
        if response.status() != 200 {
            break response;
        }
        kept += 1;
        assert!(kept < 10, "the journal never fills up");
    };
    assert_eq!((rejected.status().as_u16(), &rejected.headers()["retry-after"]), (503, &"10".parse().unwrap()));
    let status = receiver.status().await;
    assert_eq!((status.journal, status.last_hour.unavailable), (JournalHealth::Full, 1));
    assert_eq!(status.backlog, Some(kept as u64), "an event was dropped to make space");
    assert_eq!(receiver.get("/readyz").await.status(), 503);
    small.capacity_bytes = 10_000_000;
    receiver.reroute(&small).await;
    until("the receiver is ready again", async || receiver.get("/readyz").await.status() == 200).await;
    assert_eq!(receiver.deliver(&big(kept)).await, (200, r#"{"received":true}"#.to_owned()));
}

#[tokio::test]
async fn a_failing_database_is_answered_503_and_is_no_duplicate_later() {
    let receiver = Running::start(&fixture::route(vec![])).await;
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

/// The real binary, killed while deliveries arrive.
#[tokio::test]
async fn acknowledged_deliveries_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(route::FILE), fixture::route(vec![]).render().unwrap()).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_linktree-operator"))
        .args(["receiver", "--delivery-address=127.0.0.1:0", "--admin-address=127.0.0.1:0", "--log-format=json"])
        .arg(format!("--route-file={}", directory.path().join(route::FILE).display()))
        .arg(format!("--journal={}", directory.path().join("journal").display()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let mut log = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let (mut address, mut routed) = (None, false);
    while address.is_none() || !routed {
        let line = log.next().expect("the receiver logs its address and its route").unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        address = line["delivery"].as_str().map(|text| text.parse::<SocketAddr>().unwrap()).or(address);
        routed |= line["path"].is_string();
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}{PATH}", address.unwrap());
    let sending = (0..8).map(|lane| {
        let (client, url) = (client.clone(), url.clone());
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for n in (lane..).step_by(8) {
                let delivery = numbered(n);
                match fixture::signed(client.post(&url), &delivery).send().await {
                    Ok(answer) if answer.status() == 200 => acknowledged.push(delivery),
                    Ok(_) | Err(_) => break,
                }
            }
            acknowledged
        })
    });
    let sending: Vec<_> = sending.collect();
    until("the journal has 100 events", async || count(directory.path()) > 100).await;
    drop(child);
    let acknowledged: Vec<_> = futures::future::join_all(sending).await.into_iter().flat_map(Result::unwrap).collect();
    assert!(acknowledged.len() > 100);
    let receiver = Running::start_in(directory).await;
    until("the receiver is ready", async || receiver.get("/readyz").await.status() == 200).await;
    for delivery in acknowledged {
        let answer = receiver.deliver(&delivery).await;
        assert_eq!(answer, (200, r#"{"duplicate":true}"#.to_owned()), "{} was lost", delivery.id);
    }
}

/// A process. Killed and reaped on drop.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The number of events in a journal, read by a separate connection.
fn count(directory: &Path) -> i64 {
    let database = rusqlite::Connection::open_with_flags(
        directory.join("journal/journal.sqlite"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )
    .unwrap();
    database.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn two_receivers_never_share_a_journal() {
    let receiver = Running::start(&fixture::route(vec![])).await;
    let args = Args {
        route_file: receiver.route_file(),
        journal: receiver.directory.path().join("journal"),
        delivery_address: "127.0.0.1:0".parse().unwrap(),
        admin_address: "127.0.0.1:0".parse().unwrap(),
        tls_directory: None,
        ca_file: None,
        egress_allow: Vec::new(),
    };
    let error = run(args, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, ReceiverError::Journal { .. }));
    assert!(error.to_string().ends_with("another process uses this journal"), "{error}");
}

#[tokio::test]
async fn a_journal_of_a_later_version_is_not_changed_and_reported() {
    let receiver = Running::start(&fixture::route(vec![sink("cms", vacant().await)])).await;
    let directory = receiver.stop().await;
    let file = directory.path().join("journal/journal.sqlite");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let receiver = Running::start_in(directory).await;
    until("the admin port answers", async || receiver.get("/status").await.status() == 401).await;
    let status = receiver.status().await;
    assert_eq!((status.backlog, status.sinks[0].backlog, status.sinks[0].dead_lettered), (None, None, None));
    let metrics = receiver.get("/metrics").await.text().await.unwrap();
    for gauge in
        ["\nlinktree_receiver_backlog{", "\nlinktree_receiver_journal_events ", "\nlinktree_receiver_journal_bytes "]
    {
        assert!(!metrics.contains(gauge), "{gauge} of a journal that cannot be read: {metrics}");
    }
    let JournalHealth::Failed { problem } = status.journal else { panic!("the journal has not failed") };
    assert!(problem.contains("written by a later version (99;"), "{problem}");
    assert_eq!(receiver.get("/readyz").await.status(), 503);
    assert_eq!(receiver.deliver(&fixture::numbered(1)).await.0, 503);
    receiver.stop().await;
}
