//! Dead letters and stored events are sent again, on request at the admin port.

use linktree_operator::route::redrive::Redrives;
use serde_json::json;

use super::fixture::{Collector, Running, numbered, route, sink, until, vacant};

#[tokio::test]
async fn the_dead_letters_of_a_sink_are_sent_again_with_their_ids() {
    let collector = Collector::start().await;
    let receiver = Running::start(&route(vec![sink("cms", collector.address)])).await;
    collector.answers(400);
    for n in 1..=5 {
        receiver.deliver(&numbered(n)).await;
    }
    until("they are dead letters", async || receiver.status().await.sinks[0].dead_lettered == Some(5)).await;
    collector.answers(204);
    let request = json!({"id": "cms 2026-11-30", "select": {"deadLetters": {"sink": "cms"}}, "maxPerSecond": 100});
    assert_eq!(receiver.redrive(&request).await, (202, r#"{"matched":5}"#.to_owned()));
    until("they arrived", async || collector.ids().len() == 5).await;
    let mut ids = collector.ids();
    ids.sort();
    assert_eq!(ids, ["d1", "d2", "d3", "d4", "d5"]);
    assert!(collector.taken().iter().all(|(header, _)| header["ce-replayed"] == "true"));
    receiver.deliver(&numbered(6)).await;
    until("a new event arrived", async || collector.ids().len() == 6).await;
    assert!(!collector.taken()[5].0.contains_key("ce-replayed"));
    assert_eq!(receiver.redrive(&request).await, (202, r#"{"matched":5}"#.to_owned()), "handled once");
    let status = receiver.status().await;
    assert_eq!(
        (status.sinks[0].dead_lettered, status.last_handled_redrive.as_deref()),
        (Some(0), Some("cms 2026-11-30"))
    );
    let Redrives { redrives } = receiver.read("/redrive").await;
    assert!(redrives[0].complete && redrives[0].queued == 5, "{redrives:?}");
    assert_eq!(collector.ids().len(), 6);
}

#[tokio::test]
async fn one_event_or_those_of_a_time_go_to_a_sink_of_your_choice() {
    let (first, second) = (Collector::start().await, Collector::start().await);
    let receiver = Running::start(&route(vec![sink("first", first.address)])).await;
    for n in 1..=3 {
        receiver.deliver(&numbered(n)).await;
    }
    until("they arrived", async || first.ids().len() == 3).await;
    receiver.reroute(&route(vec![sink("first", first.address), sink("second", second.address)])).await;
    let by_id = json!({"id": "r1", "select": {"event": {"deliveryId": "d2"}}, "targetSink": "second"});
    assert_eq!(receiver.redrive(&by_id).await.0, 202);
    until("it arrived", async || second.ids() == ["d2"]).await;
    let by_position = json!({"id": "r2", "select": {"event": {"position": 3}}, "targetSink": "second"});
    assert_eq!(receiver.redrive(&by_position).await.0, 202);
    until("it arrived", async || second.ids() == ["d2", "d3"]).await;
    let time = json!({"fromTime": 0, "toTime": i64::MAX});
    let by_time = json!({"id": "r3", "select": {"received": time}, "targetSink": "second"});
    assert_eq!(receiver.redrive(&by_time).await, (202, r#"{"matched":3}"#.to_owned()));
    until("all arrived", async || second.ids().len() == 5).await;
    assert_eq!(first.ids().len(), 3);
}

#[tokio::test]
async fn a_request_is_accepted_again_when_all_of_its_events_have_been_sent() {
    let collector = Collector::start().await;
    let receiver = Running::start(&route(vec![sink("old", vacant().await)])).await;
    receiver.deliver(&numbered(1)).await;
    receiver.reroute(&route(vec![sink("new", collector.address)])).await;
    until("it is a dead letter", async || {
        receiver.status().await.removed_sinks.iter().any(|old| old.dead_lettered == 1)
    })
    .await;
    let request = json!({"id": "r", "select": {"deadLetters": {"sink": "old"}}, "targetSink": "new"});
    let accepted = (202, r#"{"matched":1}"#.to_owned());
    assert_eq!(receiver.redrive(&request).await, accepted);
    until("it arrived", async || collector.ids() == ["d1"]).await;
    assert_eq!(receiver.redrive(&request).await, accepted, "handled once");
}

#[tokio::test]
async fn a_wrong_request_is_rejected_and_names_the_reason() {
    let receiver = Running::start(&route(vec![sink("cms", vacant().await)])).await;
    let event = |reference| json!({"id": "r", "select": {"event": reference}, "targetSink": "cms"});
    for (request, status, reason) in [
        (json!({}), 400, "missing field"),
        (json!({"id": "r", "select": {"deadLetters": {"sink": "old"}}}), 404, "not a sink"),
        (json!({"id": "r", "select": {"deadLetters": {"sink": "old"}}, "targetSink": "cms"}), 404, "no dead letters"),
        (event(json!({"position": 7})), 404, "no event at position 7"),
        (event(json!({"deliveryId": "d7"})), 404, "no event with this delivery id"),
    ] {
        let (answer, text) = receiver.redrive(&request).await;
        assert!(answer == status && text.contains(reason), "{request}: {answer} {text}");
    }
    assert_eq!(receiver.status().await.last_handled_redrive, None);
    let anonymous = receiver.client.post(format!("http://{}/redrive", receiver.admin)).json(&event(json!({})));
    assert_eq!(anonymous.send().await.unwrap().status(), 401);
    let public = receiver.client.post(format!("http://{}/redrive", receiver.delivery)).bearer_auth("t0ken");
    assert_eq!(public.send().await.unwrap().status(), 404);
}
