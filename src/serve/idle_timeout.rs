//! Idle and header timeouts of a connection: a client may be silent for long between two requests, but must send a
//! header that it has begun within a short time.

use std::{
    convert::Infallible,
    future::Future,
    io::{IoSlice, Result},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    service::{Service, service_fn},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};

/// The timeouts of one connection.
#[derive(Debug)]
pub(super) struct IdleTimeout {
    header: Duration,
    idle: Duration,
    activity: Arc<Activity>,
}

/// The requests of one connection so far.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Number of requests so far whose header was complete.
    begun: AtomicU64,
    /// Number of those requests that are in flight.
    running: AtomicUsize,
    /// Whether bytes have arrived since the last response.
    received: AtomicBool,
}

impl Activity {
    /// Whether a request is in flight: its header is complete, and its response has not begun.
    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }
}

impl IdleTimeout {
    /// `header` limits the time for a request's header, `idle` the silence between two requests; `activity` records
    /// the connection's requests.
    pub(super) fn new(header: Duration, idle: Duration, activity: Arc<Activity>) -> Self {
        IdleTimeout { header, idle, activity }
    }

    /// Wraps `service` so that its requests in flight are counted.
    pub(super) fn track<S, B>(
        &self,
        service: S,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<B>,
        Error = Infallible,
        Future = impl Future<Output = std::result::Result<Response<B>, Infallible>> + use<S, B>,
    > + use<S, B>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        B: Body,
    {
        let activity = Arc::clone(&self.activity);
        service_fn(move |request| {
            let (in_flight, response) = (InFlight::begin(&activity), service.call(request));
            async move {
                let response = response.await;
                drop(in_flight);
                response
            }
        })
    }

    /// Wraps `stream` so that arriving bytes are recorded.
    pub(super) fn monitor<I>(&self, stream: I) -> Monitored<I> {
        Monitored { stream, activity: Arc::clone(&self.activity) }
    }

    /// Returns once a header has been incomplete for the header timeout, or nothing has arrived for the idle timeout,
    /// while no request is in flight. Detection takes up to one more header timeout.
    pub(super) async fn expired(&self) {
        let IdleTimeout { header, idle, activity } = self;
        let (mut begun_before, mut received_before, mut silent) = (0, false, Duration::ZERO);
        loop {
            sleep(*header).await;
            let (begun, received) = (activity.begun.load(Ordering::Relaxed), activity.received.load(Ordering::Relaxed));
            let busy = begun != begun_before || activity.is_busy();
            silent = if busy { Duration::ZERO } else { silent + *header };
            if !busy && ((received && received_before) || silent >= *idle) {
                return;
            }
            (begun_before, received_before) = (begun, received);
        }
    }
}

/// Counts one request as in flight until it is dropped.
struct InFlight(Arc<Activity>);

impl InFlight {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        activity.running.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // The bytes received so far were this request's header and body.
        self.0.received.store(false, Ordering::Relaxed);
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that records arriving bytes.
pub(super) struct Monitored<I> {
    stream: I,
    activity: Arc<Activity>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Monitored<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.received.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Monitored<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
