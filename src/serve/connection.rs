//! Serves one connection, from its first byte to its end: selects the HTTP version and enforces the timeouts.

use std::{convert::Infallible, future::Future, pin::pin, time::Duration};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{idle_timeout::IdleTimeout, limits::Limits, problem::Problem, transport::Transport};

/// The beginning of HTTP/2's first line (RFC 9113, section 3.4). No HTTP/1 method begins so.
const PREFACE: &[u8] = b"PRI";
/// HTTP/2's name in ALPN.
const HTTP2: &[u8] = b"h2";
/// The flow-control window of one stream, and of all streams of a connection together.
const WINDOW_BYTES: u32 = 64 * 1024;
/// Number of HTTP/2 streams that a client may open and reset before their responses begin; more close the connection.
const RESETS: usize = 16;
/// How long the response to an HTTP/2 ping may take before the connection is closed.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves a new connection until either side closes it.
pub(super) async fn serve_connection<S, B>(
    stream: TcpStream,
    transport: Transport,
    service: S,
    limits: Limits,
    idle_timeout: IdleTimeout,
    report: impl Fn(Problem),
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Error: std::error::Error + Send + Sync> + Send + 'static,
    B::Data: Send,
{
    let socket = socket2::SockRef::from(&stream);
    // With `TCP_USER_TIMEOUT`, the kernel closes the connection of a peer that reads no responses; else it would keep
    // its slot.
    if let Err(error) = stream.set_nodelay(true).and_then(|()| socket.set_tcp_user_timeout(Some(limits.header))) {
        tracing::debug!(%error, "cannot configure a connection");
    }
    match transport {
        Transport::Tcp => {
            let mut first = [0; PREFACE.len()];
            let peek = timeout(limits.header, stream.peek(&mut first));
            let Some(Ok(peeked)) = shutdown.run_until_cancelled(peek).await else { return };
            let is_http2 = limits.streams > 0 && matches!(peeked, Ok(3)) && first == PREFACE;
            serve_http(stream, is_http2, service, limits, idle_timeout, report, shutdown).await;
        }
        Transport::Tls(acceptor) => {
            let handshake = timeout(limits.handshake, acceptor.accept(stream));
            let Some(Ok(handshake)) = shutdown.run_until_cancelled(handshake).await else { return };
            let stream = match handshake {
                Ok(stream) => stream,
                Err(error) => return tracing::debug!(%error, "TLS handshake failed"),
            };
            let negotiated = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
            serve_http(stream, negotiated && limits.streams > 0, service, limits, idle_timeout, report, shutdown).await;
        }
    }
}

/// Serves HTTP/2 or HTTP/1.1 over an open TCP or TLS stream.
async fn serve_http<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_http2: bool,
    service: S,
    limits: Limits,
    idle_timeout: IdleTimeout,
    report: impl Fn(Problem),
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Error: std::error::Error + Send + Sync> + Send + 'static,
    B::Data: Send,
{
    if is_http2 {
        http2(stream, service, limits, idle_timeout, report, shutdown).await;
    } else {
        http1(stream, service, limits, idle_timeout, report, shutdown).await;
    }
}

async fn http1<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    service: S,
    limits: Limits,
    idle_timeout: IdleTimeout,
    report: impl Fn(Problem),
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Error: std::error::Error + Send + Sync> + 'static,
{
    let stream = idle_timeout.monitor(stream);
    let connection = http1::Builder::new()
        .max_headers(limits.header_fields)
        .max_header_size(limits.header_bytes)
        .serve_connection(TokioIo::new(stream), idle_timeout.track(service));
    // An incomplete request cannot be answered, so the connection is closed without a response.
    tokio::select! {
        () = finish(connection, shutdown.cancelled(), limits.drain, report) => {}
        () = idle_timeout.expired() => {
            tracing::debug!("connection closed: no complete request in time");
        }
    }
}

async fn http2<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    service: S,
    limits: Limits,
    idle_timeout: IdleTimeout,
    report: impl Fn(Problem),
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Error: std::error::Error + Send + Sync> + Send + 'static,
    B::Data: Send,
{
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(WINDOW_BYTES as usize)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .keep_alive_interval(limits.header)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), idle_timeout.track(service));
    let stop = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = idle_timeout.expired() => {}
        }
    };
    finish(connection, stop, limits.drain, report).await;
}

/// Runs a connection to its end. After `stop`, requests in flight have `drain` to finish.
async fn finish<C: GracefulConnection<Error = hyper::Error>>(
    connection: C,
    stop: impl Future<Output = ()>,
    drain: Duration,
    report: impl Fn(Problem),
) {
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        () = stop => {
            connection.as_mut().graceful_shutdown();
            timeout(drain, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(%error, "connection failed");
            if let Some(problem) = Problem::of(&error) {
                report(problem);
            }
        }
        Err(_elapsed) => {
            tracing::debug!("connection closed: requests were still in flight at the end of the drain time");
        }
    }
}
