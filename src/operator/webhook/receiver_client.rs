//! Client for the status of receivers. The operator polls it, since a receiver has no Kubernetes credentials to report
//! with.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{Either, select};
use http::{
    HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, CONNECTION, HOST},
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    linktree::secret::Secret,
    route::{ADMIN_PORT, status::ReceiverStatus},
};

/// Timeout of one poll; it is short, since the receiver is in the same cluster.
const DEADLINE: Duration = Duration::from_secs(2);
/// Maximum size of a receiver's status in bytes; with 16 sinks it takes about 5 KiB.
const ANSWER_MAX: usize = 256 * 1024;
/// Size of the read buffer in bytes: the minimum that hyper allows, which most responses fit into.
const READ_BUFFER: usize = 8 * 1024;

/// Reads the status of receivers; tests replace it.
#[async_trait]
pub trait Receivers: Send + Sync {
    /// Reads the status of the receiver at `address`; `None` if that fails for whatever reason.
    async fn status(&self, address: IpAddr, admin_token: &Secret) -> Option<ReceiverStatus>;
}

/// A client that opens a connection for each request and closes it afterwards.
///
/// Ten thousand idle connections would take more memory than all else. For the same reason it uses a bare HTTP/1
/// connection, without the pool, proxies and redirects of a full client: most reconciliations send only this one
/// request.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverClient;

#[async_trait]
impl Receivers for ReceiverClient {
    async fn status(&self, address: IpAddr, admin_token: &Secret) -> Option<ReceiverStatus> {
        let body = timeout(DEADLINE, fetch((address, ADMIN_PORT).into(), admin_token)).await.ok()??;
        serde_json::from_slice(&body).ok()
    }
}

async fn fetch(receiver: SocketAddr, admin_token: &Secret) -> Option<Bytes> {
    let request = request(receiver, admin_token)?;
    let stream = TcpStream::connect(receiver).await.ok()?;
    let (sender, connection) =
        http1::Builder::new().max_buf_size(READ_BUFFER).handshake(TokioIo::new(stream)).await.ok()?;
    // The connection's future transfers the bytes of the request, so both futures are polled until there is a response.
    match select(pin!(response(sender, request)), pin!(connection)).await {
        Either::Left((body, _)) => body,
        Either::Right((_, response)) => response.await,
    }
}

fn request(receiver: SocketAddr, admin_token: &Secret) -> Option<Request<Empty<Bytes>>> {
    let mut token = HeaderValue::try_from(format!("Bearer {}", admin_token.expose())).ok()?;
    token.set_sensitive(true);
    let request = Request::get("/status")
        .header(HOST, receiver.to_string())
        .header(AUTHORIZATION, token)
        .header(CONNECTION, "close");
    request.body(Empty::new()).ok()
}

async fn response(mut sender: SendRequest<Empty<Bytes>>, request: Request<Empty<Bytes>>) -> Option<Bytes> {
    let response = sender.send_request(request).await.ok()?;
    if response.status() != StatusCode::OK {
        return None;
    }
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.ok()?;
    Some(body.to_bytes())
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use axum::{Router, http::HeaderMap, response::IntoResponse, routing::get};

    use super::*;

    /// A receiver with a status of this size.
    async fn receiver(size: usize) -> SocketAddr {
        let status = move |headers: HeaderMap| {
            let authorized = headers.get(AUTHORIZATION).is_some_and(|it| it == "Bearer admin");
            ready(if authorized { "x".repeat(size).into_response() } else { StatusCode::UNAUTHORIZED.into_response() })
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/status", get(status))).await });
        address
    }

    #[tokio::test]
    async fn a_status_is_read_with_the_right_token_and_up_to_the_maximum_size() {
        let cases =
            [("admin", 2, true), ("admin", ANSWER_MAX, true), ("admin", ANSWER_MAX + 1, false), ("x", 2, false)];
        for (token, size, is_read) in cases {
            let secret = Secret::new(token);
            let body = fetch(receiver(size).await, &secret).await;
            assert_eq!(body.map(|body| body.len()), is_read.then_some(size), "{token} {size}");
        }
    }

    #[tokio::test]
    async fn a_refused_or_closed_connection_returns_no_status() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let token = Secret::new("admin");
        let (body, ()) = tokio::join!(fetch(address, &token), async { drop(listener.accept().await) });
        assert_eq!(body, None);
        drop(listener);
        assert_eq!(fetch(address, &token).await, None);
    }
}
