//! The whole data path: the simulator signs and sends an event, the receiver verifies and stores it, and forwards it to
//! a sink.

use linktree_operator::{
    linktree::{
        client::Linktree,
        event::EventType,
        secret::Secret,
        wire::{CreateSubscription, Subscription},
    },
    route::{Key, Route},
};
use serde_json::{Value, json};

use crate::{
    receiver::fixture::{Collector, PATH, Running, route, sink, until},
    simulator::Simulator,
};

/// A simulator whose subscription points to a receiver with its key, and the receiver's only sink.
struct Harness {
    simulator: Simulator,
    subscription: Subscription,
    receiver: Running,
    route: Route,
    collector: Collector,
}

/// A new link and its delivery.
struct Created {
    link: String,
    delivery: String,
}

impl Harness {
    async fn start() -> Self {
        let collector = Collector::start().await;
        let mut route = route(vec![sink("cms", collector.address)]);
        let receiver = Running::start(&route).await;
        let simulator = Simulator::start(&["--no-rate-limit"]).await;
        let url = format!("http://{}{PATH}", receiver.delivery);
        let request = CreateSubscription { url, events: EventType::KNOWN.into() };
        let subscription = simulator.client("lt_test_demo").create(&request).await.unwrap();
        let secret = subscription.signing_secret.clone().unwrap();
        route.keys = vec![Key { name: "first".into(), secret }];
        receiver.reroute(&route).await;
        Harness { simulator, subscription, receiver, route, collector }
    }

    async fn create_link(&self, title: &str) -> Created {
        let link = json!({"title": title, "url": "https://shop.example"});
        let created = self.simulator.control("POST", "/links", link).await;
        self.simulator.advance(0).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Created { link: text(&created["data"]["link_id"]), delivery: text(&created["deliveries"][0]) }
    }

    async fn fault(&self, kind: &str) {
        self.simulator.control("POST", "/faults/deliveries", json!({"kind": kind, "times": 1})).await;
    }

    /// Rotates the secret in the dashboard; returns the new one.
    async fn rotate_secret(&self) -> Secret {
        let path = format!("/subscriptions/{}/rotate-secret", self.subscription.id);
        let rotated = self.simulator.control("POST", &path, Value::Null).await;
        Secret::new(rotated["signing_secret"].as_str().unwrap())
    }

    /// The receiver's responses to a delivery so far, in order.
    async fn responses(&self, delivery: &str) -> Vec<Value> {
        let state = self.simulator.state().await;
        let all = state["deliveries"].as_array().unwrap();
        let it = all.iter().find(|it| it["id"] == delivery).unwrap();
        it["attempts"].as_array().unwrap().iter().map(|attempt| attempt["answer"].clone()).collect()
    }

    /// Waits until the receiver has no backlog; returns the number of events at the sink.
    async fn arrived(&self) -> usize {
        until("the backlog is empty", async || self.receiver.status().await.backlog == Some(0)).await;
        self.collector.ids().len()
    }

    /// Waits until exactly these deliveries are at the sink, in this order.
    async fn until_forwarded(&self, deliveries: &[String]) {
        until("the sink has the deliveries", async || self.collector.ids() == deliveries).await;
    }
}

fn response(status: u16, body: &str) -> Value {
    json!({"status": status, "body": body})
}

