//! One connection, from its first byte to its end: which version of HTTP it speaks, and how long it may be silent.

use std::{convert::Infallible, fmt::Display, future::Future, pin::pin, time::Duration};

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

use super::{
    Limits, Transport,
    activity::{Activity, Watched},
};

/// How the first line of HTTP/2 begins (RFC 9113, section 3.4). No method of HTTP/1 does.
const PREFACE: &[u8] = b"PRI";
/// What HTTP/2 is called when a version is agreed on.
const HTTP2: &[u8] = b"h2";
/// How much of one stream, and of all streams of a connection, may wait to be read.
const WINDOW_BYTES: u32 = 64 * 1024;
/// Streams that a client opened and reset at once, before their answer is even begun: more end the connection.
const RESETS: usize = 16;
/// From a ping to its answer; then the peer is taken for gone.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves a connection that has not sent anything yet.
pub(super) async fn converse<S, B>(
    stream: TcpStream,
    transport: Transport,
    service: S,
    limits: Limits,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Error: std::error::Error + Send + Sync> + Send + 'static,
    B::Data: Send,
{
    let socket = socket2::SockRef::from(&stream);
    // A peer that takes no answers must not keep its place: the kernel gives up on it.
    if let Err(error) = stream.set_nodelay(true).and_then(|()| socket.set_tcp_user_timeout(Some(limits.header))) {
        tracing::debug!(%error, "cannot set up a connection");
    }
    match transport {
        Transport::Tcp => {
            let mut first = [0; PREFACE.len()];
            let looked = async { limits.streams > 0 && matches!(stream.peek(&mut first).await, Ok(3)) };
            let Some(Ok(looked)) = shutdown.run_until_cancelled(timeout(limits.header, looked)).await else { return };
            speak(stream, looked && first == PREFACE, service, limits, shutdown).await;
        }
        Transport::Tls(acceptor) => {
            let handshake = timeout(limits.handshake, acceptor.accept(stream));
            let Some(Ok(shaken)) = shutdown.run_until_cancelled(handshake).await else { return };
            let stream = match shaken {
                Ok(stream) => stream,
                Err(error) => return tracing::debug!(%error, "a TLS handshake failed"),
            };
            let agreed = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
            speak(stream, agreed && limits.streams > 0, service, limits, shutdown).await;
        }
    }
}

/// Speaks the version of HTTP that was found out.
async fn speak<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    second: bool,
    service: S,
    limits: Limits,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Error: std::error::Error + Send + Sync> + Send + 'static,
    B::Data: Send,
{
    if second {
        http2(stream, service, limits, shutdown).await;
    } else {
        http1(stream, service, limits, shutdown).await;
    }
}

async fn http1<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    service: S,
    limits: Limits,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Error: std::error::Error + Send + Sync> + 'static,
{
    let activity = Activity::default();
    let stream = Watched::new(stream, activity.clone());
    let connection = http1::Builder::new()
        .max_headers(limits.header_fields)
        .max_header_size(limits.header_bytes)
        .serve_connection(TokioIo::new(stream), activity.watch(service));
    // There is no good way to end a request that did not come whole, so it gets none.
    tokio::select! {
        () = finish(connection, shutdown.cancelled(), limits.drain) => {}
        () = activity.overdue(limits.header, limits.idle) => {
            tracing::debug!("a connection was cut off: no request came in time");
        }
    }
}

async fn http2<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    service: S,
    limits: Limits,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Error: std::error::Error + Send + Sync> + Send + 'static,
    B::Data: Send,
{
    let activity = Activity::default();
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
        .serve_connection(TokioIo::new(stream), activity.watch(service));
    let stop = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = activity.overdue(limits.header, limits.idle) => {}
        }
    };
    finish(connection, stop, limits.drain).await;
}

/// Lets a connection run. After `stop` it may finish, within `drain`, what it has begun.
async fn finish<C: GracefulConnection<Error: Display>>(connection: C, stop: impl Future<Output = ()>, drain: Duration) {
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
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(_elapsed) => tracing::debug!("a connection was cut off: it did not come to an end by itself"),
    }
}
