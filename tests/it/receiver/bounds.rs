//! Limits on requests.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::fixture::{BODY, PATH, Running, SECRET, delivery, numbered, route, until};

/// Sends `request` verbatim and reads until the receiver closes the connection.
async fn raw(receiver: &Running, request: &str) -> String {
    let mut stream = TcpStream::connect(receiver.delivery).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .expect("the receiver did not close the connection in time")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The headers of a signed request, without the final empty line.
fn head(extra: &str) -> String {
    let signed = delivery("d1", BODY, SECRET);
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\nx-linktree-signature: {}\r\nx-linktree-timestamp: {}\r\n{extra}",
        signed.signature, signed.sent_at
    )
}

#[tokio::test]
async fn a_body_that_is_too_large_is_rejected_before_and_while_it_is_read() {
    let mut route = route(vec![]);
    route.max_body_bytes = 1000;
    let receiver = Running::start(&route).await;
    let fits = delivery("d1", &"x".repeat(1000), SECRET);
    assert_eq!(receiver.deliver(&fits).await.0, 200);
    let over = delivery("d2", &"x".repeat(1001), SECRET);
    assert_eq!(receiver.deliver(&over).await.0, 413);
    let announced = raw(&receiver, &head("content-length: 1001\r\n\r\n")).await;
    assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
    let chunk = "x".repeat(600);
    let chunks = head(&format!("transfer-encoding: chunked\r\n\r\n258\r\n{chunk}\r\n258\r\n{chunk}\r\n"));
    let streamed = raw(&receiver, &chunks).await;
    assert!(streamed.starts_with("HTTP/1.1 413"), "{streamed}");
}

#[tokio::test]
async fn an_encoded_body_is_rejected() {
    let receiver = Running::start(&route(vec![])).await;
    for (encoding, status) in [
        ("gzip", 415),
        ("identity, gzip", 415),
        ("br", 415),
        ("Identity", 200),
        ("utf-8", 200),
        ("", 200),
        ("utf-8, gzip", 415),
    ] {
        let response = receiver.post(&numbered(1)).header("content-encoding", encoding).send().await.unwrap();
        assert_eq!(response.status(), status, "{encoding}");
    }
}

#[tokio::test]
async fn an_unsigned_request_is_answered_without_waiting_for_its_body() {
    let receiver = Running::start(&route(vec![])).await;
    let request = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100000\r\n\r\n");
    assert!(raw(&receiver, &request).await.starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn a_slow_body_times_out() {
    let receiver = Running::start(&route(vec![])).await;
    let answer = raw(&receiver, &head("content-length: 10\r\n\r\nx")).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(receiver.status().await.last_hour.rejected_request, 1);
}

#[tokio::test]
async fn a_started_request_is_answered_before_shutdown() {
    let receiver = Running::start(&route(vec![])).await;
    let mut stream = TcpStream::connect(receiver.delivery).await.unwrap();
    let begun = head(&format!("expect: 100-continue\r\ncontent-length: {}\r\n\r\n", BODY.len()));
    stream.write_all(begun.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let delivery = receiver.delivery;
    let stopped = tokio::spawn(receiver.stop());
    until("new connections are refused", async || TcpStream::connect(delivery).await.is_err()).await;
    stream.write_all(BODY.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"received":true}"#), "{answer}");
    stopped.await.unwrap();
}

#[tokio::test]
async fn large_headers_are_rejected() {
    let receiver = Running::start(&route(vec![])).await;
    let many = "a: b\r\n".repeat(100);
    let long = format!("a: {}\r\n", "b".repeat(20_000));
    for extra in [many, long] {
        let answer = raw(&receiver, &head(&format!("{extra}\r\n"))).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    until("they are counted", async || receiver.status().await.last_hour.rejected_request == 2).await;
    let metrics = receiver.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains(r#"requests_total{verdict="header_too_large"} 2"#), "{metrics}");
    assert!(raw(&receiver, "no request\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let counted =
        async || receiver.get("/metrics").await.text().await.unwrap().contains(r#"{verdict="bad_request"} 1"#);
    until("it is counted", counted).await;
}

#[tokio::test]
async fn a_transfer_encoding_other_than_chunked_is_not_implemented() {
    let receiver = Running::start(&route(vec![])).await;
    for coding in ["gzip, chunked", "chunked, chunked", "chunked\r\ntransfer-encoding: chunked"] {
        let body = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
        let answer = raw(&receiver, &head(&format!("transfer-encoding: {coding}\r\n\r\n{body}"))).await;
        assert!(answer.starts_with("HTTP/1.1 501"), "{coding}: {answer}");
    }
    assert_eq!(receiver.status().await.last_hour.rejected_request, 3);
}

/// As a proxy does it: the body still comes while the answer is on its way.
#[tokio::test]
async fn a_body_that_comes_after_the_answer_is_discarded() {
    const BODY_BYTES: usize = 1_000_000;
    let mut route = route(vec![]);
    route.max_body_bytes = 1000;
    let receiver = Running::start(&route).await;
    let unsigned = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\n");
    let elsewhere = "POST /other HTTP/1.1\r\nhost: x\r\n".to_owned();
    let encoded = head("content-encoding: gzip\r\n");
    for (begun, status, stays_open) in
        [(unsigned, 401, true), (elsewhere, 404, true), (encoded, 415, true), (head(""), 413, false)]
    {
        let mut stream = TcpStream::connect(receiver.delivery).await.unwrap();
        stream.write_all(format!("{begun}content-length: {BODY_BYTES}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = [0; 512];
        let length = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        for _ in 0..BODY_BYTES / 10_000 {
            stream.write_all(&[b'x'; 10_000]).await.expect("the connection is not reset");
        }
        if stays_open {
            stream.write_all(b"GET /next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        }
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.expect("the connection is not reset");
        assert_eq!(rest.starts_with("HTTP/1.1 404"), stays_open, "{status}: {rest}");
    }
}
