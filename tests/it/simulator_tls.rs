//! The simulator delivers over HTTPS only to edges whose certificate authority it trusts.

use linktree_operator::linktree::{
    client::Linktree,
    event::EventType,
    wire::{CreateSubscription, Subscription},
};
use serde_json::json;

use crate::{
    canned::answer,
    certificate_authority::CertificateAuthority,
    edge::{HOST, edge},
    simulator::Simulator,
};

async fn subscribe(simulator: &Simulator, url: String) -> Subscription {
    let request = CreateSubscription { url, events: vec![EventType::LinkCreated] };
    simulator.client("lt_test_demo").create(&request).await.unwrap()
}

#[tokio::test]
async fn deliveries_trust_only_the_given_authority() {
    let (ours, strange) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ours, stranger) =
        (CertificateAuthority::at(ours.path()).unwrap(), CertificateAuthority::at(strange.path()).unwrap());
    let simulator = Simulator::start(&[&format!("--ca-file={}", ours.root.display())]).await;
    for authority in [&ours, &stranger] {
        let url = edge(Some(&authority.certify(HOST, 2099).unwrap()), answer("200 OK", "{}"));
        subscribe(&simulator, url.into()).await;
    }
    simulator.control("POST", "/links", json!({"title": "Shop", "url": "https://shop.example"})).await;
    simulator.advance(0).await;
    let deliveries = simulator.state().await["deliveries"].clone();
    let mut answers: Vec<_> = deliveries.as_array().unwrap().iter().map(|it| &it["attempts"][0]["answer"]).collect();
    answers.sort_by_key(|answer| answer["status"].is_null());
    assert_eq!(answers[0]["status"], 200, "{deliveries}");
    assert!(answers[1]["problem"].as_str().unwrap().contains("invalid peer certificate"), "{deliveries}");
}
