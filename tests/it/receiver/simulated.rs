//! The whole data path: the simulator sends, the receiver verifies and keeps, a sink gets it.

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

use super::fixture::{Collector, PATH, Running, route, sink, until};
use crate::simulator::Simulator;

/// A simulator whose subscription goes to a receiver that has its key, and the receiver's only sink.
struct Harness {
    simulator: Simulator,
    subscription: Subscription,
    receiver: Running,
    route: Route,
    collector: Collector,
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

    async fn create_link(&self, title: &str) -> String {
        let link = json!({"title": title, "url": "https://shop.example"});
        let link = self.simulator.control("POST", "/links", link).await;
        link["data"]["link_id"].as_str().unwrap().to_owned()
    }

    async fn fault(&self, kind: &str) {
        self.simulator.control("POST", "/faults/deliveries", json!({"kind": kind, "times": 1})).await;
    }

    async fn forge(&self, kind: &str) -> Value {
        let forgery = json!({"subscription": self.subscription.id, "kind": kind});
        self.simulator.control("POST", "/deliveries/forge", forgery).await["answer"]["status"].clone()
    }

    /// Waits until everything that was acknowledged is at the sink, and answers how many events that are.
    async fn arrived(&self) -> usize {
        until("all is settled", async || self.receiver.status().await.backlog == 0).await;
        self.collector.ids().len()
    }
}

#[tokio::test]
async fn every_kind_of_change_reaches_the_sink() {
    let harness = Harness::start().await;
    let link = harness.create_link("Shop").await;
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
async fn what_goes_wrong_on_the_way_neither_loses_nor_doubles_an_event() {
    for resigned in [true, false] {
        let harness = Harness::start().await;
        harness.simulator.control("PATCH", "/settings", json!({"resign_retries": resigned})).await;
        for fault in ["duplicate", "lost-answer", "drop", "tamper", "unsigned", "replay"] {
            harness.fault(fault).await;
            harness.create_link(fault).await;
            harness.simulator.advance(0).await;
        }
        // Within the first retries, a delivery that is not signed afresh is still inside the window.
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
async fn nothing_forged_gets_in() {
    let harness = Harness::start().await;
    harness.create_link("Shop").await;
    harness.simulator.advance(0).await;
    for (kind, status) in
        [("wrong-signature", 403), ("unsigned", 401), ("stale", 403), ("repeat", 200), ("replay", 200)]
    {
        assert_eq!(harness.forge(kind).await, status, "{kind}");
    }
    assert_eq!(harness.arrived().await, 1, "a repetition and a replay are duplicates");
}

#[tokio::test]
async fn a_secret_that_was_rotated_in_the_dashboard_costs_retries_and_no_event() {
    let mut harness = Harness::start().await;
    let path = format!("/subscriptions/{}/rotate-secret", harness.subscription.id);
    let rotated = harness.simulator.control("POST", &path, Value::Null).await;
    harness.create_link("Shop").await;
    harness.simulator.advance(0).await;
    let status = harness.receiver.status().await;
    assert_eq!((status.last_hour.rejected_signature, status.last_hour.verified), (1, 0));
    assert_eq!(status.unverified_run.map(|run| run.count), Some(1), "this is how the operator gets to know");
    let secret = Secret::new(rotated["signing_secret"].as_str().unwrap());
    harness.route.keys.insert(0, Key { name: "second".into(), secret });
    harness.receiver.reroute(&harness.route).await;
    harness.simulator.advance(10).await;
    assert_eq!(harness.arrived().await, 1);
    let status = harness.receiver.status().await;
    assert_eq!((status.unverified_run, status.last_verified_key.as_deref()), (None, Some("second")));
}
