//! Stored events reach every sink that selects them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
};
use futures::StreamExt;
use linktree_operator::{
    clock,
    linktree::{event::EventType, secret::Secret},
    route::SinkUrl,
};
use tokio::net::TcpListener;

use super::fixture::{BODY, Collector, Running, SECRET, delivery, numbered, route, sink, until, vacant};
use crate::canned::{Canned, answer};

#[tokio::test]
async fn an_event_arrives_as_a_cloudevent_with_its_body_untouched() {
    let collector = Collector::start().await;
    let mut cms = sink("cms", collector.address);
    cms.bearer = Some(Secret::new("for-the-cms"));
    let receiver = Running::start(&route(vec![cms])).await;
    receiver.deliver(&delivery("dlv_1", BODY, SECRET)).await;
    until("the event arrived", async || collector.taken().len() == 1).await;
    let (header, body) = collector.taken().remove(0);
    assert_eq!(&body[..], BODY.as_bytes());
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "dlv_1"),
        ("ce-type", "dev.linktree-operator.link.created"),
        ("ce-source", "/apis/webhooks.linktree-operator.dev/v1alpha1/namespaces/marketing/linktreewebhooks/links"),
        ("content-type", "application/json"),
        ("authorization", "Bearer for-the-cms"),
    ] {
        assert_eq!(header[name], value, "{name}");
    }
    until("the status counts the event", async || receiver.status().await.last_hour.forwarded == 1).await;
    let status = receiver.status().await;
    assert!(status.sinks[0].last_success_time.is_some());
}

