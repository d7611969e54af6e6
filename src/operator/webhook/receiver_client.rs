//! Asks a receiver for its status: pulled by the operator, since the receiver holds no Kubernetes credentials.

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

/// How long a receiver may take; it is in the same cluster.
const DEADLINE: Duration = Duration::from_secs(2);
/// The largest status that is read: 16 sinks take about 5 KiB.
const ANSWER_MAX: usize = 256 * 1024;
/// At first so much is read at once: hyper's least, and more than most answers take.
const READ: usize = 8 * 1024;

/// The way to the receivers.
#[async_trait]
pub trait Receivers: Send + Sync {
    /// The status of the receiver at `address`; `None` if it does not tell, for whatever reason.
    async fn status(&self, address: IpAddr, admin_token: &Secret) -> Option<ReceiverStatus>;
}

/// A connection for each question: ten thousand that idle until the next look would take more memory than all else. For
/// the same reason it is a bare one, without the pool, the proxies and the redirects of a whole client: this is the one
/// request of almost every look.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverClient;

#[async_trait]
impl Receivers for ReceiverClient {
    async fn status(&self, address: IpAddr, admin_token: &Secret) -> Option<ReceiverStatus> {
        let body = timeout(DEADLINE, ask((address, ADMIN_PORT).into(), admin_token)).await.ok()??;
        serde_json::from_slice(&body).ok()
    }
}

async fn ask(receiver: SocketAddr, admin_token: &Secret) -> Option<Bytes> {
    let request = request(receiver, admin_token)?;
    let stream = TcpStream::connect(receiver).await.ok()?;
    let (sender, connection) = http1::Builder::new().max_buf_size(READ).handshake(TokioIo::new(stream)).await.ok()?;
    // The connection is what moves the question and its answer, so both go on together, until there is an answer.
    match select(pin!(answer(sender, request)), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, answer)) => answer.await,
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

async fn answer(mut sender: SendRequest<Empty<Bytes>>, request: Request<Empty<Bytes>>) -> Option<Bytes> {
    let answer = sender.send_request(request).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.ok()?;
    Some(body.to_bytes())
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use axum::{Router, http::HeaderMap, response::IntoResponse, routing::get};

    use super::*;

    /// A receiver that tells whoever has its token so much.
    async fn receiver(told: usize) -> SocketAddr {
        let status = move |headers: HeaderMap| {
            let known = headers.get(AUTHORIZATION).is_some_and(|it| it == "Bearer admin");
            ready(if known { "x".repeat(told).into_response() } else { StatusCode::UNAUTHORIZED.into_response() })
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/status", get(status))).await });
        address
    }

    #[tokio::test]
    async fn a_receiver_tells_whoever_has_its_token_and_no_more_than_is_taken() {
        let cases =
            [("admin", 2, true), ("admin", ANSWER_MAX, true), ("admin", ANSWER_MAX + 1, false), ("x", 2, false)];
        for (token, told, heard) in cases {
            let secret = Secret::new(token);
            let answer = ask(receiver(told).await, &secret).await;
            assert_eq!(answer.map(|body| body.len()), heard.then_some(told), "{token} {told}");
        }
    }

    #[tokio::test]
    async fn one_that_is_not_there_or_hangs_up_tells_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let token = Secret::new("admin");
        let (answer, ()) = tokio::join!(ask(address, &token), async { drop(listener.accept().await) });
        assert_eq!(answer, None);
        drop(listener);
        assert_eq!(ask(address, &token).await, None);
    }
}
