//! The whole data path: an event at Linktree, signed and sent by the simulator, verified and kept by the receiver, and
//! forwarded to a sink.

use linktree_operator::linktree::{
    client::Linktree,
    event::EventType,
    secret::Secret,
    wire::{CreateSubscription, SubscriptionId},
};
use serde_json::{Value, json};

use crate::{
    receiver::fixture::{Collector, PATH, Running, key, route, sink, until},
    simulator::Simulator,
};

/// A simulator, a receiver that is subscribed at it, and the receiver's sink.
struct Installed {
    simulator: Simulator,
    receiver: Running,
    sink: Collector,
    subscription: SubscriptionId,
}

impl Installed {
    async fn start() -> Self {
        let sink = Collector::start().await;
        let simulator = Simulator::start(&["--no-rate-limit"]).await;
        let receiver = Running::start(&route(vec![])).await;
        let url = format!("http://{}{PATH}", receiver.delivery);
        let request = CreateSubscription { url, events: vec![EventType::LinkCreated] };
        let created = simulator.client("lt_test_demo").create(&request).await.unwrap();
        let installed = Installed { simulator, receiver, sink, subscription: created.id };
        installed.use_key(&created.signing_secret.unwrap()).await;
        installed
    }

    async fn use_key(&self, secret: &Secret) {
        let mut route = route(vec![sink("cms", self.sink.address)]);
        route.keys = vec![key("k1", secret.expose())];
        self.receiver.reroute(&route).await;
    }

    /// Creates a link; the id of the delivery of it.
    async fn create_link(&self) -> String {
        let link = json!({"title": "Shop", "url": "https://shop.example"});
        let created = self.simulator.control("POST", "/links", link).await;
        self.simulator.advance(0).await;
        created["deliveries"][0].as_str().unwrap().to_owned()
    }

    /// The receiver's answers to a delivery so far, in order.
    async fn answers(&self, delivery: &str) -> Vec<Value> {
        let state = self.simulator.state().await;
        let all = state["deliveries"].as_array().unwrap();
        let it = all.iter().find(|it| it["id"] == delivery).unwrap();
        it["attempts"].as_array().unwrap().iter().map(|attempt| attempt["answer"].clone()).collect()
    }

    async fn forwarded(&self, deliveries: &[String]) {
        until("the sink has them", async || self.sink.ids() == deliveries).await;
    }
}

fn answer(status: u16, body: &str) -> Value {
    json!({"status": status, "body": body})
}

#[tokio::test]
async fn a_change_of_a_link_reaches_the_sink() {
    let installed = Installed::start().await;
    let delivery = installed.create_link().await;
    assert_eq!(installed.answers(&delivery).await, [answer(200, r#"{"received":true}"#)]);
    installed.forwarded(&[delivery]).await;
}

#[tokio::test]
async fn forged_stale_and_repeated_deliveries_are_refused_or_known() {
    let installed = Installed::start().await;
    let delivery = installed.create_link().await;
    for (kind, expected) in [
        ("wrong-signature", answer(403, "Invalid signature")),
        ("unsigned", answer(401, "Missing signature")),
        ("stale", answer(403, "Invalid signature")),
        ("repeat", answer(200, r#"{"duplicate":true}"#)),
        ("replay", answer(200, r#"{"duplicate":true}"#)),
    ] {
        let forgery = json!({"subscription": installed.subscription, "kind": kind});
        let answered = installed.simulator.control("POST", "/deliveries/forge", forgery).await;
        assert_eq!(answered["answer"], expected, "{kind}");
    }
    installed.forwarded(&[delivery]).await;
}

#[tokio::test]
async fn a_retry_after_a_lost_answer_is_a_duplicate_and_forwarded_once() {
    let installed = Installed::start().await;
    let fault = json!({"kind": "lost-answer", "times": 1});
    installed.simulator.control("POST", "/faults/deliveries", fault).await;
    let delivery = installed.create_link().await;
    installed.simulator.advance(10).await;
    assert_eq!(installed.answers(&delivery).await[1], answer(200, r#"{"duplicate":true}"#));
    let next = installed.create_link().await;
    installed.forwarded(&[delivery, next]).await;
}

#[tokio::test]
async fn a_secret_rotated_in_the_dashboard_is_refused_until_it_is_copied_and_then_nothing_is_lost() {
    let installed = Installed::start().await;
    let path = format!("/subscriptions/{}/rotate-secret", installed.subscription);
    let rotated = installed.simulator.control("POST", &path, Value::Null).await;
    let delivery = installed.create_link().await;
    assert_eq!(installed.answers(&delivery).await, [answer(403, "Invalid signature")]);
    installed.use_key(&Secret::new(rotated["signing_secret"].as_str().unwrap())).await;
    installed.simulator.advance(10).await;
    assert_eq!(installed.answers(&delivery).await[1], answer(200, r#"{"received":true}"#));
    installed.forwarded(&[delivery]).await;
}
