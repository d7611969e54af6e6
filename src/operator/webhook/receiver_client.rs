//! Client for the admin ports of receivers. The operator polls their status, since a receiver has no Kubernetes
//! credentials to report with, and forwards requests to send dead letters again.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{Either, select};
use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    linktree::secret::Secret,
    route::{
        ADMIN_PORT,
        redrive::{RedriveAnswer, RedriveRequest},
        status::ReceiverStatus,
    },
};

/// Timeout of one poll; it is short, since the receiver is in the same cluster.
const DEADLINE: Duration = Duration::from_secs(2);
/// Timeout of a request to send dead letters again, which the receiver must count first.
const REDRIVE_DEADLINE: Duration = Duration::from_secs(10);
/// Maximum length, in characters, of the reason for a rejection.
const PROBLEM_MAX: usize = 300;
/// Maximum size of a receiver's status in bytes; with 16 sinks it takes about 5 KiB.
const ANSWER_MAX: usize = 256 * 1024;
/// Size of the read buffer in bytes: the minimum that hyper allows, which most responses fit into.
const READ_BUFFER: usize = 8 * 1024;

/// The receiver's answer to a request to send dead letters again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redriven {
    /// So many dead letters are sent again.
    Accepted { matched: u64 },
    /// The request cannot be performed, now or later.
    Rejected { problem: String },
    /// The request must be sent again later; its id keeps it from taking effect twice.
    Unavailable { problem: String },
}

/// Sends requests to the admin ports of receivers; tests replace it.
#[async_trait]
pub trait Receivers: Send + Sync {
    /// Reads the status of the receiver at `address`; `None` if that fails for whatever reason.
    async fn status(&self, address: IpAddr, admin_token: &Secret) -> Option<ReceiverStatus>;

    /// Requests that the receiver at `address` sends dead letters again.
    async fn redrive(&self, address: IpAddr, admin_token: &Secret, request: &RedriveRequest) -> Redriven;
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
        let receiver = SocketAddr::from((address, ADMIN_PORT));
        let request = request(receiver, admin_token, Method::GET, "/status", Bytes::new())?;
        let (status, body) = timeout(DEADLINE, send(receiver, request)).await.ok()??;
        if status == StatusCode::OK { serde_json::from_slice(&body).ok() } else { None }
    }

    async fn redrive(&self, address: IpAddr, admin_token: &Secret, request: &RedriveRequest) -> Redriven {
        redrive((address, ADMIN_PORT).into(), admin_token, request).await
    }
}

async fn redrive(receiver: SocketAddr, admin_token: &Secret, wanted: &RedriveRequest) -> Redriven {
    let sent = async {
        let body = serde_json::to_vec(wanted).ok()?;
        let request = request(receiver, admin_token, Method::POST, "/redrive", body.into())?;
        timeout(REDRIVE_DEADLINE, send(receiver, request)).await.ok()?
    };
    match sent.await {
        Some((status, body)) => redriven(status, &body),
        None => Redriven::Unavailable { problem: "the receiver does not respond".to_owned() },
    }
}

/// The meaning of the receiver's answer.
fn redriven(status: StatusCode, body: &[u8]) -> Redriven {
    let text: String = String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(PROBLEM_MAX).collect();
    match status {
        StatusCode::ACCEPTED => match serde_json::from_slice(body) {
            Ok(RedriveAnswer { matched }) => Redriven::Accepted { matched },
            Err(_) => Redriven::Unavailable { problem: "the receiver's answer cannot be read".to_owned() },
        },
        // A receiver of an earlier version has no such path, and answers 404 without a text.
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND if !text.is_empty() => Redriven::Rejected { problem: text },
        StatusCode::TOO_MANY_REQUESTS if !text.is_empty() => Redriven::Unavailable { problem: text },
        status => Redriven::Unavailable { problem: format!("the receiver answered {}", status.as_u16()) },
    }
}

