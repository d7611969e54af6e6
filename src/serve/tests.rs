//! The limits, seen from a client.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::DropGuard;

use super::*;

const LIMITS: Limits = Limits {
    connections: 8,
    connections_per_address: 4,
    when_full: WhenFull::Wait,
    streams: 4,
    handshake: Duration::from_millis(300),
    header: Duration::from_millis(300),
    idle: Duration::from_millis(1200),
    header_fields: 16,
    header_bytes: 4096,
    drain: Duration::from_millis(300),
};
const DEADLINE: Duration = Duration::from_secs(15);

/// A server whose responses name the HTTP version of the request.
struct Server {
    address: std::net::SocketAddr,
    shutdown: DropGuard,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Server::start_over(Transport::Tcp, limits).await
    }

    async fn start_over(transport: Transport, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let service = service_fn(|request: Request<Incoming>| async move {
            Ok(Response::new(Full::new(Bytes::from(format!("{:?}", request.version())))))
        });
        let task = tokio::spawn(serve(listener, transport, service, limits, |_| {}, shutdown.clone()));
        Server { address, shutdown: shutdown.drop_guard(), task }
    }

    /// The same over TLS, with a self-signed certificate.
    async fn start_tls(limits: Limits) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        Server::start_over(Transport::Tls(TlsAcceptor::from(Arc::new(config))), limits).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(self) {
        drop(self.shutdown);
        timeout(DEADLINE, self.task).await.expect("it ends in time").unwrap();
    }
}

/// Reads until the server closes.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset after data is an end like any other.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut all)).await.expect("it closes in time");
    all
}

/// The beginning of an HTTP/2 connection: preface and empty settings.
fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET / http` as a whole request.
fn headers(stream: u32) -> Vec<u8> {
    frame(1, 0x5, stream, &[0x82, 0x84, 0x86, 0x41, 0x01, b'x'])
}

#[tokio::test]
async fn http1_and_http2_share_a_port_and_http2_can_be_disabled() {
    let server = Server::start(LIMITS).await;
    let url = format!("http://{}/", server.address);
    let client = reqwest::Client::builder().no_proxy();
    let first = client.build().unwrap().get(&url).send().await.unwrap().text().await.unwrap();
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let second = client.get(&url).send().await.unwrap().text().await.unwrap();
    assert_eq!((first.as_str(), second.as_str()), ("HTTP/1.1", "HTTP/2.0"));
    let server = Server::start(Limits { streams: 0, ..LIMITS }).await;
    assert!(client.get(format!("http://{}/", server.address)).send().await.is_err());
}

#[tokio::test]
async fn a_silent_connection_is_closed_at_every_stage() {
    let server = Server::start(LIMITS).await;
    for begun in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", b"POST / HTTP/1.1\r\nhost: x\r\n", &preface()] {
        let mut stream = server.connect().await;
        stream.write_all(begun).await.unwrap();
        read_to_end(&mut stream).await;
    }
    let mut after_request = server.connect().await;
    after_request.write_all(&[preface(), headers(1)].concat()).await.unwrap();
    let answer = read_to_end(&mut after_request).await;
    assert!(answer.windows(8).any(|window| window == b"HTTP/2.0"), "it was answered before");
}

#[tokio::test]
async fn the_idle_timeout_may_exceed_the_header_timeout() {
    let server = Server::start(Limits { idle: DEADLINE * 2, ..LIMITS }).await;
    let mut stream = server.connect().await;
    let mut answer = [0; 512];
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut answer).await.unwrap() > 0);
        // Silence is the case under test.
        assert!(timeout(LIMITS.header * 4, stream.read(&mut answer)).await.is_err(), "it was closed");
    }
    stream.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"", "an incomplete header is not idle time");
    let server = Server::start(LIMITS).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut stream).await.starts_with(b"HTTP/1.1 200"), "the idle timeout closes it");
}

#[tokio::test]
async fn a_handshake_has_a_timeout_and_counts_as_a_connection() {
    // Only the handshake's own limit can end it.
    let server = Server::start_tls(Limits { header: DEADLINE * 2, ..LIMITS }).await;
    for begun in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\0\x01\0\x01\xfc"] {
        let mut stream = server.connect().await;
        stream.write_all(begun).await.unwrap();
        read_to_end(&mut stream).await;
    }
    let server = Server::start_tls(Limits { handshake: DEADLINE * 2, ..LIMITS }).await;
    let mut kept = Vec::new();
    for _ in 0..LIMITS.connections_per_address {
        kept.push(server.connect().await);
    }
    assert_eq!(read_to_end(&mut server.connect().await).await, b"", "one too many");
    server.stop().await;
}

#[tokio::test]
async fn an_address_has_a_connection_limit_and_closing_frees_a_place() {
    let server = Server::start(LIMITS).await;
    let mut kept = Vec::new();
    for _ in 0..LIMITS.connections_per_address {
        let mut stream = server.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 16]).await.unwrap() > 0);
        kept.push(stream);
    }
    assert_eq!(read_to_end(&mut server.connect().await).await, b"", "one too many");
    drop(kept);
    let reconnected = async {
        loop {
            let mut stream = server.connect().await;
            if stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.is_ok()
                && read_to_end(&mut stream).await.starts_with(b"HTTP/1.1 200")
            {
                return;
            }
        }
    };
    timeout(DEADLINE, reconnected).await.expect("there is room again");
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let server = Server::start(Limits { header: DEADLINE, ..LIMITS }).await;
    let mut stream = server.connect().await;
    let mut flood = preface();
    for id in (1..4000).step_by(2) {
        flood.extend(headers(id));
        flood.extend(frame(3, 0, id, &8_u32.to_be_bytes()));
    }
    // The server may close before all of it is written.
    let _ = stream.write_all(&flood).await;
    let answer = read_to_end(&mut stream).await;
    let calm = [7, 0, 0, 0, 0, 0];
    assert!(answer.is_empty() || answer.windows(6).any(|window| window == calm), "it says GOAWAY: {answer:?}");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_idle_connections() {
    let server = Server::start(Limits { header: DEADLINE, ..LIMITS }).await;
    let mut idle = [server.connect().await, server.connect().await];
    idle[1].write_all(&preface()).await.unwrap();
    idle[1].read_exact(&mut [0; 9]).await.unwrap();
    server.stop().await;
    for stream in &mut idle {
        read_to_end(stream).await;
    }
}
