//! Requests to sinks: format, order, and holds.

use std::collections::BTreeMap;

use linktree_operator::{
    linktree::secret::Secret,
    receiver::sink::signature,
    route::{self, Format, Ordering, Sink, SinkUrl, TemplateSource, credentials::SigningKey},
};
use serde_json::Value;

use super::fixture::{self, BODY, Collector, Delivery, Running, SECRET, delivery, numbered, route, sink, until};

fn template(body: &str) -> Format {
    let content_type = "application/json".to_owned();
    Format::Template(TemplateSource { body: body.to_owned(), content_type, headers: BTreeMap::new() })
}

/// A receiver whose only sink is the collector.
async fn one_sink(collector: &Collector, edit: impl FnOnce(&mut Sink)) -> Running {
    let mut cms = sink("cms", collector.address);
    edit(&mut cms);
    Running::start(&route(vec![cms])).await
}

/// A delivery about a change of a link.
fn change(id: &str, link: &str) -> Delivery {
    let body = format!(r#"{{"type":"link.updated","data":{{"link_id":"{link}","title":"{id}"}},"timestamp":1}}"#);
    delivery(id, &body, SECRET)
}

#[tokio::test]
async fn each_sink_gets_its_format() {
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
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;
    let (header, body) = structured.taken().remove(0);
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(header["content-type"], "application/cloudevents+json; charset=utf-8");
    assert_eq!((event["id"].as_str(), event["data"]["data"]["link_id"].as_str()), (Some("dlv_1"), Some("l1")));
    let (header, body) = raw.taken().remove(0);
    assert_eq!((&body[..], header.get("ce-id")), (BODY.as_bytes(), None));
    assert_eq!(own.taken().remove(0).1, r#"{"text": "New: Ü (dlv_1)"}"#);
}

#[tokio::test]
async fn an_event_whose_template_fails_is_dead_lettered_and_the_next_is_forwarded() {
    let collector = Collector::start().await;
    let receiver = one_sink(&collector, |sink| sink.format = template(r#"{"t": "{{ event.data.title }}"}"#)).await;
    receiver.deliver(&numbered(1)).await;
    until("the event is dead-lettered", async || receiver.status().await.sinks[0].dead_lettered == Some(1)).await;
    receiver.deliver(&delivery("dlv_2", BODY, SECRET)).await;
    until("the next event arrived", async || collector.taken().len() == 1).await;
    let status = receiver.status().await.sinks.remove(0);
    assert_eq!(status.consecutive_failures, 0, "a template error must not count as a failure of the sink");
    assert_eq!(status.last_failure.as_deref(), Some("not sent: line 1: uses a field the event does not have"));
}

#[tokio::test]
async fn every_attempt_is_signed_and_has_the_same_trace() {
    let collector = Collector::start().await;
    collector.answers(503);
    let secret = Secret::new("whsec_c2VjcmV0");
    let key = SigningKey::parse(&secret).unwrap();
    let receiver = one_sink(&collector, |sink| sink.signing_secret = Some(secret)).await;
    receiver.deliver(&delivery("dlv_1", BODY, SECRET)).await;
    until("the event was attempted", async || !collector.asked().is_empty()).await;
    collector.answers(204);
    until("the event was taken", async || collector.taken().len() == 1).await;
    let asked = collector.asked();
    for header in &asked {
        let timestamp = header["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        assert_eq!(header["webhook-id"], "dlv_1");
        assert_eq!(header["webhook-signature"], signature::sign(&key, "dlv_1", timestamp, BODY.as_bytes()));
    }
    let traces: Vec<&str> = asked.iter().map(|header| header["traceparent"].to_str().unwrap()).collect();
    assert_eq!(traces[0][..35], traces[1][..35]);
    assert_ne!(traces[0], traces[1]);
}

#[tokio::test]
async fn a_failing_sink_is_held_and_all_events_arrive_later() {
    let collector = Collector::start().await;
    collector.answers(500);
    let receiver = one_sink(&collector, |_| {}).await;
    for n in 0..40 {
        receiver.deliver(&numbered(n)).await;
    }
    until("the sink is held", async || receiver.status().await.sinks[0].held.is_some()).await;
    // Eight attempts may have been in flight when the fifth failed, followed by one or two probes.
    assert!(collector.asked().len() < 20, "{}", collector.asked().len());
    collector.answers(204);
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;
    assert_eq!(collector.ids().len(), 40);
    let status = receiver.status().await.sinks.remove(0);
    assert_eq!((status.held, status.consecutive_failures, status.dead_lettered), (None, 0, Some(0)));
}

#[tokio::test]
async fn changes_of_one_link_keep_their_order_across_a_restart() {
    let collector = Collector::start().await;
    collector.answers(503);
    let receiver = one_sink(&collector, |sink| sink.ordering = Ordering::ByResource).await;
    receiver.deliver(&change("a1", "a")).await;
    until("an attempt failed", async || receiver.status().await.sinks[0].consecutive_failures > 0).await;
    receiver.deliver(&change("a2", "a")).await;
    until("the second event waits", async || receiver.status().await.backlog == Some(2)).await;
    let receiver = Running::start_in(receiver.stop().await).await;
    collector.answers(204);
    until("the receiver is ready", async || receiver.get("/readyz").await.status() == 200).await;
    for id in ["a3", "a4"] {
        receiver.deliver(&change(id, "a")).await;
    }
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;
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
    until("an attempt failed", async || receiver.status().await.sinks[0].consecutive_failures > 0).await;
    collector.answers(204);
    for (id, link) in [("a2", "a"), ("b1", "b"), ("b2", "b")] {
        receiver.deliver(&change(id, link)).await;
    }
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;
    assert_eq!(collector.ids(), ["b1", "b2", "a1", "a2"]);
}

#[tokio::test]
async fn a_forbidden_sink_address_is_never_contacted() {
    let collector = Collector::start().await;
    let port = collector.address.port();
    let mut sinks = vec![];
    // As an address, in other spellings of it, and as a name that resolves to it.
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
    until("the receiver is ready", async || receiver.get("/readyz").await.status() == 200).await;
    receiver.deliver(&numbered(1)).await;
    until("all sinks were rejected", async || {
        receiver.status().await.sinks.iter().all(|sink| sink.consecutive_failures > 0)
    })
    .await;
    for sink in receiver.status().await.sinks {
        let failure = sink.last_failure.unwrap();
        assert!(failure.starts_with("not sent: ") && failure.ends_with("may be connected to"), "{failure}");
    }
    assert!(collector.asked().is_empty());
}

#[tokio::test]
async fn a_filter_selects_events_and_an_evaluation_error_is_dead_lettered() {
    let collector = Collector::start().await;
    let filter = "event.type == 'link.updated' && event.data.title != 'boring'";
    let receiver = one_sink(&collector, |sink| sink.filter = Some(filter.into())).await;
    for sent in [change("boring", "a"), change("news", "a"), delivery("created", BODY, SECRET)] {
        receiver.deliver(&sent).await;
    }
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;
    assert_eq!((collector.ids(), receiver.status().await.sinks[0].dead_lettered), (vec!["news".to_owned()], Some(0)));
    receiver.deliver(&numbered(1)).await;
    until("the event is dead-lettered", async || receiver.status().await.sinks[0].dead_lettered == Some(1)).await;
    let failure = receiver.status().await.sinks.remove(0).last_failure.unwrap();
    assert!(failure.contains("a field that it uses is missing"), "{failure}");
}

#[tokio::test]
async fn events_wait_for_an_unresolved_sink() {
    let collector = Collector::start().await;
    let mut cms = sink("cms", collector.address);
    let url = cms.url.take();
    let receiver = Running::start(&route(vec![cms.clone()])).await;
    for n in 0..3 {
        receiver.deliver(&numbered(n)).await;
    }
    until("the events wait", async || receiver.status().await.backlog == Some(3)).await;
    cms.url = url;
    receiver.reroute(&route(vec![cms])).await;
    until("the events arrive", async || collector.ids().len() == 3).await;
    assert_eq!(receiver.status().await.sinks[0].consecutive_failures, 0, "waiting must not count as a failure");
}

#[tokio::test]
async fn an_odd_value_kills_no_event_at_a_template_or_filter_sink() {
    let (own, filtered) = tokio::join!(Collector::start(), Collector::start());
    let mut with_template = sink("own", own.address);
    with_template.format = template(r#"{"id": "{{ event.data.link_id }}"}"#);
    let mut with_filter = sink("filtered", filtered.address);
    with_filter.filter = Some("event.data.link_id == 'l1'".to_owned());
    let receiver = Running::start(&route(vec![with_template, with_filter])).await;
    let deep = format!("{}{}", "[".repeat(126), "]".repeat(126));
    let odd = [r#""Sale \ud83d""#, r#""\udd25""#, "1e999", &deep, r#"1,"note":2"#];
    for (n, odd) in odd.iter().enumerate() {
        let body = format!(r#"{{"type":"link.created","data":{{"link_id":"l1","note":{odd}}},"timestamp":1}}"#);
        receiver.deliver(&delivery(&format!("d{n}"), &body, SECRET)).await;
    }
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;
    for sink in receiver.status().await.sinks {
        assert_eq!((sink.dead_lettered, sink.last_failure), (Some(0), None), "{}", sink.name);
    }
    assert_eq!((own.taken().len(), filtered.taken().len()), (odd.len(), odd.len()));
    assert!(own.taken().iter().all(|(_, body)| body == r#"{"id": "l1"}"#));
}
