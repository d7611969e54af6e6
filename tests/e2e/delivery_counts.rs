//! The status counts rejected, duplicate and conflicting deliveries by kind.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{direct_client::DirectClient, harness::Harness};

pub fn check(harness: &mut Harness) -> Result<()> {
    let event =
        |title: &str| json!({"type": "link.created", "timestamp": 0, "data": {"link_id": "l1", "title": title}});
    let first = harness.new_link("True")?;
    harness.sink.wait_for(&[first], 30)?;

    let direct = DirectClient::new(harness)?;
    let (first, second) = (direct.deliver("dlv_same", &event("One"))?, direct.deliver("dlv_same", &event("Another"))?);
    harness.transcript.note(&format!("one id with two bodies: {first:?}, {second:?}"));
    ensure!(first.0 == 200 && second.0 == 200, "both must be accepted: {first:?}, {second:?}");

    let subscription = harness.field(".status.subscription.id")?;
    for (kind, times) in [("stale", 2), ("wrong-signature", 3), ("unsigned", 1), ("repeat", 1)] {
        for _ in 0..times {
            let answer =
                harness.simulator.post("/deliveries/forge", &json!({"subscription": subscription, "kind": kind}))?;
            harness.transcript.note(&format!("{kind}: {}", answer["answer"]));
        }
    }
    let counts = [
        ("verified", 2),
        ("conflict", 1),
        ("rejectedStale", 2),
        ("rejectedSignature", 3),
        ("rejectedMissingHeader", 1),
        ("duplicate", 1),
    ];
    for (count, expected) in counts {
        let path = format!("--for=jsonpath={{.status.receiver.lastHour.{count}}}={expected}");
        harness.transcript.show(&harness.kubectl("wait ltw/links-to-cms --timeout=90s").and(path))?;
    }
    harness.wait_for_reason("SignaturesVerified", "DeliveryIDConflict", 60)?;
    let all: Value = serde_json::from_str(&harness.field(".status.receiver.lastHour")?)?;
    harness.transcript.note(&format!("status.receiver.lastHour: {all}"));
    ensure!(all["unavailable"] == 0, "no delivery was answered 503: {all}");
    Ok(())
}
