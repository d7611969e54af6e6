//! The probe against real servers, each with what can be wrong at an edge.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use jiff::Timestamp;
use linktree_operator::{
    operator::ports::{Probe, ProbeResult, Prober},
    route::{RECEIVER_HEADER, UNSIGNED_ANSWER},
};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use url::Url;

use crate::canned::answer;

/// The name that the probes ask for.
const HOST: &str = "localhost";

/// An authority of the test's own.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// A server's certificate for `name` that ends with the last day of `year`.
    fn server(&self, name: &str, year: i32) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        serving(&certificate, &key)
    }

    fn prober(&self) -> Prober {
        Prober::new(self.pem.as_bytes()).unwrap()
    }
}

fn serving(certificate: &Certificate, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap())
}

/// A server that takes one connection, and answers it; over TLS if it has a certificate.
fn edge(certificate: Option<Arc<ServerConfig>>, answer: String) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scheme = if certificate.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{HOST}:{}/h/1", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // A client that does not like the certificate goes away, which is what some of the tests are for.
        let _ = match certificate {
            None => reply(stream, &answer),
            Some(config) => reply(StreamOwned::new(ServerConnection::new(config).unwrap(), stream), &answer),
        };
    });
    url.parse().unwrap()
}

fn reply(mut stream: impl Read + Write, answer: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        request.push(byte[0]);
    }
    stream.write_all(answer.as_bytes())?;
    stream.flush()
}

fn ours() -> String {
    answer(&format!("401 Unauthorized\r\n{RECEIVER_HEADER}: 1"), UNSIGNED_ANSWER)
}

#[tokio::test]
async fn our_own_401_is_the_proof_and_tells_when_the_certificate_ends() {
    let authority = Authority::new();
    let result = authority.prober().probe(&edge(Some(authority.server(HOST, 2099)), ours())).await;
    let end: Timestamp = "2099-12-31T00:00:00Z".parse().unwrap();
    assert_eq!(result, ProbeResult::Succeeded { certificate_expires: Some(end) });
    let plain = authority.prober().probe(&edge(None, ours())).await;
    assert_eq!(plain, ProbeResult::Succeeded { certificate_expires: None });
}

#[tokio::test]
async fn what_can_be_wrong_with_a_certificate_is_told_apart() {
    let authority = Authority::new();
    let expired = authority.prober().probe(&edge(Some(authority.server(HOST, 2024)), ours())).await;
    let end: Timestamp = "2024-12-31T00:00:00Z".parse().unwrap();
    assert_eq!(expired, ProbeResult::CertificateExpired { at: Some(end) });
    let other = authority.prober().probe(&edge(Some(authority.server("other.example.com", 2099)), ours())).await;
    assert_eq!(other, ProbeResult::CertificateNameMismatch);
    let stranger = Authority::new().prober().probe(&edge(Some(authority.server(HOST, 2099)), ours())).await;
    assert_eq!(stranger, ProbeResult::CertificateUntrusted);
    let own_key = KeyPair::generate().unwrap();
    let mut own = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let self_signed = serving(&own.self_signed(&own_key).unwrap(), &own_key);
    let self_signed = authority.prober().probe(&edge(Some(self_signed), ours())).await;
    assert_eq!(self_signed, ProbeResult::CertificateUntrusted);
    let speaks_first = TcpListener::bind("127.0.0.1:0").unwrap();
    let no_tls = format!("https://{HOST}:{}/h/1", speaks_first.local_addr().unwrap().port()).parse().unwrap();
    std::thread::spawn(move || speaks_first.accept().unwrap().0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let no_tls = authority.prober().probe(&no_tls).await;
    assert!(matches!(no_tls, ProbeResult::TlsFailed { .. }), "{no_tls:?}");
}

#[tokio::test]
async fn what_else_may_answer_is_told_apart_and_never_followed() {
    let long = format!("302 Found\r\nlocation: https://elsewhere.example/{}", "x".repeat(4000));
    let cases = [
        (
            answer("301 Moved Permanently\r\nlocation: https://login.example/?next=\u{e9}", ""),
            r"a redirect (301 Moved Permanently) to https://login.example/?next=\xc3\xa9, which",
        ),
        (answer(&long, ""), "a redirect (302 Found) to https://elsewhere.example/xxx"),
        (answer("200 OK", "<!DOCTYPE html><p>Welcome"), "200 OK with an HTML page"),
        (answer("502 Bad Gateway", "<html>nginx"), "502 Bad Gateway with an HTML page"),
        (answer("401 Unauthorized", UNSIGNED_ANSWER), "401 Unauthorized from something that asks for credentials"),
        (answer("404 Not Found", "no"), "404 Not Found with an answer that is not the receiver's"),
        (
            answer(&format!("404 Not Found\r\n{RECEIVER_HEADER}: 1"), ""),
            "a receiver answered 404 Not Found, and not this",
        ),
    ];
    let authority = Authority::new();
    for (answer, words) in cases {
        let result = authority.prober().probe(&edge(Some(authority.server(HOST, 2099)), answer)).await;
        let ProbeResult::Unexpected { problem } = &result else { panic!("{words}: {result:?}") };
        assert!(problem.contains(words) && problem.len() < 400, "{problem}");
    }
}

#[tokio::test]
async fn a_host_without_a_name_and_an_edge_that_is_not_there_have_different_remedies() {
    let prober = Prober::new(b"").unwrap();
    let unknown = prober.probe(&Url::parse("https://receiver.invalid/h/1").unwrap()).await;
    assert!(matches!(unknown, ProbeResult::DnsFailed { .. }), "{unknown:?}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("https://{}/h/1", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let closed = prober.probe(&url).await;
    assert!(matches!(&closed, ProbeResult::ConnectionFailed { problem } if problem.contains("refused")), "{closed:?}");
    // It is not there for long enough to speak.
    let cut = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("https://{}/h/1", cut.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || drop::<std::io::Result<TcpStream>>(cut.accept().map(|(stream, _)| stream)));
    let cut = prober.probe(&url).await;
    assert!(matches!(cut, ProbeResult::ConnectionFailed { .. }), "{cut:?}");
}
