//! Sinks: one that records the times and answers each event as it is told, at once unless told otherwise, and one that
//! accepts connections and never answers.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

use crate::{request, server::pin_generator};

/// How the sink answers an event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behavior {
    /// It accepts the event after this time.
    After(Duration),
    /// It answers 500.
    Fail,
}

/// A sink. Runs until the process ends.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    behavior: fn(usize) -> Behavior,
    arrivals: Arc<Mutex<HashMap<usize, Instant>>>,
    taken: Arc<std::sync::atomic::AtomicUsize>,
}

impl Sink {
    /// A sink that accepts everything at once.
    pub(crate) fn start() -> Result<Self> {
        Sink::behaving(|_| Behavior::After(Duration::ZERO))
    }

    /// A sink that answers the event of each request, by number, as `behavior` says.
    pub(crate) fn behaving(behavior: fn(usize) -> Behavior) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let sink = Sink { address, behavior, arrivals: Arc::default(), taken: Arc::default() };
        let shared = sink.clone();
        thread::spawn(move || {
            pin_generator()?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(shared.serve(listener))
        });
        Ok(sink)
    }

    async fn serve(self, listener: TcpListener) -> Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let sink = self.clone();
            let service = service_fn(move |request| {
                let sink = sink.clone();
                async move { Ok::<_, Infallible>(sink.take(request).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    }

    async fn take(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let id = request.headers().get("ce-id").and_then(|id| request::number(id.to_str().ok()?));
        if let Some(number) = id {
            self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_insert_with(Instant::now);
        }
        // The rest of a broken body is irrelevant.
        let _ = request.into_body().collect().await;
        let mut answer = Response::new(Full::default());
        match id.map(self.behavior) {
            Some(Behavior::Fail) => *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
            Some(Behavior::After(delay)) if !delay.is_zero() => tokio::time::sleep(delay).await,
            Some(Behavior::After(_)) | None => {}
        }
        if answer.status().is_success() {
            self.taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        answer
    }

    /// The first arrival of each request's event.
    pub(crate) fn arrivals(&self) -> HashMap<usize, Instant> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of accepted requests.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// A sink that accepts connections and never answers. Runs until the process exits.
pub(crate) fn black_hole() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    Ok(address)
}
