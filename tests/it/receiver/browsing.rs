//! The admin port: the journal API and the metrics.

use linktree_operator::route::journal::{Body, Detail, Page, SinkEntry, SinkState};
use serde::de::DeserializeOwned;

use super::fixture::{BODY, Collector, Running, SECRET, delivery, numbered, route, sink, until, vacant};

async fn read<T: DeserializeOwned>(receiver: &Running, path: &str) -> T {
    receiver.read(path).await
}

#[tokio::test]
async fn the_journal_is_listed_in_pages_in_order() {
    let receiver = Running::start(&route(vec![])).await;
    assert_eq!(read::<Page>(&receiver, "/journal").await, Page { entries: vec![], next: None });
    for n in 0..5 {
        receiver.deliver(&numbered(n)).await;
    }
    let (mut ids, mut path) = (Vec::new(), "/journal?limit=2".to_owned());
    let sizes = async {
        let mut sizes = Vec::new();
        loop {
            let page: Page = read(&receiver, &path).await;
            sizes.push(page.entries.len());
            ids.extend(page.entries.into_iter().map(|entry| entry.id));
            let Some(next) = page.next else { return sizes };
            path = format!("/journal?limit=2&after={next}");
        }
    };
    assert_eq!(sizes.await, [2, 2, 1]);
    assert_eq!(ids, ["d0", "d1", "d2", "d3", "d4"]);
}

#[tokio::test]
async fn an_entry_has_its_body_and_the_state_of_each_sink() {
    let (taker, rejecter) = (Collector::start().await, Collector::start().await);
    rejecter.answers(400);
    let sinks = vec![sink("cms", taker.address), sink("picky", rejecter.address), sink("gone", vacant().await)];
    let mut route = route(sinks);
    let receiver = Running::start(&route).await;
    receiver.deliver(&delivery("d1", BODY, SECRET)).await;
    receiver.deliver(&delivery("d1", "{}", SECRET)).await;
    until("the event was attempted", async || {
        let sinks = receiver.status().await.sinks;
        sinks[0].last_success_time.is_some() && sinks[1].dead_lettered == Some(2) && sinks[2].consecutive_failures >= 2
    })
    .await;
    let Page { entries, next: None } = read(&receiver, "/journal").await else { panic!("expected one page") };
    assert_eq!((entries[0].conflict, entries[1].conflict), (false, true));
    let Detail { entry, body, sinks } = read(&receiver, &format!("/journal/{}", entries[0].position)).await;
    assert_eq!((entry, body), (entries[0].clone(), Body::Text(BODY.into())));
    let [SinkEntry { name, state: SinkState::Done }, gone, picky] = &sinks[..] else { panic!("{sinks:?}") };
    assert_eq!(name, "cms");
    assert!(matches!(&gone.state, SinkState::Retrying { attempts: 1.., .. }), "{gone:?}");
    assert!(matches!(&picky.state, SinkState::DeadLetter { failure, .. } if failure == "answered 400"), "{picky:?}");
    route.redact_fields = ["title".to_owned()].into();
    receiver.reroute(&route).await;
    let Detail { body: Body::Text(body), .. } = read(&receiver, "/journal/1").await else {
        panic!("expected a text body")
    };
    assert!(body.contains(r#""title":"[redacted]""#), "an older entry is redacted as well: {body}");
}

#[tokio::test]
async fn the_journal_requires_the_token_and_is_absent_from_the_delivery_port() {
    let receiver = Running::start(&route(vec![])).await;
    receiver.deliver(&numbered(1)).await;
    for path in ["/journal", "/journal/1"] {
        assert_eq!(receiver.get(path).await.status(), 401, "{path}");
        let public = receiver.client.get(format!("http://{}{path}", receiver.delivery)).bearer_auth("t0ken");
        assert_eq!(public.send().await.unwrap().status(), 404, "{path}");
    }
    for (path, status) in [("/journal/2", 404), ("/journal/x", 400), ("/journal?limit=x", 400)] {
        let request = receiver.client.get(format!("http://{}{path}", receiver.admin)).bearer_auth("t0ken");
        assert_eq!(request.send().await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn backlog_and_journal_have_metrics() {
    let receiver = Running::start(&route(vec![sink("gone", vacant().await)])).await;
    for n in 0..3 {
        receiver.deliver(&numbered(n)).await;
    }
    until("the events were attempted", async || receiver.status().await.sinks[0].consecutive_failures >= 3).await;
    receiver.status().await;
    let metrics = receiver.get("/metrics").await.text().await.unwrap();
    for line in [
        r#"linktree_receiver_backlog{sink="gone"} 3"#,
        r#"linktree_receiver_oldest_undelivered_seconds{sink="gone"} "#,
        r#"linktree_receiver_sink_consecutive_failures{sink="gone"} "#,
        r#"linktree_receiver_last_verified_timestamp_seconds{key="k1"} "#,
        "linktree_receiver_journal_queue 0",
        "linktree_receiver_journal_events 3",
        "linktree_receiver_journal_identities 3",
        "linktree_receiver_clock_offset_seconds 0",
        "linktree_receiver_journal_commit_seconds_count ",
    ] {
        assert!(metrics.lines().any(|found| found.starts_with(line)), "{line}\n{metrics}");
    }
}
