//! The client with responses that a well-behaved Linktree would not send.

use std::time::Duration;

use linktree_operator::{
    egress::outbound::Outbound,
    linktree::{
        client::{HttpLinktree, Linktree, PAGES_MAX, Transport, Unusable, list_all},
        error::ApiError,
        event::EventType,
        secret::Secret,
        wire::{CreateSubscription, SubscriptionId, UpdateSubscription},
    },
};
use url::Url;

use crate::canned::{Canned, answer};

const TOKEN: &str = "lt_test_t0ken";

fn client(base: &Url) -> HttpLinktree {
    // A file written by `echo` ends with a line feed.
    let token = Secret::new(format!("{TOKEN}\n"));
    HttpLinktree::new(&Transport::new(Outbound::default()).unwrap(), base.clone(), &token, Duration::from_secs(5))
        .unwrap()
}

fn id(id: &str) -> SubscriptionId {
    SubscriptionId(id.to_owned())
}

fn registration() -> CreateSubscription {
    CreateSubscription { url: "https://h.example/h/1".into(), events: vec![EventType::LinkCreated] }
}

#[tokio::test]
async fn a_registration_sends_the_documented_request() {
    let server =
        Canned::answering([answer("201 Created\r\nx-ratelimit-remaining: 9", r#"{"id":"wh_1","new":1}"#)]).await;
    let linktree = client(&server.base);
    assert_eq!(linktree.take_remaining_requests(), None);
    let subscription = linktree.create(&registration()).await.unwrap();
    assert_eq!(subscription.id, id("wh_1"));
    assert_eq!(linktree.take_remaining_requests(), Some(9));
    assert_eq!(linktree.take_remaining_requests(), None, "an old value says nothing about now");
    let request = &server.requests()[0];
    assert!(request.starts_with("POST /v1/webhooks HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("authorization: Bearer {TOKEN}\r\n")), "{request}");
    assert!(
        request.ends_with("\r\n\r\n{\"url\":\"https://h.example/h/1\",\"events\":[\"link.created\"]}"),
        "{request}"
    );
}

#[tokio::test]
async fn a_response_may_be_bare_or_wrapped() {
    let server = Canned::answering([
        answer("200 OK", r#"{"data":{"id":"wh_1","status":"active"},"meta":{}}"#),
        answer("200 OK", r#"{"data":{"signing_secret":"s3cret"}}"#),
        answer("200 OK", r#"{"id":"acc_1","plan":"Pro"}"#),
        answer("204 No Content", ""),
    ])
    .await;
    let linktree = client(&server.base);
    assert_eq!(linktree.update(&id("wh_1"), &UpdateSubscription::default()).await.unwrap().id, id("wh_1"));
    assert_eq!(linktree.rotate_secret(&id("wh_1")).await.unwrap(), Secret::new("s3cret"));
    assert_eq!(linktree.account().await.unwrap().plan.as_deref(), Some("Pro"));
    assert_eq!(linktree.delete(&id("wh_1")).await, Ok(()));
}

#[tokio::test]
async fn ids_and_cursors_cannot_leave_their_place_in_the_url() {
    let not_found = || answer("404 Not Found", "{}");
    let server = Canned::answering([not_found(), not_found(), answer("200 OK", r#"{"data":[]}"#)]).await;
    let prefixed = client(&server.base.join("api/").unwrap());
    assert_eq!(prefixed.delete(&id("../me?x#y")).await, Err(ApiError::NotFound));
    assert_eq!(prefixed.rotate_secret(&id("a b")).await, Err(ApiError::NotFound));
    prefixed.list_page(Some("a&limit=1#ä")).await.unwrap();
    for nothing in ["", ".", ".."] {
        assert_eq!(prefixed.delete(&id(nothing)).await, Err(ApiError::NotFound));
    }
    let lines: Vec<_> = server.requests().iter().map(|text| text.lines().next().unwrap().to_owned()).collect();
    assert_eq!(
        lines,
        [
            "DELETE /api/v1/webhooks/..%2Fme%3Fx%23y HTTP/1.1",
            "POST /api/v1/webhooks/a%20b/rotate-secret HTTP/1.1",
            "GET /api/v1/webhooks?limit=100&cursor=a%26limit%3D1%23%C3%A4 HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn an_unreadable_response_may_have_taken_effect() {
    let too_large = format!(r#"{{"id":"{}"}}"#, "x".repeat(1024 * 1024));
    for (bytes, problem) in [
        (answer("201 Created", "{}"), "JSON, but not what the contract says"),
        (answer("201 Created", r#"{"id":""}"#), "JSON, but not what the contract says"),
        (answer("201 Created", "<html>"), "not JSON"),
        (answer("201 Created", &too_large), "a response of more than 1048576 bytes"),
        ("HTTP/1.1 201 Created\r\ncontent-length: 99\r\n\r\n{\"id\":\"wh".into(), "the answer broke off"),
    ] {
        let server = Canned::answering([bytes]).await;
        let error = client(&server.base).create(&registration()).await.unwrap_err();
        let ApiError::Unreadable { problem: found } = &error else { panic!("{error:?}") };
        assert!(found.starts_with(problem), "{found}");
        assert!(error.may_have_taken_effect());
    }
}

#[tokio::test]
async fn an_html_page_is_no_deletion() {
    for (body, unreadable) in [
        ("", None),
        ("\r\n", None),
        (r#"{"id":"wh_1","deleted":true}"#, None),
        ("<!doctype html><title>Sign in</title>", Some("not JSON")),
        (r#"{"id":"wh"#, Some("JSON that ends too early")),
    ] {
        let server = Canned::answering([answer("200 OK", body)]).await;
        let expected = unreadable.map_or(Ok(()), |problem| Err(ApiError::Unreadable { problem: problem.into() }));
        assert_eq!(client(&server.base).delete(&id("wh_1")).await, expected, "{body}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = Canned::answering([answer("200 OK", r#"{"id":"acc_1"}"#)]).await;
    let head = format!("302 Found\r\nlocation: {}", elsewhere.base);
    let server = Canned::answering([answer(&head, "")]).await;
    assert_eq!(client(&server.base).account().await, Err(ApiError::Server { status: 302, retry_after: None }));
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn only_a_failed_connection_is_before_sending() {
    let closing = Canned::answering([""]).await;
    let error = client(&closing.base).create(&registration()).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable { before_sending: false, .. }), "{error:?}");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let error = client(&closed).create(&registration()).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable { before_sending: true, .. }), "{error:?}");
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let after = Duration::from_millis(50);
    let linktree =
        HttpLinktree::new(&Transport::new(Outbound::default()).unwrap(), base, &Secret::new(TOKEN), after).unwrap();
    assert_eq!(linktree.account().await, Err(ApiError::TimedOut { after }));
}

#[tokio::test]
async fn a_list_is_whole_or_an_error() {
    let page = |ids: [&str; 2], next: &str| {
        let body = format!(r#"{{"data":[{{"id":"{}"}},{{"id":"{}"}}],"next_cursor":{next}}}"#, ids[0], ids[1]);
        answer("200 OK", &body)
    };
    let pages = [page(["a", "b"], "\"1\""), page(["b", "c"], "\"2\""), page(["d", "e"], "\"\"")];
    let server = Canned::answering(pages.clone()).await;
    let all = list_all(&client(&server.base)).await.unwrap();
    assert_eq!(all.iter().map(|one| one.id.0.as_str()).collect::<String>(), "abcde");

    let looping = Canned::answering([pages[0].clone(), pages[1].clone(), pages[0].clone(), pages[1].clone()]).await;
    let error = list_all(&client(&looping.base)).await.unwrap_err();
    assert_eq!(error, ApiError::Unreadable { problem: "the list of webhooks repeats a cursor".into() });

    let broken = Canned::answering([pages[0].clone(), answer("500 Internal Server Error", "")]).await;
    assert_eq!(list_all(&client(&broken.base)).await, Err(ApiError::Server { status: 500, retry_after: None }));

    let endless = Canned::answering((0..).take(PAGES_MAX + 1).map(|n| page(["a", "b"], &format!("\"{n}\"")))).await;
    assert!(list_all(&client(&endless.base)).await.is_err());
    assert_eq!(endless.requests().len(), PAGES_MAX);
}

#[test]
fn an_unusable_token_or_base_url_is_rejected_at_once() {
    let transport = Transport::new(Outbound::default()).unwrap();
    let make = |base: &str, token: &str| {
        HttpLinktree::new(&transport, Url::parse(base).unwrap(), &Secret::new(token), Duration::from_secs(1)).err()
    };
    assert_eq!(make("https://api.example", "lt_live_1"), None);
    assert_eq!(make("https://api.example", "lt\nlive"), Some(Unusable::Token));
    for base in ["ftp://api.example", "data:x", "https://u:p@api.example", "https://api.example?a=b"] {
        assert_eq!(make(base, "lt_live_1"), Some(Unusable::BaseUrl), "{base}");
    }
}
