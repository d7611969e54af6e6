//! Forwarding is paused: deliveries are verified, kept and answered as ever, and go out in order afterwards.

use linktree_operator::route::{Forwarding, Ordering};

use super::fixture::{Collector, Running, SECRET, delivery, route, sink, until};

/// Deliveries that speak of one link.
async fn deliver(receiver: &Running, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let body = format!(r#"{{"type":"link.updated","data":{{"link_id":"l1","n":{n}}},"timestamp":1700000000}}"#);
        assert_eq!(receiver.deliver(&delivery(&format!("d{n:02}"), &body, SECRET)).await.0, 200);
    }
}

#[tokio::test]
async fn paused_forwarding_keeps_all_and_sends_it_in_order_afterwards() {
    let collector = Collector::start().await;
    let mut cms = sink("cms", collector.address);
    cms.ordering = Ordering::ByResource;
    let mut route = route(vec![cms]);
    route.forwarding = Forwarding::Paused;
    let receiver = Running::start(&route).await;
    deliver(&receiver, 0..10).await;
    assert_eq!(receiver.deliver(&delivery("bad", "{}", "wrong")).await.0, 403, "it still verifies");
    let status = receiver.status().await;
    assert_eq!((status.backlog, status.last_hour.verified, collector.asked().len()), (10, 10, 0));

    route.forwarding = Forwarding::On;
    receiver.reroute(&route).await;
    until("the backlog is out", async || receiver.status().await.backlog == 0).await;

    // And again, with a worker that has nothing to do and waits for events.
    route.forwarding = Forwarding::Paused;
    receiver.reroute(&route).await;
    deliver(&receiver, 10..20).await;
    assert_eq!((receiver.status().await.backlog, collector.asked().len()), (10, 10));

    // What was kept outlives a restart while paused.
    let receiver = Running::start_in(receiver.stop().await).await;
    until("it is ready", async || receiver.get("/readyz").await.status() == 200).await;
    deliver(&receiver, 20..25).await;
    assert_eq!((receiver.status().await.backlog, collector.asked().len()), (15, 10));
    route.forwarding = Forwarding::On;
    receiver.reroute(&route).await;
    until("the backlog is out", async || receiver.status().await.backlog == 0).await;
    let expected: Vec<_> = (0..25).map(|n| format!("d{n:02}")).collect();
    assert_eq!(collector.ids(), expected);
}