/// Sends a request on a connection of its own. Returns the response's status and body; `None` if there is none, or it is
/// too large.
async fn send(receiver: SocketAddr, request: Request<Full<Bytes>>) -> Option<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(receiver).await.ok()?;
    let (sender, connection) =
        http1::Builder::new().max_buf_size(READ_BUFFER).handshake(TokioIo::new(stream)).await.ok()?;
    // The connection's future transfers the bytes of the request, so both futures are polled until there is a response.
    match select(pin!(response(sender, request)), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, response)) => response.await,
    }
}

fn request(
    receiver: SocketAddr,
    admin_token: &Secret,
    method: Method,
    path: &str,
    body: Bytes,
) -> Option<Request<Full<Bytes>>> {
    let mut token = HeaderValue::try_from(format!("Bearer {}", admin_token.expose())).ok()?;
    token.set_sensitive(true);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, receiver.to_string())
        .header(AUTHORIZATION, token)
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close");
    request.body(Full::new(body)).ok()
}

async fn response(mut sender: SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Option<(StatusCode, Bytes)> {
    let response = sender.send_request(request).await.ok()?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.ok()?;
    Some((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use axum::{
        Router,
        http::HeaderMap,
        response::IntoResponse,
        routing::{get, post},
    };

    use super::*;
    use crate::route::redrive::Selection;

    async fn serve(router: Router) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    async fn fetch(receiver: SocketAddr, admin_token: &Secret) -> Option<Bytes> {
        let request = request(receiver, admin_token, Method::GET, "/status", Bytes::new())?;
        let (status, body) = send(receiver, request).await?;
        (status == StatusCode::OK).then_some(body)
    }

    /// A receiver with a status of this size.
    async fn receiver(size: usize) -> SocketAddr {
        let status = move |headers: HeaderMap| {
            let authorized = headers.get(AUTHORIZATION).is_some_and(|it| it == "Bearer admin");
            ready(if authorized { "x".repeat(size).into_response() } else { StatusCode::UNAUTHORIZED.into_response() })
        };
        serve(Router::new().route("/status", get(status))).await
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

    #[tokio::test]
    async fn a_redrive_is_posted_with_the_token_and_its_answer_says_whether_to_send_it_again() {
        let wanted = RedriveRequest {
            id: "cms 7".into(),
            select: Selection::DeadLetters { sink: Some("cms".into()) },
            target_sink: None,
            max_per_second: None,
        };
        let expected = wanted.clone();
        let router = Router::new().route(
            "/redrive",
            post(move |headers: HeaderMap, body: String| {
                let authorized = headers.get(AUTHORIZATION).is_some_and(|it| it == "Bearer admin");
                let right = authorized && serde_json::from_str(&body).is_ok_and(|it: RedriveRequest| it == expected);
                ready(if right { (StatusCode::ACCEPTED, r#"{"matched": 17}"#) } else { (StatusCode::UNAUTHORIZED, "") })
            }),
        );
        let address = serve(router).await;
        let answer = redrive(address, &Secret::new("admin"), &wanted).await;
        assert_eq!(answer, Redriven::Accepted { matched: 17 });
        let unavailable = |problem: &str| Redriven::Unavailable { problem: problem.into() };
        let answer = redrive(address, &Secret::new("other"), &wanted).await;
        assert_eq!(answer, unavailable("the receiver answered 401"));
        let nothing = serve(Router::new()).await;
        let answer = redrive(nothing, &Secret::new("admin"), &wanted).await;
        assert_eq!(answer, unavailable("the receiver answered 404"), "an earlier version");
    }

    #[test]
    fn only_a_reasoned_400_or_404_rejects_a_redrive() {
        let rejected = |problem: &str| Redriven::Rejected { problem: problem.into() };
        let unavailable = |problem: &str| Redriven::Unavailable { problem: problem.into() };
        let long = "x".repeat(PROBLEM_MAX + 1);
        let cases = [
            (400, "no", rejected("no")),
            (404, "no\nsink", rejected("nosink")),
            (400, long.as_str(), rejected(&long[1..])),
            (404, "", unavailable("the receiver answered 404")),
            (429, "wait", unavailable("wait")),
            (503, "the journal is busy", unavailable("the receiver answered 503")),
            (202, "<html>", unavailable("the receiver's answer cannot be read")),
        ];
        for (status, body, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(redriven(status, body.as_bytes()), expected, "{status} {body}");
        }
    }
}
