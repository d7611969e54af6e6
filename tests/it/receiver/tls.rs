//! TLS in the receiver: the certificate is replaced under load, and an invalid one is reported and not used.

use linktree_operator::route::{CERTIFICATE_FILE, CERTIFICATE_KEY_FILE};
use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client, Version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::fixture::{PATH, Running, numbered, route, signed, until};

const HOST: &str = "hooks.example.com";

/// A self-signed certificate and its key.
fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![HOST.to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn install(receiver: &Running, certificate: &str, key: &str) {
    std::fs::write(receiver.directory.path().join(CERTIFICATE_FILE), certificate).unwrap();
    std::fs::write(receiver.directory.path().join(CERTIFICATE_KEY_FILE), key).unwrap();
}

/// A client that trusts only this certificate.
fn trusting(receiver: &Running, certificate: &str, http1: bool) -> Client {
    let trusted = Certificate::from_pem(certificate.as_bytes()).unwrap();
    let client = Client::builder().no_proxy().resolve(HOST, receiver.delivery).tls_certs_only([trusted]);
    if http1 { client.http1_only() } else { client }.build().unwrap()
}

async fn deliver(receiver: &Running, client: &Client, n: usize) -> Result<(u16, Version), reqwest::Error> {
    let url = format!("https://{HOST}:{}{PATH}", receiver.delivery.port());
    let answer = signed(client.post(url), &numbered(n)).send().await?;
    Ok((answer.status().as_u16(), answer.version()))
}

#[tokio::test]
async fn a_certificate_is_replaced_under_load() {
    let ((first, first_key), (second, second_key)) = (pair(), pair());
    let receiver = Running::start_with_tls(&route(vec![])).await;
    // The admin port may respond before the files have been read for the first time.
    let readiness = async || receiver.get("/readyz").await.text().await.unwrap();
    assert_eq!(receiver.get("/readyz").await.status(), 503, "ready without a certificate");
    until("it is unready for want of a certificate", async || readiness().await.contains("tls.crt cannot be read"))
        .await;
    install(&receiver, &first, &first_key);
    until("the receiver is ready", async || receiver.get("/readyz").await.status() == 200).await;

    let (old, old_http1) = (trusting(&receiver, &first, false), trusting(&receiver, &first, true));
    assert_eq!(deliver(&receiver, &old, 1).await.unwrap(), (200, Version::HTTP_2));
    assert_eq!(deliver(&receiver, &old_http1, 2).await.unwrap(), (200, Version::HTTP_11));
    let mut plain = TcpStream::connect(receiver.delivery).await.unwrap();
    plain.write_all(b"POST /h/abc HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "the receiver answered plain HTTP");

    install(&receiver, &second, &second_key);
    let new = trusting(&receiver, &second, false);
    let mut sent = 3;
    until("new connections get the new certificate", async || deliver(&receiver, &new, 3).await.is_ok()).await;
    for client in [&old, &old_http1, &new] {
        sent += 1;
        assert_eq!(deliver(&receiver, client, sent).await.unwrap().0, 200, "an existing connection failed");
    }
    let late = trusting(&receiver, &first, false);
    assert!(deliver(&receiver, &late, 9).await.is_err(), "the old certificate is still served");
    assert_eq!(receiver.status().await.last_hour.verified, 6);
}

#[tokio::test]
async fn an_invalid_pair_is_reported_and_the_valid_one_stays() {
    let ((good, key), (other, _)) = (pair(), pair());
    let receiver = Running::start_with_tls(&route(vec![])).await;
    install(&receiver, &good, &key);
    until("the receiver is ready", async || receiver.get("/readyz").await.status() == 200).await;
    install(&receiver, &other, &key);
    until("the status has the problem", async || receiver.status().await.certificate.unwrap().problem.is_some()).await;
    let certificate = receiver.status().await.certificate.unwrap();
    assert_eq!(certificate.problem.unwrap(), "tls.key is not the key of the certificate in tls.crt");
    assert!(certificate.serving && receiver.get("/readyz").await.status() == 200);
    assert_eq!(deliver(&receiver, &trusting(&receiver, &good, false), 1).await.unwrap().0, 200);
    install(&receiver, &good, &key);
    until("the problem is resolved", async || receiver.status().await.certificate.unwrap().problem.is_none()).await;
}
