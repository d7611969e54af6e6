//! Deliveries of the simulator: content, times, and reactions to responses.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use axum::{
    Router,
    body::Bytes,
    extract::ConnectInfo,
    http::{HeaderMap, StatusCode},
};
use jiff::Timestamp;
use linktree_operator::linktree::{
    client::Linktree,
    event::{Envelope, EventType},
    headers::{DELIVERY_ID, SIGNATURE, SentAt, TIMESTAMP},
    secret::Secret,
    signature::Signature,
    wire::{CreateSubscription, Subscription, SubscriptionStatus, UpdateSubscription},
};
use serde_json::{Value, json};

use crate::simulator::Simulator;

const TOKEN: &str = "lt_test_demo";
const HOUR: u64 = 3600;

/// One received request.
#[derive(Clone, Debug)]
struct Arrived {
    headers: HeaderMap,
    body: Bytes,
}

impl Arrived {
    fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    fn verifies(&self, secret: &Secret) -> bool {
        let sent_at = SentAt::parse(self.header(TIMESTAMP).as_bytes());
        let signature = Signature::from_hex(self.header(SIGNATURE).as_bytes());
        sent_at.zip(signature).is_some_and(|(sent_at, signature)| signature.verifies(secret, &sent_at, &self.body))
    }

    fn envelope(&self) -> Envelope {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A server that records requests and answers with a variable status.
struct Sink {
    url: String,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    status: Arc<AtomicU16>,
}

impl Sink {
    async fn start() -> Self {
        let (arrived, status) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU16::new(200)));
        let (kept, answered) = (Arc::clone(&arrived), Arc::clone(&status));
        let take = move |headers: HeaderMap, body: Bytes| async move {
            kept.lock().unwrap().push(Arrived { headers, body });
            (StatusCode::from_u16(answered.load(Ordering::SeqCst)).unwrap(), r#"{"received":true}"#)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/h/1", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().fallback(take)).into_future());
        Sink { url, arrived, status }
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Takes the requests since the last call.
    fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.arrived.lock().unwrap())
    }
}

/// A simulator and a sink with a subscription to links and milestones.
async fn subscribed() -> (Simulator, Sink, Subscription) {
    let (simulator, sink) = (Simulator::start(&["--no-rate-limit"]).await, Sink::start().await);
    let events = vec![EventType::LinkCreated, EventType::LinkUpdated, EventType::AnalyticsMilestone];
    let request = CreateSubscription { url: sink.url.clone(), events };
    let subscription = simulator.client(TOKEN).create(&request).await.unwrap();
    (simulator, sink, subscription)
}

async fn create_link(simulator: &Simulator, title: &str) -> Value {
    simulator.control("POST", "/links", json!({"title": title, "url": "https://shop.example"})).await
}

/// Waits until all due deliveries are sent.
async fn settle(simulator: &Simulator) {
    simulator.advance(0).await;
}

fn after_seconds(advanced: &Value) -> Vec<u64> {
    advanced["steps"].as_array().unwrap().iter().map(|step| step["after_seconds"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_change_arrives_signed_and_only_for_subscribed_types() {
    let (simulator, sink, subscription) = subscribed().await;
    let link = create_link(&simulator, "Shop").await["data"]["link_id"].clone();
    let hit = json!({"link_id": link, "metric": "clicks", "value": 1001, "threshold": 1000});
    simulator.control("POST", "/milestones", hit.clone()).await;
    simulator.control("PATCH", "/profile", json!({"bio": "hello"})).await;
    settle(&simulator).await;
    let mut arrived = sink.take();
    arrived.sort_by_key(|it| it.envelope().event_type);
    let types: Vec<_> = arrived.iter().map(|it| it.envelope().event_type).collect();
    assert_eq!(types, [EventType::LinkCreated, EventType::AnalyticsMilestone], "profile events are not subscribed");
    let data = arrived[1].envelope().data;
    assert_eq!((&data["link_id"], &data["metric"]), (&hit["link_id"], &hit["metric"]));
    assert_eq!((data["value"].as_f64(), data["threshold"].as_f64()), (Some(1001.0), Some(1000.0)), "1001 or 1001.0");
    assert_eq!(arrived[0].header("content-type"), "application/json");
    for one in &arrived {
        assert!(one.verifies(subscription.signing_secret.as_ref().unwrap()));
        assert!(!one.header(DELIVERY_ID).is_empty());
    }
    assert_ne!(arrived[0].header(DELIVERY_ID), arrived[1].header(DELIVERY_ID));
}

#[tokio::test]
async fn a_failed_delivery_is_retried_on_schedule_and_then_given_up() {
    let (simulator, sink, subscription) = subscribed().await;
    sink.answer(500);
    create_link(&simulator, "Shop").await;
    settle(&simulator).await;
    let advanced = simulator.advance(HOUR).await;
    let expected: Vec<u64> = [10, 40, 130, 400, 1210].into();
    for (seen, expected) in after_seconds(&advanced).into_iter().zip(&expected) {
        // Attempts take real time, and each delay starts at the end of an attempt.
        assert!((expected.saturating_sub(2)..=expected + 2).contains(&seen), "{advanced}");
    }
    let arrived = sink.take();
    assert_eq!(arrived.len(), 1 + expected.len());
    let now = linktree_operator::clock::now().as_second();
    for retry in &arrived {
        assert_eq!((retry.header(DELIVERY_ID), &retry.body), (arrived[0].header(DELIVERY_ID), &arrived[0].body));
        assert!(retry.verifies(subscription.signing_secret.as_ref().unwrap()));
        let sent_at: i64 = retry.header(TIMESTAMP).parse().unwrap();
        assert!((now - sent_at).abs() < 60, "the timestamp must be real, not simulated");
    }
    assert_eq!(simulator.state().await["deliveries"][0]["state"], "given-up");
}

#[tokio::test]
async fn without_resigning_a_retry_keeps_the_first_timestamp_and_signature() {
    let (simulator, sink, _) = subscribed().await;
    simulator.control("PATCH", "/settings", json!({"resign_retries": false})).await;
    sink.answer(500);
    create_link(&simulator, "Shop").await;
    settle(&simulator).await;
    let id = simulator.state().await["subscriptions"][0]["id"].as_str().unwrap().to_owned();
    simulator.control("POST", &format!("/subscriptions/{id}/rotate-secret"), Value::Null).await;
    simulator.advance(60).await;
    let arrived = sink.take();
    assert_eq!(arrived.len(), 3);
    for retry in &arrived {
        assert_eq!(retry.header(TIMESTAMP), arrived[0].header(TIMESTAMP));
        assert_eq!(retry.header(SIGNATURE), arrived[0].header(SIGNATURE));
    }
}

#[tokio::test]
async fn a_rotation_can_set_a_given_secret() {
    let (simulator, sink, subscription) = subscribed().await;
    let path = format!("/subscriptions/{}/rotate-secret", subscription.id);
    let rotated = simulator.control("POST", &path, json!({"signing_secret": "known beforehand"})).await;
    assert_eq!(rotated["signing_secret"], "known beforehand");
    create_link(&simulator, "Shop").await;
    settle(&simulator).await;
    assert!(sink.take()[0].verifies(&Secret::new("known beforehand")));
}

#[tokio::test]
async fn a_subscription_is_disabled_after_72_hours_of_failures_and_can_be_enabled_again() {
    let (simulator, sink, subscription) = subscribed().await;
    let linktree = simulator.client(TOKEN);
    sink.answer(503);
    create_link(&simulator, "Lost").await;
    settle(&simulator).await;
    simulator.advance(71 * HOUR).await;
    let failing = linktree.get(&subscription.id).await.unwrap();
    let failing_for = linktree_operator::clock::now().as_second() - failing.failing_since.unwrap();
    assert_eq!(failing.status, Some(SubscriptionStatus::Active));
    assert!((71 * 3600..71 * 3600 + 60).contains(&failing_for), "{failing_for}");

    let advanced = simulator.advance(HOUR).await;
    assert_eq!(advanced["steps"][0]["disabled"], json!(subscription.id), "{advanced}");
    let disabled = linktree.get(&subscription.id).await.unwrap();
    assert_eq!(disabled.status, Some(SubscriptionStatus::Disabled));
    assert_eq!(disabled.disabled_at.unwrap() - disabled.failing_since.unwrap(), 72 * 3600);
    assert_eq!(disabled.disabled_reason.as_deref(), Some("consecutive_failures"));
    sink.take();
    sink.answer(200);
    assert_eq!(create_link(&simulator, "Unheard").await["deliveries"], json!([]));

    let enable = UpdateSubscription { status: Some(SubscriptionStatus::Active), ..Default::default() };
    let enabled = linktree.update(&subscription.id, &enable).await.unwrap();
    assert_eq!((enabled.status, enabled.failing_since), (Some(SubscriptionStatus::Active), None));
    create_link(&simulator, "Heard").await;
    settle(&simulator).await;
    let titles: Vec<_> = sink.take().iter().map(|it| it.envelope().data["title"].clone()).collect();
    assert_eq!(titles, ["Heard"]);
}

#[tokio::test]
async fn deliveries_due_in_skipped_time_are_sent_in_order() {
    let (simulator, sink, _) = subscribed().await;
    sink.answer(500);
    create_link(&simulator, "first").await;
    settle(&simulator).await;
    simulator.advance(5).await;
    create_link(&simulator, "second").await;
    settle(&simulator).await;
    sink.take();
    simulator.advance(60).await;
    let titles: Vec<_> = sink.take().iter().map(|it| it.envelope().data["title"].clone()).collect();
    assert_eq!(titles, ["first", "second", "first", "second"], "due 10, 15, 40 and 45 seconds after the first attempt");
}

#[tokio::test]
async fn a_lost_response_causes_a_duplicate_and_a_success_resets_the_failure_time() {
    let (simulator, sink, subscription) = subscribed().await;
    simulator.control("POST", "/faults/deliveries", json!({"kind": "lost-answer", "times": 1})).await;
    create_link(&simulator, "Shop").await;
    settle(&simulator).await;
    let linktree = simulator.client(TOKEN);
    assert!(linktree.get(&subscription.id).await.unwrap().failing_since.is_some());
    simulator.advance(10).await;
    let arrived = sink.take();
    assert_eq!(arrived.len(), 2);
    assert_eq!(arrived[0].header(DELIVERY_ID), arrived[1].header(DELIVERY_ID));
    assert_eq!(linktree.get(&subscription.id).await.unwrap().failing_since, None);
}

#[tokio::test]
async fn forged_deliveries_match_their_kind_and_are_not_recorded() {
    let (simulator, sink, subscription) = subscribed().await;
    create_link(&simulator, "Shop").await;
    settle(&simulator).await;
    let genuine = sink.take().remove(0);
    let secret = subscription.signing_secret.unwrap();
    sink.answer(403);
    let now = linktree_operator::clock::now();
    let age = |it: &Arrived| now - Timestamp::from_second(it.header(TIMESTAMP).parse().unwrap()).unwrap();
    for (kind, verifies, same_body, same_id) in [
        ("wrong-signature", false, false, false),
        ("unsigned", false, false, false),
        ("stale", true, false, false),
        ("repeat", true, true, true),
        ("replay", true, true, false),
    ] {
        let forgery = json!({"subscription": subscription.id, "kind": kind});
        let answered = simulator.control("POST", "/deliveries/forge", forgery).await;
        assert_eq!(answered["answer"]["status"], 403, "{kind}");
        let forged = sink.take().remove(0);
        assert_eq!(forged.verifies(&secret), verifies, "{kind}");
        assert_eq!(forged.body == genuine.body, same_body, "{kind}");
        assert_eq!(forged.header(DELIVERY_ID) == genuine.header(DELIVERY_ID), same_id, "{kind}");
        assert_eq!(forged.header(SIGNATURE).is_empty(), kind == "unsigned", "{kind}");
        assert!(kind != "stale" || age(&forged).get_seconds() > 300);
    }
    let state = simulator.state().await;
    assert_eq!(state["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(state["subscriptions"][0]["failing_since"], Value::Null);
}

#[tokio::test]
async fn an_unreachable_receiver_is_a_failure() {
    let (simulator, sink, subscription) = subscribed().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let path = format!("/subscriptions/{}", subscription.id);
    simulator.control("PATCH", &path, json!({"url": gone})).await;
    create_link(&simulator, "Shop").await;
    settle(&simulator).await;
    assert!(sink.take().is_empty());
    let state = simulator.state().await;
    assert!(state["deliveries"][0]["attempts"][0]["answer"]["problem"].is_string(), "{state}");
    assert!(state["subscriptions"][0]["failing_since"].is_i64());
    // Once it is reachable, the next retry delivers the event.
    simulator.control("PATCH", &path, json!({"url": sink.url})).await;
    simulator.advance(10).await;
    assert_eq!(sink.take().len(), 1);
}

#[tokio::test]
async fn an_event_of_an_unknown_type_can_be_sent() {
    let (simulator, sink, subscription) = subscribed().await;
    let event = json!({"type": "collection.created", "data": {"n": 1}, "subscription": subscription.id});
    simulator.control("POST", "/events", event).await;
    settle(&simulator).await;
    assert_eq!(sink.take()[0].envelope().event_type, EventType::Unknown("collection.created".into()));
}

#[tokio::test]
async fn bodies_are_not_as_a_serializer_writes_them() {
    let (simulator, sink, subscription) = subscribed().await;
    for n in 0..20 {
        create_link(&simulator, &format!("Caf\u{e9} {n}")).await;
    }
    settle(&simulator).await;
    let arrived = sink.take();
    assert_eq!(arrived.len(), 20);
    let secret = subscription.signing_secret.unwrap();
    for one in arrived {
        let again = serde_json::to_vec(&serde_json::from_slice::<Value>(&one.body).unwrap()).unwrap();
        let reserialized = Arrived { body: again.into(), ..one.clone() };
        assert!(one.verifies(&secret) && !reserialized.verifies(&secret), "{:?}", one.body);
    }
}

#[tokio::test]
async fn concurrent_duplicates_arrive_at_the_same_time_over_connections_that_are_kept_alive() {
    let simulator = Simulator::start(&["--no-rate-limit"]).await;
    // Each answer waits for all copies, so that they must be in flight together.
    let (all, connections) = (Arc::new(tokio::sync::Barrier::new(8)), Arc::new(Mutex::new(HashSet::new())));
    let (barrier, seen) = (Arc::clone(&all), Arc::clone(&connections));
    let take = move |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move {
        seen.lock().unwrap().insert(peer);
        barrier.wait().await;
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/h/1", listener.local_addr().unwrap());
    let service = Router::new().fallback(take).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());
    let request = CreateSubscription { url, events: vec![EventType::LinkCreated] };
    simulator.client(TOKEN).create(&request).await.unwrap();
    simulator.control("PATCH", "/settings", json!({"keep_alive": true})).await;
    simulator.control("POST", "/faults/deliveries", json!({"kind": "concurrent-duplicates", "copies": 8})).await;
    for n in 0..5 {
        create_link(&simulator, &format!("Shop {n}")).await;
        settle(&simulator).await;
    }
    let state = simulator.control("GET", "/state", Value::Null).await;
    let deliveries = state["deliveries"].as_array().unwrap();
    assert!(deliveries.iter().all(|it| it["state"] == "delivered"), "{state}");
    let connections = connections.lock().unwrap().len();
    assert!((8..16).contains(&connections), "{connections} connections for 40 requests");
}
