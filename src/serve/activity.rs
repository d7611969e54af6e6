//! What a connection is doing: whether it is silent, sends a request's header, or has requests answered. So a sender may
//! be silent for long between two requests, and yet not take long over one.

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

/// What one connection is doing. Cloning it shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Requests whose header was whole.
    begun: AtomicU64,
    /// Of these, those that are being answered.
    running: AtomicUsize,
    /// Something has come since.
    heard: AtomicBool,
}

impl Activity {
    /// `service`, with its requests counted.
    pub(super) fn watch<S, B>(
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
        let activity = self.clone();
        service_fn(move |request| {
            let (busy, answer) = (Busy::begin(&activity), service.call(request));
            async move {
                let answer = answer.await;
                drop(busy);
                answer
            }
        })
    }

    /// Returns once a header was begun and not ended for `header`, or nothing came for `idle`, while nothing is being
    /// answered. It is found out within another `header`.
    pub(super) async fn overdue(&self, header: Duration, idle: Duration) {
        let Activity(counts) = self;
        let (mut before, mut heard_before, mut silent) = (0, false, Duration::ZERO);
        loop {
            sleep(header).await;
            let (begun, heard) = (counts.begun.load(Ordering::Relaxed), counts.heard.load(Ordering::Relaxed));
            let busy = begun != before || counts.running.load(Ordering::Relaxed) > 0;
            silent = if busy { Duration::ZERO } else { silent + header };
            if !busy && ((heard && heard_before) || silent >= idle) {
                return;
            }
            (before, heard_before) = (begun, heard);
        }
    }
}

/// A request that is being answered, until it is dropped.
struct Busy(Activity);

impl Busy {
    fn begin(activity: &Activity) -> Self {
        activity.0.begun.fetch_add(1, Ordering::Relaxed);
        activity.0.running.fetch_add(1, Ordering::Relaxed);
        Busy(activity.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // What has come so far were this request's header and body.
        self.0.0.heard.store(false, Ordering::Relaxed);
        self.0.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that notes when something came.
pub(super) struct Watched<I> {
    stream: I,
    activity: Activity,
}

impl<I> Watched<I> {
    pub(super) fn new(stream: I, activity: Activity) -> Self {
        Watched { stream, activity }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.0.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
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
