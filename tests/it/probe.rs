//! The probe with real servers, each with one fault of an edge.

use std::{
    fs,
    io::Write,
    net::{TcpListener, TcpStream},
};

use jiff::Timestamp;
use linktree_operator::{
    egress::{Egress, outbound::Outbound},
    linktree::secret::Secret,
    operator::ports::{Challenge, Probe, ProbeResult, Prober},
    route::{RECEIVER_HEADER, Route, UNSIGNED_ANSWER, proof::PROOF_HEADER},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use url::Url;

use crate::{
    canned::answer,
    certificate_authority::{Certificate, CertificateAuthority},
    edge::{HOST, edge},
    receiver::fixture::{PATH, Running, route},
};

/// A certificate authority, and a prober that trusts it.
fn trusted() -> (CertificateAuthority, Prober) {
    let directory = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::at(directory.path()).unwrap();
    let root = reqwest::Certificate::from_pem(&fs::read(&authority.root).unwrap()).unwrap();
    let prober = Prober::new(Outbound { authorities: vec![root], ..Outbound::direct(loopback()) }).unwrap();
    (authority, prober)
}

/// The egress rules of these tests, whose servers are on this machine.
fn loopback() -> Egress {
    Egress::default().with_loopback()
}

#[tokio::test]
async fn an_address_that_is_not_public_is_not_connected_to() {
    let (authority, _) = trusted();
    let url = edge(Some(&authority.certify(HOST, 2099).unwrap()), ours());
    let prober = Prober::new(Outbound::default()).unwrap();
    for host in [HOST, "127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.1", "[fd00:ec2::254]"] {
        let mut url = url.clone();
        url.set_host(Some(host)).unwrap();
        let result = prober.probe(&url, None).await;
        assert!(matches!(result, ProbeResult::AddressDenied { .. }), "{host}: {result:?}");
    }
}

fn ours() -> String {
    answer(&format!("401 Unauthorized\r\n{RECEIVER_HEADER}: 1"), UNSIGNED_ANSWER)
}

#[tokio::test]
async fn our_own_401_is_the_proof_and_tells_when_the_certificate_ends() {
    let (authority, prober) = trusted();
    let result = prober.probe(&edge(Some(&authority.certify(HOST, 2099).unwrap()), ours()), None).await;
    let end: Timestamp = "2099-12-31T00:00:00Z".parse().unwrap();
    assert_eq!(result, ProbeResult::Succeeded { certificate_expires: Some(end) });
    let plain = prober.probe(&edge(None, ours()), None).await;
    assert_eq!(plain, ProbeResult::Succeeded { certificate_expires: None });
}

#[tokio::test]
async fn only_the_receiver_with_the_webhooks_key_and_route_answers_the_challenge() {
    let prober = Prober::new(Outbound::direct(loopback())).unwrap();
    let route = route(Vec::new());
    let receiver = Running::start(&route).await;
    let url = Url::parse(&format!("http://{}{PATH}", receiver.delivery)).unwrap();
    let (key, digest) = (&route.probe_key, Route::digest(&route.render().unwrap()));
    let succeeds = async |url: &Url, challenge: &Challenge| {
        matches!(prober.probe(url, Some(challenge)).await, ProbeResult::Succeeded { .. })
    };
    for challenge in [Challenge::new(key, &digest, None), Challenge::new(key, "not loaded yet", Some(&digest))] {
        assert!(succeeds(&url, &challenge).await);
    }
    let other_cluster = Challenge::new(&Secret::new("another key"), &digest, Some(&digest));
    let admin_token = Challenge::new(&route.admin_token, &digest, None);
    for challenge in [other_cluster, admin_token, Challenge::new(key, "another route", None)] {
        assert!(!succeeds(&url, &challenge).await, "{challenge:?}");
    }
    // A captured proof, replayed.
    let nonce = "00".repeat(32);
    let sent = receiver.client.post(url.clone()).header("x-linktree-probe", &nonce).send().await.unwrap();
    let proof = sent.headers()[PROOF_HEADER].to_str().unwrap().to_owned();
    let replayed = format!("401 Unauthorized\r\n{RECEIVER_HEADER}: 1\r\n{PROOF_HEADER}: {proof}");
    let challenge = Challenge::new(key, &digest, None);
    assert!(!succeeds(&edge(None, answer(&replayed, UNSIGNED_ANSWER)), &challenge).await);
    assert!(!succeeds(&edge(None, ours()), &challenge).await, "a receiver without a proof");
    let signed = receiver.client.post(url.clone()).header("x-linktree-probe", &nonce);
    let signed = signed.header("x-linktree-signature", "00".repeat(32)).header("x-linktree-timestamp", "1");
    assert!(!signed.send().await.unwrap().headers().contains_key(PROOF_HEADER), "only a probe gets a proof");
}

/// A self-signed certificate.
fn self_signed() -> Certificate {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Certificate { own: params.self_signed(&key).unwrap().pem(), chain: String::new(), key: key.serialize_pem() }
}

#[tokio::test]
async fn certificate_faults_are_distinguished() {
    let (authority, prober) = trusted();
    let end: Timestamp = "2024-12-31T00:00:00Z".parse().unwrap();
    let right = || authority.certify(HOST, 2099).unwrap();
    for (what, certificate, result) in [
        ("expired", authority.certify(HOST, 2024).unwrap(), ProbeResult::CertificateExpired { at: Some(end) }),
        (
            "for another host",
            authority.certify("other.example.com", 2099).unwrap(),
            ProbeResult::CertificateNameMismatch,
        ),
        ("of an unknown authority", trusted().0.certify(HOST, 2099).unwrap(), ProbeResult::CertificateUntrusted),
        ("without its chain", Certificate { chain: String::new(), ..right() }, ProbeResult::CertificateUntrusted),
        ("self-signed", self_signed(), ProbeResult::CertificateUntrusted),
    ] {
        assert_eq!(prober.probe(&edge(Some(&certificate), ours()), None).await, result, "{what}");
    }
    let speaks_first = TcpListener::bind("127.0.0.1:0").unwrap();
    let no_tls = format!("https://{HOST}:{}/h/1", speaks_first.local_addr().unwrap().port()).parse().unwrap();
    std::thread::spawn(move || speaks_first.accept().unwrap().0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let no_tls = prober.probe(&no_tls, None).await;
    assert!(matches!(no_tls, ProbeResult::TlsFailed { .. }), "{no_tls:?}");
}

#[tokio::test]
async fn foreign_responses_are_distinguished_and_redirects_not_followed() {
    let long = format!("302 Found\r\nlocation: https://elsewhere.example/{}", "x".repeat(4000));
    let cases = [
        (
            answer("301 Moved Permanently\r\nlocation: https://login.example/?next=\u{e9}", ""),
            "a redirect (301 Moved Permanently) to https://login.example, which",
        ),
        (answer(&long, ""), "a redirect (302 Found) to https://elsewhere.example, which"),
        (answer("200 OK", "<!DOCTYPE html><p>Welcome"), "200 OK with an HTML page"),
        (answer("502 Bad Gateway", "<html>nginx"), "502 Bad Gateway with an HTML page"),
        (
            answer("401 Unauthorized", UNSIGNED_ANSWER),
            "401 Unauthorized from a server or proxy that asks for credentials",
        ),
        (answer("404 Not Found", "no"), "404 Not Found with an answer that is not the receiver's"),
        (
            answer(&format!("404 Not Found\r\n{RECEIVER_HEADER}: 1"), ""),
            "a receiver answered 404 Not Found, but not this",
        ),
    ];
    let (authority, prober) = trusted();
    let certificate = authority.certify(HOST, 2099).unwrap();
    for (answer, words) in cases {
        let result = prober.probe(&edge(Some(&certificate), answer), None).await;
        let (problem, foreign) = if let ProbeResult::Foreign { status, problem, certificate_expires } = &result {
            assert!(certificate_expires.is_some());
            (problem, Some(*status))
        } else {
            let ProbeResult::Unexpected { problem } = &result else { panic!("{words}: {result:?}") };
            (problem, None)
        };
        assert!(problem.contains(words) && problem.len() < 400, "{problem}");
        let is_foreign = !words.contains("redirect") && !words.starts_with("a receiver");
        assert_eq!(foreign, is_foreign.then(|| words[..3].parse().unwrap()), "{words}");
    }
}

#[tokio::test]
async fn an_unresolved_host_and_a_missing_edge_have_different_remedies() {
    let prober = Prober::new(Outbound::direct(loopback())).unwrap();
    let unknown = prober.probe(&Url::parse("https://receiver.invalid/h/1").unwrap(), None).await;
    assert!(matches!(unknown, ProbeResult::DnsFailed { .. }), "{unknown:?}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("https://{}/h/1", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let closed = prober.probe(&url, None).await;
    assert!(matches!(&closed, ProbeResult::ConnectionFailed { problem } if problem.contains("refused")), "{closed:?}");
    // The server disconnects before it responds.
    let cut = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("https://{}/h/1", cut.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || drop::<std::io::Result<TcpStream>>(cut.accept().map(|(stream, _)| stream)));
    let cut = prober.probe(&url, None).await;
    assert!(matches!(cut, ProbeResult::ConnectionFailed { .. }), "{cut:?}");
}
