//! The start of a sink's response in the status and in the journal.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, Uri},
};
use linktree_operator::{
    admin,
    linktree::secret::Secret,
    route::{
        Sink, SinkUrl,
        journal::{Detail, SinkState},
    },
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::fixture::{BODY, Running, SECRET, delivery, route, sink, until};

/// A sink that rejects every request and quotes it, after `prefix`.
async fn echo(prefix: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let quote = async move |uri: Uri, header: HeaderMap, _: Bytes| {
        let authorization = header["authorization"].to_str().unwrap().to_owned();
        let text = format!("{prefix}\r\n{uri} {} {authorization}", uri.query().unwrap_or_default());
        (StatusCode::BAD_REQUEST, text)
    };
    tokio::spawn(admin::serve_trusted(listener, Router::new().fallback(quote), CancellationToken::new()));
    address
}

#[tokio::test]
async fn the_status_and_the_journal_have_the_start_of_a_response_without_credentials() {
    let mut cms = sink("cms", echo("no such list").await);
    let url = cms.url.take().unwrap().expose().join("/services/T0-p4th-s3cret?key=qu3ry").unwrap();
    let long = sink("long", echo(LONG).await);
    (cms.url, cms.bearer) = (Some(SinkUrl::new(url)), Some(Secret::new("b3arer-t0ken")));
    let long = Sink { bearer: Some(Secret::new("0ther-t0ken")), ..long };
    let receiver = Running::start(&route(vec![cms, long])).await;
    receiver.deliver(&delivery("d1", BODY, SECRET)).await;
    until("both sinks have rejected the event", async || {
        receiver.status().await.sinks.iter().all(|sink| sink.dead_lettered == Some(1))
    })
    .await;
    let sinks = receiver.status().await.sinks;
    assert_eq!(sinks[0].last_failure.as_deref(), Some("answered 400"), "it has no text of the response");
    let answer = sinks[0].last_answer.clone().unwrap();
    assert!(answer.starts_with(r"no such list\r\n[redacted]"), "{answer}");
    assert!((200..=256).contains(&sinks[1].last_answer.as_ref().unwrap().len()), "{:?}", sinks[1].last_answer);
    let request = receiver.client.get(format!("http://{}/journal/1", receiver.admin)).bearer_auth("t0ken");
    let text = request.send().await.unwrap().text().await.unwrap();
    let detail: Detail = serde_json::from_str(&text).unwrap();
    let SinkState::DeadLetter { failure, .. } = &detail.sinks[0].state else { panic!("{:?}", detail.sinks) };
    assert_eq!(*failure, format!("answered 400: {answer}"));
    let shown = format!("{text} {sinks:?}");
    for secret in ["T0-p4th", "s3cret", "qu3ry", "b3arer", "t0ken"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

/// Longer than an excerpt.
const LONG: &str = "the list is full, remove entries that are not used any more, the list is full, remove entries that are \
    not used any more, the list is full, remove entries that are not used any more, the list is full, remove entries \
    that are not used any more, the list is full, remove entries that are not used any more";