#[tokio::test]
async fn a_redacted_field_reaches_neither_the_journal_nor_a_sink() {
    let collector = Collector::start().await;
    let mut route = route(vec![sink("cms", collector.address)]);
    route.redact_fields = ["geo_city".to_owned()].into();
    let receiver = Running::start(&route).await;
    let body = r#"{"type":"link.created", "data":{"geo_city":"Reykjavik","n":1.10}}"#;
    let sent = delivery("d1", body, SECRET);
    assert_eq!(receiver.deliver(&sent).await.1, r#"{"received":true}"#);
    assert_eq!(
        receiver.deliver(&sent).await.1,
        r#"{"duplicate":true}"#,
        "the identity is of the body before redaction"
    );
    until("the event arrived", async || collector.taken().len() == 1).await;
    let (_, body) = collector.taken().remove(0);
    assert_eq!(body, r#"{"type":"link.created", "data":{"geo_city":"[redacted]","n":1.10}}"#);
    let directory = receiver.stop().await;
    for file in std::fs::read_dir(directory.path().join("journal")).unwrap() {
        let kept = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!kept.windows(9).any(|window| window == b"Reykjavik"));
    }
}

#[tokio::test]
async fn a_shutdown_lets_an_attempt_in_flight_finish() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let slow = Router::new().fallback(async move || {
        count.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cms = sink("cms", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, slow).into_future());
    let receiver = Running::start(&route(vec![cms])).await;
    assert_eq!(receiver.deliver(&numbered(1)).await.0, 200);
    until("the sink has the request", async || asked.load(Ordering::SeqCst) == 1).await;
    let receiver = Running::start_in(receiver.stop().await).await;
    until("nothing waits", async || {
        let ready = receiver.get("/readyz").await.status() == 200;
        ready && receiver.status().await.backlog == Some(0)
    })
    .await;
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the event was sent again");
}

#[tokio::test]
async fn a_sink_that_was_down_gets_every_event_once() {
    let address = vacant().await;
    let receiver = Running::start(&route(vec![sink("cms", address)])).await;
    for n in 0..20 {
        assert_eq!(receiver.deliver(&numbered(n)).await.0, 200);
    }
    until("the status counts the failures", async || receiver.status().await.sinks[0].consecutive_failures >= 5).await;
    let status = receiver.status().await;
    assert_eq!((status.backlog, status.sinks[0].last_failure.as_deref()), (Some(20), Some("could not be reached")));
    let collector = Collector::start_at(address).await;
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;
    let mut ids = collector.ids();
    assert_eq!(ids.len(), 20, "{ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20, "an event arrived twice");
    for n in 20..30 {
        receiver.deliver(&numbered(n)).await;
    }
    until("the remaining events arrived", async || collector.ids().len() == 30).await;
}

#[tokio::test]
async fn an_unresponsive_sink_delays_no_other_sink() {
    let hole = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = Collector::start().await;
    let sinks = vec![sink("hole", hole.local_addr().unwrap()), sink("cms", collector.address)];
    let receiver = Running::start(&route(sinks)).await;
    for n in 0..50 {
        assert_eq!(receiver.deliver(&numbered(n)).await.0, 200);
    }
    until("the healthy sink has all events", async || collector.ids().len() == 50).await;
    until("the status counts a failure of the other sink", async || {
        receiver.status().await.sinks[0].consecutive_failures > 0
    })
    .await;
    assert_eq!(receiver.status().await.sinks[0].last_failure.as_deref(), Some("did not answer in time"));
}

#[tokio::test]
async fn an_event_that_is_rejected_three_times_is_dead_lettered_and_the_next_is_forwarded() {
    let collector = Collector::start().await;
    collector.answers(400);
    let receiver = Running::start(&route(vec![sink("cms", collector.address)])).await;
    receiver.deliver(&numbered(1)).await;
    until("the event is dead-lettered", async || receiver.status().await.sinks[0].dead_lettered == Some(1)).await;
    assert_eq!(collector.asked().len(), 3);
    collector.answers(204);
    receiver.deliver(&numbered(2)).await;
    until("the next event arrived", async || collector.ids() == ["d2"]).await;
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;
    assert_eq!(receiver.status().await.last_hour.dead_lettered, 1);
    let metrics = receiver.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains(r#"linktree_receiver_dead_letters_total{sink="cms"} 1"#), "{metrics}");
}

#[tokio::test]
async fn an_event_is_sent_to_the_routes_url_and_follows_no_redirect() {
    let elsewhere = Collector::start().await;
    let head = format!("307 Temporary Redirect\r\nlocation: http://{}/in", elsewhere.address);
    let redirecting = Canned::answering([answer(&head, ""), answer("204 No Content", "")]).await;
    let mut cms = sink("cms", elsewhere.address);
    cms.url = Some(SinkUrl::new(redirecting.base.clone()));
    let receiver = Running::start(&route(vec![cms])).await;
    receiver.deliver(&numbered(1)).await;
    until("the sink takes the event", async || receiver.status().await.last_hour.forwarded == 1).await;
    assert_eq!(receiver.status().await.sinks[0].last_failure.as_deref(), Some("answered 307"));
    assert!(elsewhere.ids().is_empty());
}

#[tokio::test]
async fn retry_after_of_a_sink_is_respected() {
    let busy = answer("429 Too Many Requests\r\nretry-after: 3", "");
    let canned = Canned::answering([busy, answer("204 No Content", "")]).await;
    let mut cms = sink("cms", vacant().await);
    cms.url = Some(SinkUrl::new(canned.base.clone()));
    let receiver = Running::start(&route(vec![cms])).await;
    let started = clock::monotonic();
    receiver.deliver(&numbered(1)).await;
    until("the event is taken", async || receiver.status().await.backlog == Some(0)).await;
    assert_eq!(canned.requests().len(), 2);
    assert!(started.elapsed() >= Duration::from_secs(3), "the retry came before Retry-After");
}

#[tokio::test]
async fn an_event_that_fails_while_the_sink_takes_others_is_given_up() {
    let collector = Collector::start().await;
    let poison = Router::new().fallback(async |header: HeaderMap| match header["ce-id"].to_str() {
        Ok("d0") => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::NO_CONTENT,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut cms = sink("cms", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, poison).into_future());
    cms.retry.give_up_after_seconds = 1;
    let receiver = Running::start(&route(vec![cms, sink("other", collector.address)])).await;
    for n in 0.. {
        receiver.deliver(&numbered(n)).await;
        let status = receiver.status().await;
        if status.sinks[0].dead_lettered == Some(1) {
            break;
        }
        assert!(n < 2000, "{status:?}");
    }
    until("all others arrived", async || receiver.status().await.backlog == Some(0)).await;
    let status = receiver.status().await.sinks.remove(0);
    assert_eq!((status.dead_lettered, status.last_failure.as_deref()), (Some(1), Some("answered 500")));
}

#[tokio::test]
async fn an_answer_that_trickles_is_one_that_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cms = sink("cms", listener.local_addr().unwrap());
    let trickling = Router::new().fallback(async || {
        let bytes = futures::stream::repeat(Ok::<_, std::convert::Infallible>("x"));
        let trickle = bytes.then(async |byte| {
            tokio::time::sleep(Duration::from_millis(300)).await;
            byte
        });
        axum::body::Body::from_stream(trickle)
    });
    tokio::spawn(axum::serve(listener, trickling).into_future());
    let receiver = Running::start(&route(vec![cms])).await;
    receiver.deliver(&numbered(1)).await;
    until("the attempt failed", async || receiver.status().await.sinks[0].last_failure.is_some()).await;
    assert_eq!(receiver.status().await.sinks[0].last_failure.as_deref(), Some("did not answer in time"));
}

#[tokio::test]
async fn a_sink_gets_only_its_event_types() {
    let collector = Collector::start().await;
    let mut cms = sink("cms", collector.address);
    cms.events = [EventType::LinkCreated].into();
    let receiver = Running::start(&route(vec![cms])).await;
    receiver.deliver(&numbered(1)).await;
    receiver.deliver(&delivery("wanted", BODY, SECRET)).await;
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;
    assert_eq!(collector.ids(), ["wanted"]);
}
