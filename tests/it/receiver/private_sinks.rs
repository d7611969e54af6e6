//! Sinks with a certificate of a private authority, which the receiver trusts by the CA bundle.

use std::{net::SocketAddr, path::Path};

use linktree_operator::{
    receiver::{Args, Receiver, ReceiverError},
    route::Sink,
};
use url::Url;

use super::fixture::{BODY, Running, SECRET, delivery, route, sink, until};
use crate::{
    canned::answer,
    certificate_authority::CertificateAuthority,
    edge::{HOST, lasting_edge},
};

#[tokio::test]
async fn a_private_authority_is_trusted_once_the_bundle_has_it() {
    let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = CertificateAuthority::at(ours.path()).unwrap();
    let other = CertificateAuthority::at(other.path()).unwrap();
    let url: Url = lasting_edge(&authority.certify(HOST, 2099).unwrap(), answer("200 OK", ""));
    let sink = Sink { url: Sink::new("cms", url).url, ..sink("cms", SocketAddr::from(([127, 0, 0, 1], 1))) };
    let bundle = ours.path().join("bundle.pem");
    let receiver = Running::start_trusting(&route(vec![sink]), bundle.clone()).await;
    let sink = async || receiver.status().await.sinks.first().cloned();
    let failures = async || sink().await.map_or(0, |sink| sink.consecutive_failures);

    until("the receiver is ready", async || receiver.get("/readyz").await.status() == 200).await;
    // Without the bundle, deliveries are stored nevertheless.
    assert_eq!(receiver.deliver(&delivery("d1", BODY, SECRET)).await.0, 200);
    until("the sink's certificate is refused", async || failures().await >= 1).await;

    // An invalid bundle, then one of another authority, change nothing for the sink.
    std::fs::write(&bundle, "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n").unwrap();
    let refused = failures().await;
    until("it is refused again", async || failures().await > refused).await;
    std::fs::copy(&other.root, &bundle).unwrap();
    let refused = failures().await;
    until("it is refused again", async || failures().await > refused).await;

    // As trust-manager writes it: all authorities in one file.
    let both = [&other.root, &authority.root].map(|root| std::fs::read_to_string(root).unwrap()).concat();
    std::fs::write(&bundle, both).unwrap();
    until("the sink has the event", async || sink().await.is_some_and(|sink| sink.backlog == Some(0))).await;
    assert!(sink().await.unwrap().last_success_time.is_some());
}

#[tokio::test]
async fn a_bundle_that_does_not_parse_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("ca.crt");
    let bind = async |ca_file: &Path| {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        Receiver::bind(Args {
            route_file: directory.path().join("route.json"),
            journal: directory.path().join("journal"),
            delivery_address: local,
            admin_address: local,
            tls_directory: None,
            egress_allow: Vec::new(),
            ca_file: Some(ca_file.to_owned()),
        })
        .await
    };
    std::fs::write(&bundle, "not PEM").unwrap();
    let error = bind(&bundle).await.unwrap_err();
    assert!(matches!(error, ReceiverError::CaBundle { .. }));
    let expected = format!(
        "the CA bundle of --ca-file {} (in the chart: caBundle) cannot be used: it contains no certificate: add",
        bundle.display()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(!directory.path().join("journal").exists(), "nothing else was started");
    assert!(bind(Path::new("/no/such/file")).await.is_ok());
}
