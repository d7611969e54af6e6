//! Responses of sinks: which of them are a success, and what is reported about the others.

use linktree_operator::route::{Sink, SinkUrl};

use super::{
    super::canned::{Canned, answer},
    fixture::{Running, numbered, route, sink, until},
};

/// A receiver whose only sink gives these answers in turn.
async fn one_sink(answers: &[String], edit: impl FnOnce(&mut Sink)) -> (Canned, Running) {
    let server = Canned::answering(answers.iter().cloned()).await;
    let mut cms = sink("cms", "127.0.0.1:1".parse().unwrap());
    cms.url = Some(SinkUrl::new(server.base.clone()));
    edit(&mut cms);
    (server, Running::start(&route(vec![cms])).await)
}

fn is_ok(sink: &mut Sink) {
    sink.success_condition = Some("answer.body.ok == true".to_owned());
}

#[tokio::test]
async fn a_200_that_does_not_satisfy_the_success_condition_is_retried_and_then_a_dead_letter() {
    let rejected = answer("200 OK", r#"{"ok":false,"error":"not_in_channel"}"#);
    let (server, receiver) = one_sink(&[rejected.clone(), rejected.clone(), rejected], is_ok).await;
    receiver.deliver(&numbered(1)).await;
    until("the event is dead-lettered", async || receiver.status().await.sinks[0].dead_lettered == Some(1)).await;
    let status = receiver.status().await;
    assert_eq!(status.sinks[0].last_failure.as_deref(), Some("answered 200, but successCondition is false"));
    assert_eq!((status.sinks[0].consecutive_failures, status.last_hour.forwarded), (3, 0));
    assert_eq!(status.sinks[0].held, None, "the sink answered: other events may be accepted");
    assert_eq!(server.requests().len(), 3, "an answer that rejects the event is taken for true the third time");
}

#[tokio::test]
async fn a_200_that_satisfies_the_success_condition_is_a_success() {
    let long = format!(r#"{{"ok":true,"text":"{}"}}"#, "x".repeat(60 * 1024));
    let (server, receiver) = one_sink(&[answer("200 OK", &long)], is_ok).await;
    receiver.deliver(&numbered(1)).await;
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;
    let status = receiver.status().await;
    assert_eq!((status.last_hour.forwarded, &status.sinks[0].last_failure), (1, &None));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_body_that_is_longer_than_the_limit_or_broken_off_is_no_success() {
    for (body, expected) in [
        (answer("200 OK", &format!(r#"{{"ok":true,"text":"{}"}}"#, "x".repeat(64 * 1024))), "answered 200, but"),
        (answer("200 OK", r#"{"ok":true}"#).replace("length: 11", "length: 12"), "could not be reached"),
    ] {
        let (_server, receiver) = one_sink(&[body], is_ok).await;
        receiver.deliver(&numbered(1)).await;
        until("the attempt failed", async || receiver.status().await.sinks[0].last_failure.is_some()).await;
        let failure = receiver.status().await.sinks.remove(0).last_failure.unwrap();
        assert!(failure.starts_with(expected), "{failure}");
    }
}

#[tokio::test]
async fn an_answer_with_hundreds_of_headers_is_an_answer() {
    let headers: String = (0..900).map(|n| format!("\r\nx-header-{n}: {n}")).collect();
    let answers = [answer(&format!("503 Service Unavailable{headers}"), ""), answer(&format!("200 OK{headers}"), "")];
    let (server, receiver) = one_sink(&answers, |_| {}).await;
    receiver.deliver(&numbered(1)).await;
    until("the event is forwarded", async || receiver.status().await.last_hour.forwarded == 1).await;
    assert_eq!(receiver.status().await.sinks[0].last_failure.as_deref(), Some("answered 503"));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn an_answer_that_cannot_be_parsed_was_an_answer() {
    let headers = "\r\nx-header: x".repeat(5000);
    for response in [answer(&format!("200 OK{headers}"), ""), "SSH-2.0-OpenSSH_9.9\r\n".repeat(8)] {
        let (_server, receiver) = one_sink(&[response], |_| {}).await;
        receiver.deliver(&numbered(1)).await;
        until("the attempt failed", async || receiver.status().await.sinks[0].last_failure.is_some()).await;
        let failure = receiver.status().await.sinks.remove(0).last_failure.unwrap();
        assert_eq!(failure, "answered with a head that is too large or is not HTTP");
    }
}
