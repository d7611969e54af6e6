//! The operator's requests through a forward proxy, to servers with a certificate of a private authority.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use linktree_operator::{
    ca_bundle,
    egress::{Egress, outbound::Outbound, proxies::Proxies},
    linktree::{
        client::{HttpLinktree, Linktree, Transport},
        error::ApiError,
        secret::Secret,
        wire::Account,
    },
    operator::ports::{Probe, ProbeResult, Prober},
    route::{RECEIVER_HEADER, UNSIGNED_ANSWER},
};
use reqwest::Certificate;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use url::Url;

use crate::{
    canned::{Canned, answer},
    certificate_authority::CertificateAuthority,
    edge::edge,
};

/// A host that only the proxy can resolve.
const HOST: &str = "api.linktree.example";
/// The credentials of the proxy's users.
const CREDENTIALS: &str = "user:p%40ss";

/// A proxy that tunnels each connection to one server. Stopped with the test's runtime.
struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn to(server: &Url) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, heads) = (listener.local_addr().unwrap(), Arc::default());
        let (proxy, port) = (Proxy { address, heads: Arc::clone(&heads) }, server.port().unwrap());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                heads.lock().unwrap().push(String::from_utf8(head).unwrap());
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                // A client that rejects the certificate disconnects.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
        proxy
    }

    /// The settings of a client that uses this proxy for HTTPS, except for the hosts in `except`.
    fn outbound(&self, authorities: Vec<Certificate>, except: &str) -> Outbound {
        // By a name: only names are resolved. The rules deny its loopback address to everything else.
        let proxy = format!("http://{CREDENTIALS}@localhost:{}", self.address.port());
        let proxies = proxies(&[("HTTPS_PROXY", &proxy), ("NO_PROXY", except)]);
        Outbound { egress: Egress::default(), authorities, proxies }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn proxies(variables: &[(&str, &str)]) -> Proxies {
    let value = |name: &str| variables.iter().find(|(variable, _)| *variable == name);
    Proxies::of(|name| value(name).map(|(_, value)| (*value).to_owned())).unwrap()
}

/// A server at [`HOST`] that answers one request, and its authority as `--ca-file` has it.
fn server(answer: String) -> (Url, Vec<Certificate>) {
    let directory = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::at(directory.path()).unwrap();
    let url = edge(Some(&authority.certify(HOST, 2099).unwrap()), answer);
    (url, ca_bundle::read(&authority.root).unwrap())
}

fn probed() -> (Url, Vec<Certificate>) {
    server(answer(&format!("401 Unauthorized\r\n{RECEIVER_HEADER}: 1"), UNSIGNED_ANSWER))
}

async fn account(outbound: Outbound, base: &str) -> Result<Account, ApiError> {
    let transport = Transport::new(outbound).unwrap();
    let (base, token) = (Url::parse(base).unwrap(), Secret::new("lt_test_t0ken"));
    HttpLinktree::new(&transport, base, &token, Duration::from_secs(5)).unwrap().account().await
}

async fn probe(outbound: Outbound, url: &str) -> ProbeResult {
    Prober::new(outbound).unwrap().probe(&Url::parse(url).unwrap(), None).await
}

#[tokio::test]
async fn linktree_is_reached_through_the_proxy_and_trusted_by_the_ca_bundle() {
    let (url, authorities) = server(answer("200 OK", r#"{"id":"acc_1","plan":"Pro"}"#));
    let proxy = Proxy::to(&url).await;
    let account = account(proxy.outbound(authorities, ""), &format!("https://{HOST}/")).await.unwrap();
    assert_eq!(account.plan.as_deref(), Some("Pro"));
    let heads = proxy.heads();
    assert!(heads[0].starts_with(&format!("CONNECT {HOST}:443 HTTP/1.1\r\n")), "{heads:?}");
    // The base64 of `user:p@ss`. The token is inside the tunnel only.
    assert!(heads[0].to_lowercase().contains("proxy-authorization: basic dxnlcjpwqhnz\r\n"), "{heads:?}");
    assert!(!heads[0].contains("lt_test"), "{heads:?}");
}

#[tokio::test]
async fn without_the_ca_bundle_a_private_certificate_is_refused() {
    let (url, _) = server(answer("200 OK", "{}"));
    let proxy = Proxy::to(&url).await;
    let refused = account(proxy.outbound(Vec::new(), ""), &format!("https://{HOST}/")).await.unwrap_err();
    let ApiError::Unreachable { problem, .. } = &refused else { panic!("{refused:?}") };
    assert!(problem.contains("invalid peer certificate"), "{problem}");
    let (url, _) = probed();
    let proxy = Proxy::to(&url).await;
    let refused = probe(proxy.outbound(Vec::new(), ""), &format!("https://{HOST}/h/1")).await;
    assert_eq!(refused, ProbeResult::CertificateUntrusted);
}

#[tokio::test]
async fn a_probe_goes_through_the_proxy() {
    let (url, authorities) = probed();
    let proxy = Proxy::to(&url).await;
    let result = probe(proxy.outbound(authorities, ""), &format!("https://{HOST}/h/1")).await;
    // reqwest has no certificate of a connection through a tunnel.
    assert_eq!(result, ProbeResult::Succeeded { certificate_expires: None });
    assert_eq!(proxy.heads().len(), 1);
}

#[tokio::test]
async fn a_request_without_tls_uses_the_proxy_for_http() {
    let proxy = Canned::answering([answer("200 OK", r#"{"id":"acc_1","plan":"Pro"}"#)]).await;
    let proxies = proxies(&[("http_proxy", proxy.base.as_str())]);
    let outbound = Outbound { proxies, ..Outbound::default() };
    assert!(account(outbound, &format!("http://{HOST}/")).await.is_ok());
    let requests = proxy.requests();
    assert!(requests[0].starts_with(&format!("GET http://{HOST}/v1/me HTTP/1.1\r\n")), "{requests:?}");
}

#[tokio::test]
async fn the_egress_rules_apply_to_each_request_that_the_proxy_does_not_get() {
    let (url, authorities) = probed();
    let proxy = Proxy::to(&url).await;
    let port = proxy.address.port();
    let outbound = |except: &str| proxy.outbound(authorities.clone(), except);
    for (except, url) in [
        ("", format!("http://localhost:{port}/")),
        ("localhost", format!("https://localhost:{port}/")),
        ("", format!("https://127.0.0.1:{port}/")),
        ("", "https://169.254.169.254/".to_owned()),
        ("", "https://10.0.0.1/".to_owned()),
    ] {
        let result = probe(outbound(except), &url).await;
        assert!(matches!(result, ProbeResult::AddressDenied { .. }), "{url} except {except}: {result:?}");
    }
    let unresolved = probe(outbound(".example"), &format!("https://{HOST}/")).await;
    assert!(matches!(unresolved, ProbeResult::DnsFailed { .. }), "{unresolved:?}");
    assert_eq!(proxy.heads(), Vec::<String>::new());
}
