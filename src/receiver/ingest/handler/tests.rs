//! Requests that are answered before their body is read.

use std::{convert::Infallible, net::SocketAddr};

use async_trait::async_trait;
use hyper::service::service_fn;
use prometheus_client::registry::Registry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::{
    linktree::{
        headers::{self, SentAt},
        signature::Signature,
    },
    receiver::{
        ingest::{event::Event, limits::LIMITS},
        journal::{
            Appended, Backlog, Due, Pending, Position, Settings, Settlement,
            position::Arrivals,
            query::{DueQuery, Probe},
        },
        stats::{counters::DeliveryStats, metrics::Metrics},
    },
    route::{Route, status::JournalHealth},
    serve,
};

/// A journal on a disk that never answers.
struct Stuck;

#[async_trait]
impl Journal for Stuck {
    async fn append(&self, _: Event) -> Result<Appended, JournalError> {
        std::future::pending().await
    }

    async fn configure(&self, _: Settings) -> Result<(), JournalError> {
        Ok(())
    }

    async fn due(&self, _: &str, _: DueQuery) -> Result<Due, JournalError> {
        Ok(Due::default())
    }

    async fn probe(&self, _: &str, _: Probe, _: usize) -> Result<Option<Pending>, JournalError> {
        Ok(None)
    }

    async fn waiting(&self, _: &str, _: Position, _: usize) -> Result<Vec<(Pending, i64)>, JournalError> {
        Ok(Vec::new())
    }

    async fn settle(&self, _: &str, _: Vec<Settlement>) -> Result<(), JournalError> {
        Ok(())
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, JournalError> {
        Ok(Vec::new())
    }

    fn health(&self) -> JournalHealth {
        JournalHealth::Healthy
    }

    fn appended(&self) -> watch::Receiver<Arrivals> {
        watch::channel(Arrivals::default()).1
    }

    async fn close(&self) -> Result<(), JournalError> {
        Ok(())
    }
}

/// A handler on its own port over a [`Stuck`] journal, and the gauge of waiting deliveries.
async fn start(route: Route) -> (SocketAddr, Gauge, DropGuard) {
    let stats = Arc::new(DeliveryStats::new(Metrics::register(&mut Registry::default())));
    let config = watch::channel(Some(Arc::new(Config::new(route, String::new()).unwrap()))).1;
    let handler = Handler::new(config, Arc::new(Stuck), stats);
    let appending = handler.stats.metrics().appending.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let service = service_fn(move |request| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(handler.answer(request).await) }
    });
    tokio::spawn(serve::serve(listener, serve::Transport::Tcp, service, LIMITS, |_| {}, shutdown.clone()));
    (address, appending, shutdown.drop_guard())
}

/// The answer to a request that never sends its body.
async fn answer_without_body(address: SocketAddr, route: &Route) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (signature, sent_at) = ("ab".repeat(32), clock::now().as_second());
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nx-linktree-signature: {signature}\r\nx-linktree-timestamp: {sent_at}\r\n\r\n",
        route.path
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 512];
    let length = timeout(Duration::from_secs(5), stream.read(&mut answer)).await.expect("at once").unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn an_overloaded_journal_rejects_deliveries_before_their_body_is_read() {
    let route = route::tests::route();
    let (address, appending, _shutdown) = start(route.clone()).await;
    let url = format!("http://{address}{}", route.path);
    let sent_at = SentAt::from_seconds(clock::now().as_second()).unwrap();
    let signature = Signature::sign(&route.keys[0].secret, &sent_at, b"{}").to_hex();
    let senders = journal::QUEUE_CAPACITY / LIMITS.streams as usize;
    let clients = (0..senders).map(|_| reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap());
    let mut waiting = tokio::task::JoinSet::new();
    for client in clients {
        for _ in 0..LIMITS.streams {
            let request = client.post(&url).header(headers::SIGNATURE, &signature);
            waiting.spawn(request.header(headers::TIMESTAMP, sent_at.as_str()).body("{}").send());
        }
    }
    let all = async {
        while appending.get() < journal::QUEUE_CAPACITY as i64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(JOURNAL_TIMEOUT, all).await.expect("all of them wait");
    let answer = answer_without_body(address, &route).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 10"), "{answer}");
    waiting.abort_all();
    while waiting.join_next().await.is_some() {}
    let none = async {
        while appending.get() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(JOURNAL_TIMEOUT, none).await.expect("a disconnected sender does not count as waiting");
}

#[tokio::test]
async fn without_keys_no_body_is_read() {
    let route = Route { keys: Vec::new(), ..route::tests::route() };
    let (address, _, _shutdown) = start(route.clone()).await;
    let answer = answer_without_body(address, &route).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}
