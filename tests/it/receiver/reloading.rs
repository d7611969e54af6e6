//! A changed route file is loaded without a restart; an invalid one is ignored.

use linktree_operator::route::{
    Route,
    journal::{Detail, SinkEntry, SinkState},
    status::RemovedSink,
};

use super::fixture::{BODY, Collector, Running, SECRET, delivery, key, numbered, route, sink, until, vacant};

#[tokio::test]
async fn a_receiver_is_not_ready_without_a_route_file() {
    let receiver = Running::start_in(tempfile::tempdir().unwrap()).await;
    assert_eq!(receiver.get("/healthz").await.status(), 200);
    let unready = receiver.get("/readyz").await;
    assert_eq!((unready.status().as_u16(), unready.text().await.unwrap().contains("route file")), (503, true));
    assert_eq!(receiver.get("/status").await.status(), 503);
    let early = delivery("d1", BODY, SECRET);
    let response = receiver.post(&early).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"10".parse().unwrap()));
    std::fs::write(receiver.route_file(), b"{").unwrap();
    assert_eq!(receiver.get("/readyz").await.status(), 503);
    std::fs::write(receiver.route_file(), route(vec![]).render().unwrap()).unwrap();
    until("the receiver is ready", async || receiver.get("/readyz").await.status() == 200).await;
    assert_eq!(receiver.deliver(&early).await.0, 200);
}

#[tokio::test]
async fn keys_are_replaced_at_run_time() {
    let mut route = route(vec![]);
    let receiver = Running::start(&route).await;
    assert_eq!(receiver.deliver(&delivery("d1", BODY, "rotated")).await.0, 403);
    route.keys.insert(0, key("k2", "rotated"));
    receiver.reroute(&route).await;
    assert_eq!(receiver.deliver(&delivery("d1", BODY, "rotated")).await.0, 200);
    assert_eq!(receiver.status().await.last_verified_key.as_deref(), Some("k2"));
    assert_eq!(receiver.deliver(&numbered(2)).await.0, 200, "the previous key still verifies");
    route.keys.pop();
    receiver.reroute(&route).await;
    assert_eq!(receiver.deliver(&numbered(3)).await.0, 403);
    route.keys.clear();
    receiver.reroute(&route).await;
    assert_eq!(receiver.deliver(&numbered(3)).await.0, 503, "missing keys must not be reported as the sender's error");
}

#[tokio::test]
async fn sinks_are_added_and_removed_at_run_time() {
    let (first, second) = (Collector::start().await, Collector::start().await);
    let receiver = Running::start(&route(vec![sink("first", first.address)])).await;
    receiver.deliver(&numbered(1)).await;
    receiver.reroute(&route(vec![sink("first", first.address), sink("second", second.address)])).await;
    receiver.deliver(&numbered(2)).await;
    until("both sinks have the event", async || first.ids().len() == 2 && second.ids().len() == 1).await;
    assert_eq!(second.ids(), ["d2"], "a new sink gets only later events");
    receiver.reroute(&route(vec![sink("second", second.address)])).await;
    receiver.deliver(&numbered(3)).await;
    until("the remaining sink has the event", async || second.ids() == ["d2", "d3"]).await;
    assert_eq!(first.ids(), ["d1", "d2"]);
    receiver.reroute(&route(vec![sink("second", first.address)])).await;
    receiver.deliver(&numbered(4)).await;
    until("the event arrives at the new address", async || first.ids() == ["d1", "d2", "d4"]).await;
}

#[tokio::test]
async fn an_invalid_file_keeps_the_last_valid_route() {
    let good = route(vec![]);
    let receiver = Running::start(&good).await;
    let digest = Route::digest(&good.render().unwrap());
    std::fs::write(receiver.route_file(), b"{ not a route").unwrap();
    assert_eq!(receiver.deliver(&numbered(1)).await.0, 200);
    std::fs::remove_file(receiver.route_file()).unwrap();
    assert_eq!(receiver.deliver(&numbered(2)).await.0, 200);
    assert_eq!(receiver.status().await.route_digest, digest);
    let mut next = good;
    next.keys = vec![key("k2", "rotated")];
    receiver.reroute(&next).await;
    assert_eq!(receiver.deliver(&numbered(3)).await.0, 403);
}

#[tokio::test]
async fn the_events_of_a_renamed_sink_become_dead_letters_of_its_old_name() {
    let address = vacant().await;
    let receiver = Running::start(&route(vec![sink("cms", address)])).await;
    for n in 1..=6 {
        receiver.deliver(&numbered(n)).await;
    }
    until("the sink was tried", async || receiver.status().await.sinks[0].consecutive_failures > 0).await;
    receiver.reroute(&route(vec![sink("cms-v2", address)])).await;
    receiver.deliver(&numbered(7)).await;
    let removed = RemovedSink { name: "cms".into(), backlog: 0, dead_lettered: 6 };
    until("they are dead letters", async || receiver.status().await.removed_sinks == [removed.clone()]).await;
    let Detail { sinks, .. } = receiver.read("/journal/1").await;
    let [SinkEntry { name, state: SinkState::DeadLetter { failure, .. } }] = &sinks[..] else { panic!("{sinks:?}") };
    assert_eq!((name.as_str(), failure.contains("removed")), ("cms", true), "the new sink has not had it: {failure}");
    receiver.reroute(&route(vec![sink("cms", address)])).await;
    let status = receiver.status().await;
    assert_eq!((status.sinks[0].dead_lettered, status.removed_sinks[0].name.as_str()), (Some(6), "cms-v2"));
}
