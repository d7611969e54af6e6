//! The admin port, seen from a client.

use std::net::{Ipv4Addr, SocketAddr};

use prometheus_client::metrics::counter::Counter;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Notify,
    task::JoinSet,
};

use crate::open_files;

use super::*;

const DEADLINE: Duration = Duration::from_secs(15);

/// Serves on a free port and returns status and body of `GET path`.
async fn get(registry: Registry, readiness: Readiness, path: &str) -> (u16, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{path}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(listener, router(Arc::new(registry), readiness), shutdown.clone()));
    let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap();
    let answer = (answer.status().as_u16(), answer.text().await.unwrap());
    shutdown.cancel();
    server.await.unwrap();
    answer
}

#[tokio::test]
async fn an_unready_service_is_healthy_and_gives_the_reason() {
    let unready = Readiness::new(|| Err("no route file yet".into()));
    assert_eq!(get(Registry::default(), unready.clone(), "/healthz").await, (200, "ok\n".into()));
    assert_eq!(get(Registry::default(), unready, "/readyz").await, (503, "no route file yet\n".into()));
    assert_eq!(get(Registry::default(), Readiness::new(|| Ok(())), "/readyz").await, (200, "ok\n".into()));
}

#[tokio::test]
async fn metrics_are_openmetrics_text() {
    let mut registry = Registry::default();
    let counter = Counter::<u64>::default();
    registry.register("deliveries", "Deliveries by verdict", counter.clone());
    counter.inc_by(3);
    let (status, body) = get(registry, Readiness::new(|| Ok(())), "/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("deliveries_total 3") && body.ends_with("# EOF\n"), "{body}");
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_waits_only_so_long_for_a_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let begun = Arc::new(Notify::new());
    let notify = Arc::clone(&begun);
    let router = Router::new().route(
        "/hangs",
        axum::routing::get(async move || {
            notify.notify_one();
            std::future::pending::<()>().await;
        }),
    );
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(listener, router, shutdown.clone()));
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(b"GET /hangs HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    timeout(DEADLINE, begun.notified()).await.expect("the request arrives");
    shutdown.cancel();
    assert_eq!(timeout(DEADLINE, idle.read(&mut [0; 1])).await.expect("it closes").unwrap(), 0);
    timeout(DEADLINE, server).await.expect("it ends in time").unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "it still listens");
}

/// The address of a running admin port with a request that never ends at `/hangs`; it stops with the test's runtime.
async fn started() -> SocketAddr {
    let listener = serve::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let router = router(Arc::new(Registry::default()), Readiness::new(|| Ok(())))
        .route("/hangs", axum::routing::post(|_: axum::body::Bytes| async {}));
    tokio::spawn(serve(listener, router, CancellationToken::new()));
    address
}

/// A connection of the n-th client, which has sent these bytes.
async fn held(to: SocketAddr, from: Ipv4Addr, bytes: &[u8]) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(to).await?;
    stream.write_all(bytes).await?;
    Ok(stream)
}

/// The bytes that clients send before they fall silent: none, a part of a header, a request whose body does not come, and
/// a complete request on a connection that is kept alive.
const HELD: [&[u8]; 4] = [
    b"",
    b"GET /healthz HTTP/1.1\r\nho",
    b"POST /hangs HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
];

/// Asserts that probes from this address are answered within the timeout of a kubelet's probe, each over its own
/// connection.
async fn assert_probes_pass(address: SocketAddr, from: Ipv4Addr, beside: &str) {
    for path in ["/healthz", "/readyz", "/metrics"].repeat(3) {
        let probe = async {
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            let mut stream = held(address, from, request.as_bytes()).await.unwrap();
            let mut response = Vec::new();
            stream.read_to_end(&mut response).await.unwrap();
            String::from_utf8_lossy(&response).into_owned()
        };
        let response = timeout(Duration::from_secs(1), probe).await;
        let response = response.unwrap_or_else(|_| panic!("{path} from {from} was not answered beside {beside}"));
        assert!(response.starts_with("HTTP/1.1 200"), "{path} from {from} beside {beside}: {response:?}");
    }
}

fn client(of: usize, n: usize) -> Ipv4Addr {
    let n = u32::try_from(n % of).unwrap();
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 0).to_bits() + n)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_answered_beside_connections_that_are_held_open() {
    open_files::raise_limit();
    for (count, addresses) in [(64, 1), (64, 64), (1000, 1), (1000, 10), (1000, 1000)] {
        for bytes in HELD {
            let address = started().await;
            let mut connections = Vec::new();
            for n in 0..count {
                // An evicted connection may refuse the bytes.
                connections.extend(held(address, client(addresses, n), bytes).await);
            }
            let beside = format!("{count} connections of {addresses} addresses that sent \"{}\"", bytes.escape_ascii());
            assert_probes_pass(address, client(addresses, 0), &beside).await;
            assert_probes_pass(address, Ipv4Addr::LOCALHOST, &beside).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_answered_while_clients_reconnect_without_end() {
    let address = started().await;
    let mut flood = JoinSet::new();
    for n in 0..100 {
        flood.spawn(async move {
            loop {
                if let Ok(mut stream) = held(address, client(50, n), HELD[n % HELD.len()]).await {
                    // Until it is evicted, or answered.
                    let _ = stream.read(&mut [0; 1]).await;
                }
            }
        });
    }
    assert_probes_pass(address, Ipv4Addr::LOCALHOST, "a flood").await;
}

#[tokio::test]
async fn every_silent_connection_is_closed_soon() {
    let address = started().await;
    let mut held_open = Vec::new();
    for (n, bytes) in HELD.iter().enumerate() {
        held_open.push(held(address, client(4, n), bytes).await.unwrap());
    }
    for mut stream in held_open {
        // Longer than the timeouts of admin ports, and shorter than those of a port for deliveries.
        timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.expect("it closes in time").unwrap();
    }
}
