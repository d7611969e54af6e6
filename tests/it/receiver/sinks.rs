//! What a sink is sent, in which form and order, and when it is left in peace.

use std::collections::BTreeMap;

use linktree_operator::{
    linktree::secret::Secret,
    receiver::sink::signature,
    route::{self, Format, Ordering, Sink, SinkUrl, TemplateSource},
};
use serde_json::Value;

use super::fixture::{self, BODY, Collector, Delivery, Running, SECRET, delivery, numbered, route, sink, until};

fn template(body: &str) -> Format {
    let content_type = "application/json".to_owned();
    Format::Template(TemplateSource { body: body.to_owned(), content_type, headers: BTreeMap::new() })
}

/// A receiver with one sink, at the collector.
async fn one_sink(collector: &Collector, edit: impl FnOnce(&mut Sink)) -> Running {
    let mut cms = sink("cms", collector.address);
    edit(&mut cms);
    Running::start(&route(vec![cms])).await
}

/// A change of a link, one of many.
fn change(id: &str, link: &str) -> Delivery {
    let body = format!(r#"{{"type":"link.updated","data":{{"link_id":"{link}","title":"{id}"}},"timestamp":1}}"#);
    delivery(id, &body, SECRET)
}

#[tokio::test]
async fn each_sink_gets_the_form_it_asks_for() {
    let (structured, raw, own) = tokio::join!(Collector::start(), Collector::start(), Collector::start());
    let with = |name: &str, collector: &Collector, format: Format| {
        let mut sink = sink(name, collector.address);
        sink.format = format;
        sink
    };
    let receiver = Running::start(&route(vec![
        with("structured", &structured, Format::CloudEventStructured),
        with("raw", &raw, Format::Raw),
        with("own", &own, template(r#"{"text": "New: {{ event.data.title }} ({{ event.id }})"}"#)),
    ]))
    .await;
    receiver.deliver(&delivery("dlv_1", BODY, SECRET)).await;
    until("all settled", async || receiver.status().await.backlog == 0).await;
    let (header, body) = structured.taken().remove(0);
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(header["content-type"], "application/cloudevents+json; charset=utf-8");
    assert_eq!((event["id"].as_str(), event["data"]["data"]["link_id"].as_str()), (Some("dlv_1"), Some("l1")));
    let (header, body) = raw.taken().remove(0);
    assert_eq!((&body[..], header.get("ce-id")), (BODY.as_bytes(), None));
    assert_eq!(own.taken().remove(0).1, r#"{"text": "New: Ü (dlv_1)"}"#);
}

#[tokio::test]
async fn an_event_that_does_not_fit_a_template_is_kept_with_the_reason_and_the_next_goes_on() {
    let collector = Collector::start().await;
    let receiver = one_sink(&collector, |sink| sink.format = template(r#"{"t": "{{ event.data.title }}"}"#)).await;
    receiver.deliver(&numbered(1)).await;
    until("it is given up", async || receiver.status().await.sinks[0].dead_lettered == 1).await;
    receiver.deliver(&delivery("dlv_2", BODY, SECRET)).await;
    until("the next arrived", async || collector.taken().len() == 1).await;
    let status = receiver.status().await.sinks.remove(0);
    assert_eq!(status.consecutive_failures, 0, "it was not the sink that failed");
    assert_eq!(status.last_failure.as_deref(), Some("not sent: line 1: uses a field the event does not have"));
}

#[tokio::test]
async fn every_attempt_is_signed_and_of_the_same_trace() {
    let collector = Collector::start().await;
    collector.answers(503);
    let secret = Secret::new("whsec_c2VjcmV0");
    let receiver = one_sink(&collector, |sink| sink.signing_secret = Some(secret.clone())).await;
    receiver.deliver(&delivery("dlv_1", BODY, SECRET)).await;
    until("it was tried", async || !collector.asked().is_empty()).await;
    collector.answers(204);
    until("it was taken", async || collector.taken().len() == 1).await;
    let asked = collector.asked();
    for header in &asked {
        let timestamp = header["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        assert_eq!(header["webhook-id"], "dlv_1");
        assert_eq!(header["webhook-signature"], signature::sign(&secret, "dlv_1", timestamp, BODY.as_bytes()));
    }
    let traces: Vec<&str> = asked.iter().map(|header| header["traceparent"].to_str().unwrap()).collect();
    assert_eq!(traces[0][..35], traces[1][..35]);
    assert_ne!(traces[0], traces[1]);
}

#[tokio::test]
async fn a_sink_that_fails_time_and_again_is_left_in_peace_and_gets_all_of_it_later() {
    let collector = Collector::start().await;
    collector.answers(500);
    let receiver = one_sink(&collector, |_| {}).await;
    for n in 0..40 {
        receiver.deliver(&numbered(n)).await;
    }
    until("its circuit opens", async || receiver.status().await.sinks[0].circuit_open_until.is_some()).await;
    // Eight may have been under way when the fifth failed; a probe or two may have followed.
    assert!(collector.asked().len() < 20, "{}", collector.asked().len());
    collector.answers(204);
    until("all is settled", async || receiver.status().await.backlog == 0).await;
    assert_eq!(collector.ids().len(), 40);
    let status = receiver.status().await.sinks.remove(0);
    assert_eq!((status.circuit_open_until, status.consecutive_failures, status.dead_lettered), (None, 0, 0));
}

#[tokio::test]
async fn changes_of_one_link_keep_their_order_also_over_a_restart() {
    let collector = Collector::start().await;
    collector.answers(503);
    let receiver = one_sink(&collector, |sink| sink.ordering = Ordering::ByResource).await;
    receiver.deliver(&change("a1", "a")).await;
    until("it failed", async || receiver.status().await.sinks[0].consecutive_failures > 0).await;
    receiver.deliver(&change("a2", "a")).await;
    until("the second waits", async || receiver.status().await.backlog == 2).await;
    let receiver = Running::start_in(receiver.stop().await).await;
    collector.answers(204);
    until("it is ready", async || receiver.get("/readyz").await.status() == 200).await;
    for id in ["a3", "a4"] {
        receiver.deliver(&change(id, "a")).await;
    }
    until("all is settled", async || receiver.status().await.backlog == 0).await;
    assert_eq!(collector.ids(), ["a1", "a2", "a3", "a4"]);
}

#[tokio::test]
async fn changes_of_another_link_do_not_wait() {
    let collector = Collector::start().await;
    collector.answers(503);
    let receiver = one_sink(&collector, |sink| {
        sink.ordering = Ordering::ByResource;
        (sink.retry.delay_seconds, sink.retry.max_delay_seconds) = (4, 4);
    })
    .await;
    receiver.deliver(&change("a1", "a")).await;
    until("it failed", async || receiver.status().await.sinks[0].consecutive_failures > 0).await;
    collector.answers(204);
    for (id, link) in [("a2", "a"), ("b1", "b"), ("b2", "b")] {
        receiver.deliver(&change(id, link)).await;
    }
    until("all is settled", async || receiver.status().await.backlog == 0).await;
    assert_eq!(collector.ids(), ["b1", "b2", "a1", "a2"]);
}

#[tokio::test]
async fn nobody_is_asked_at_an_address_that_sinks_must_not_have() {
    let collector = Collector::start().await;
    let port = collector.address.port();
    let mut sinks = vec![];
    // By its address, by its address in disguise, by a name that leads there.
    for (name, host) in
        [("literal", "127.0.0.1"), ("hex", "0x7f.1"), ("mapped", "[::ffff:127.0.0.1]"), ("name", "localhost")]
    {
        let mut sink = sink(name, collector.address);
        sink.url = Some(SinkUrl::new(format!("http://{host}:{port}/in").parse().unwrap()));
        sinks.push(sink);
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(route::FILE), fixture::route(sinks).render().unwrap()).unwrap();
    let receiver = Running::start_with(directory, &[]).await;
    until("it is ready", async || receiver.get("/readyz").await.status() == 200).await;
    receiver.deliver(&numbered(1)).await;
    until("all were refused", async || receiver.status().await.sinks.iter().all(|sink| sink.consecutive_failures > 0))
        .await;
    for sink in receiver.status().await.sinks {
        let failure = sink.last_failure.unwrap();
        assert!(failure.starts_with("not sent: ") && failure.ends_with("events may be sent to"), "{failure}");
    }
    assert!(collector.asked().is_empty());
}

#[tokio::test]
async fn a_filter_picks_events_and_one_it_cannot_judge_is_kept_with_the_reason() {
    let collector = Collector::start().await;
    let filter = "event.type == 'link.updated' && event.data.title != 'boring'";
    let receiver = one_sink(&collector, |sink| sink.filter = Some(filter.into())).await;
    for sent in [change("boring", "a"), change("news", "a"), delivery("created", BODY, SECRET)] {
        receiver.deliver(&sent).await;
    }
    until("all is settled", async || receiver.status().await.backlog == 0).await;
    assert_eq!((collector.ids(), receiver.status().await.sinks[0].dead_lettered), (vec!["news".to_owned()], 0));
    receiver.deliver(&numbered(1)).await;
    until("it is given up", async || receiver.status().await.sinks[0].dead_lettered == 1).await;
    let failure = receiver.status().await.sinks.remove(0).last_failure.unwrap();
    assert!(failure.contains("a field that it uses is missing"), "{failure}");
}

#[tokio::test]
async fn events_wait_for_a_sink_until_it_is_known_where_it_is() {
    let collector = Collector::start().await;
    let mut cms = sink("cms", collector.address);
    let url = cms.url.take();
    let receiver = Running::start(&route(vec![cms.clone()])).await;
    for n in 0..3 {
        receiver.deliver(&numbered(n)).await;
    }
    until("they wait", async || receiver.status().await.backlog == 3).await;
    cms.url = url;
    receiver.reroute(&route(vec![cms])).await;
    until("they arrive", async || collector.ids().len() == 3).await;
    assert_eq!(receiver.status().await.sinks[0].consecutive_failures, 0, "waiting is no failure");
}
