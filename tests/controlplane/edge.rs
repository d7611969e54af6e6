//! A real edge: nginx with a certificate of a private authority, in front of the receiver. The webhook's conditions
//! name each fault and its repair.

use std::net::SocketAddr;

use linktree_operator::api::webhook_status::ProbeResult;
use serde_json::json;

use crate::{
    certificate_authority::{Certificate, CertificateAuthority},
    harness::scenario,
    network::Destination,
    nginx::Nginx,
    wait::until,
};

const HOST: &str = "hooks.example.com";

#[tokio::test]
async fn edge_faults_are_reported_and_their_repair_is_detected() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let endpoint = json!({"managed": {"host": HOST, "exposure": {"type": "None"}}});
        let mut node = harness.webhook("links", |spec| spec["endpoint"] = endpoint).await;
        let authority = CertificateAuthority::at(harness.directory()).unwrap();
        let mut edge = Nginx::new(&harness.directory().join("edge"), SocketAddr::from((node.address, 8443))).unwrap();
        harness.network.route(HOST, Destination::At(edge.address));
        harness.operator.kill();
        harness.start_operator_behind_edge(&authority.root);
        node.start().await;
        let receiver = format!("proxy_pass http://{};", node.delivery_address());

        edge.set_directives(&receiver).unwrap();
        edge.set_certificate(&authority.certify("other.example.com", 2099).unwrap()).unwrap();
        edge.start().unwrap();
        harness.until_condition("links", "EndpointReachable", "False", "CertificateNameMismatch").await;

        edge.set_certificate(&Certificate { chain: String::new(), ..authority.certify(HOST, 2099).unwrap() }).unwrap();
        edge.start().unwrap();
        harness.until_condition("links", "EndpointReachable", "False", "CertificateUntrusted").await;

        edge.set_certificate(&authority.certify(HOST, 2024).unwrap()).unwrap();
        edge.start().unwrap();
        let message = harness.until_condition("links", "EndpointReachable", "False", "CertificateExpired").await;
        assert!(message.contains("2024-12-31T00:00:00Z"), "{message}");
        until("the status has the certificate's expiry", async || {
            let endpoint = harness.status("links").await.endpoint.unwrap();
            endpoint.last_probe_result == ProbeResult::CertificateExpired
                && endpoint.certificate_expiration_time.is_some_and(|end| end.0.to_string() == "2024-12-31T00:00:00Z")
        })
        .await;

        edge.set_certificate(&authority.certify(HOST, 2099).unwrap()).unwrap();
        for (directive, words) in [
            ("return 302 https://login.example.com/;", "a redirect (302 Found) to https://login.example.com,"),
            ("default_type text/html; return 200 '<html>Welcome';", "200 OK with an HTML page"),
            ("return 401 no;", "401 Unauthorized from a server or proxy that asks for credentials"),
        ] {
            edge.set_directives(directive).unwrap();
            edge.start().unwrap();
            until(words, async || {
                let found = harness.condition("links", "EndpointReachable").await;
                found.is_some_and(|it| it.reason == "UnexpectedResponse" && it.message.contains(words))
            })
            .await;
        }
        edge.stop();
        harness.until_condition("links", "EndpointReachable", "False", "ConnectionFailed").await;
        harness.until_condition("links", "Ready", "False", "ConnectionFailed").await;
        assert_eq!(harness.subscriptions().await.len(), 0, "an unreachable URL was registered");

        edge.set_directives(&receiver).unwrap();
        edge.start().unwrap();
        harness.until_condition("links", "EndpointReachable", "True", "ProbeSucceeded").await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        let endpoint = harness.status("links").await.endpoint.unwrap();
        // The expiry is unknown, since the probe goes through a proxy. `tests/it/probe.rs` checks it.
        assert_eq!((endpoint.last_probe_result, endpoint.certificate_expiration_time), (ProbeResult::Succeeded, None));
    })
    .await;
}
