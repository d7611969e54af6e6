//! Paused forwarding: deliveries are verified, stored and answered, and forwarded in order once resumed.

use linktree_operator::route::{Forwarding, Ordering};

use super::fixture::{Collector, Running, SECRET, delivery, route, sink, until};

/// Sends deliveries about one link.
async fn deliver(receiver: &Running, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let body = format!(r#"{{"type":"link.updated","data":{{"link_id":"l1","n":{n}}},"timestamp":1700000000}}"#);
        assert_eq!(receiver.deliver(&delivery(&format!("d{n:02}"), &body, SECRET)).await.0, 200);
    }
}

#[tokio::test]
async fn paused_forwarding_stores_events_and_forwards_them_in_order_once_resumed() {
    let collector = Collector::start().await;
    let mut cms = sink("cms", collector.address);
    cms.ordering = Ordering::ByResource;
    let mut route = route(vec![cms]);
    route.forwarding = Forwarding::Paused;
    let receiver = Running::start(&route).await;
    deliver(&receiver, 0..10).await;
    assert_eq!(receiver.deliver(&delivery("bad", "{}", "wrong")).await.0, 403, "a paused receiver must verify");
    let status = receiver.status().await;
    assert_eq!((status.backlog, status.last_hour.verified, collector.asked().len()), (Some(10), 10, 0));

    route.forwarding = Forwarding::On;
    receiver.reroute(&route).await;
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;

    // Again, with an idle worker that waits for events.
    route.forwarding = Forwarding::Paused;
    receiver.reroute(&route).await;
    deliver(&receiver, 10..20).await;
    assert_eq!((receiver.status().await.backlog, collector.asked().len()), (Some(10), 10));

    // Stored events survive a restart while paused.
    let receiver = Running::start_in(receiver.stop().await).await;
    until("the receiver is ready", async || receiver.get("/readyz").await.status() == 200).await;
    deliver(&receiver, 20..25).await;
    assert_eq!((receiver.status().await.backlog, collector.asked().len()), (Some(15), 10));
    route.forwarding = Forwarding::On;
    receiver.reroute(&route).await;
    until("the backlog is empty", async || receiver.status().await.backlog == Some(0)).await;
    let expected: Vec<_> = (0..25).map(|n| format!("d{n:02}")).collect();
    assert_eq!(collector.ids(), expected);
}
