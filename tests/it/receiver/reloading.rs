//! A changed route file is taken up without a restart; a bad one changes nothing.

use linktree_operator::route::Route;

use super::fixture::{BODY, Collector, Running, SECRET, delivery, key, numbered, route, sink, until};

#[tokio::test]
async fn a_receiver_waits_for_its_route_file_and_says_so() {
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
    until("it is ready", async || receiver.get("/readyz").await.status() == 200).await;
    assert_eq!(receiver.deliver(&early).await.0, 200);
}

#[tokio::test]
async fn keys_are_swapped_while_it_runs() {
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
    assert_eq!(receiver.deliver(&numbered(3)).await.0, 503, "without keys it is our fault, not the sender's");
}

#[tokio::test]
async fn sinks_come_and_go_while_it_runs() {
    let (first, second) = (Collector::start().await, Collector::start().await);
    let receiver = Running::start(&route(vec![sink("first", first.address)])).await;
    receiver.deliver(&numbered(1)).await;
    receiver.reroute(&route(vec![sink("first", first.address), sink("second", second.address)])).await;
    receiver.deliver(&numbered(2)).await;
    until("both have it", async || first.ids().len() == 2 && second.ids().len() == 1).await;
    assert_eq!(second.ids(), ["d2"], "a new sink gets what comes from then on");
    receiver.reroute(&route(vec![sink("second", second.address)])).await;
    receiver.deliver(&numbered(3)).await;
    until("the one that stayed has it", async || second.ids() == ["d2", "d3"]).await;
    assert_eq!(first.ids(), ["d1", "d2"]);
    receiver.reroute(&route(vec![sink("second", first.address)])).await;
    receiver.deliver(&numbered(4)).await;
    until("it goes to the new address", async || first.ids() == ["d1", "d2", "d4"]).await;
}

#[tokio::test]
async fn a_bad_file_leaves_the_last_good_route_in_use() {
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