#[tokio::test]
async fn every_kind_of_change_reaches_the_sink() {
    let harness = Harness::start().await;
    let Created { link, delivery } = harness.create_link("Shop").await;
    assert_eq!(harness.responses(&delivery).await, [response(200, r#"{"received":true}"#)]);
    harness.until_forwarded(&[delivery]).await;

    let path = format!("/links/{link}");
    harness.simulator.control("PATCH", &path, json!({"title": "Shöp"})).await;
    harness.simulator.control("PATCH", "/profile", json!({"bio": "hello"})).await;
    let milestone = json!({"link_id": link, "metric": "clicks", "value": 1001, "threshold": 1000});
    harness.simulator.control("POST", "/milestones", milestone).await;
    harness.simulator.control("DELETE", &path, Value::Null).await;
    let unknown = json!({"type": "collection.created", "data": {}, "subscription": harness.subscription.id});
    harness.simulator.control("POST", "/events", unknown).await;
    harness.simulator.advance(0).await;
    assert_eq!(harness.arrived().await, 6);
    assert!(harness.receiver.status().await.milestones.unwrap().last_time.is_some());
    let mut types: Vec<_> = harness.collector.taken().iter().map(|(header, _)| header["ce-type"].clone()).collect();
    types.sort_by(|left, right| left.as_bytes().cmp(right.as_bytes()));
    let expected = [
        "analytics.milestone",
        "collection.created",
        "link.created",
        "link.deleted",
        "link.updated",
        "profile.updated",
    ];
    assert_eq!(types, expected.map(|name| format!("dev.linktree-operator.{name}")));
}

#[tokio::test]
async fn delivery_faults_neither_lose_nor_duplicate_an_event() {
    for resigned in [true, false] {
        let harness = Harness::start().await;
        harness.simulator.control("PATCH", "/settings", json!({"resign_retries": resigned})).await;
        for fault in ["duplicate", "lost-answer", "drop", "tamper", "unsigned", "replay"] {
            harness.fault(fault).await;
            harness.create_link(fault).await;
        }
        // Within the first retries, a delivery with its first signature is still inside the window.
        harness.simulator.advance(10).await;
        assert_eq!(harness.arrived().await, 6, "resigned: {resigned}");
        let tally = harness.receiver.status().await.last_hour;
        assert_eq!((tally.verified, tally.conflict), (6, 0), "{tally:?}");
        assert!(
            tally.duplicate >= 2 && tally.rejected_signature >= 1 && tally.rejected_missing_header >= 1,
            "{tally:?}"
        );
    }
}

#[tokio::test]
async fn forged_and_stale_deliveries_are_rejected_and_repeated_ones_are_duplicates() {
    let harness = Harness::start().await;
    let Created { delivery, .. } = harness.create_link("Shop").await;
    for (kind, expected) in [
        ("wrong-signature", response(403, "Invalid signature")),
        ("unsigned", response(401, "Missing signature")),
        ("stale", response(403, "Invalid signature")),
        ("repeat", response(200, r#"{"duplicate":true}"#)),
        ("replay", response(200, r#"{"duplicate":true}"#)),
    ] {
        let forgery = json!({"subscription": harness.subscription.id, "kind": kind});
        let forged = harness.simulator.control("POST", "/deliveries/forge", forgery).await;
        assert_eq!(forged["answer"], expected, "{kind}");
    }
    assert_eq!(harness.arrived().await, 1, "a repetition and a replay are duplicates");
    harness.until_forwarded(&[delivery]).await;
}

#[tokio::test]
async fn a_retry_after_a_lost_response_is_a_duplicate_and_forwarded_once() {
    let harness = Harness::start().await;
    harness.fault("lost-answer").await;
    let first = harness.create_link("Shop").await.delivery;
    harness.simulator.advance(10).await;
    assert_eq!(harness.responses(&first).await[1], response(200, r#"{"duplicate":true}"#));
    let second = harness.create_link("Shop").await.delivery;
    harness.until_forwarded(&[first, second]).await;
}

#[tokio::test]
async fn a_secret_rotated_in_the_dashboard_causes_retries_until_it_is_copied_and_loses_no_event() {
    let mut harness = Harness::start().await;
    let secret = harness.rotate_secret().await;
    let delivery = harness.create_link("Shop").await.delivery;
    assert_eq!(harness.responses(&delivery).await, [response(403, "Invalid signature")]);
    let status = harness.receiver.status().await;
    assert_eq!((status.last_hour.rejected_signature, status.last_hour.verified), (1, 0));
    assert_eq!(status.unverified_run.map(|run| run.count), Some(1), "the operator reads this count");

    harness.route.keys.insert(0, Key { name: "second".into(), secret });
    harness.receiver.reroute(&harness.route).await;
    harness.simulator.advance(10).await;
    assert_eq!(harness.responses(&delivery).await[1], response(200, r#"{"received":true}"#));
    assert_eq!(harness.arrived().await, 1);
    harness.until_forwarded(&[delivery]).await;
    let status = harness.receiver.status().await;
    assert_eq!((status.unverified_run, status.last_verified_key.as_deref()), (None, Some("second")));
}
