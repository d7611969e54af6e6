//! What was refused, came twice or contradicts itself stands in the status, by its kind.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{direct::Direct, place::Place};

pub fn check(place: &mut Place) -> Result<()> {
    let event =
        |title: &str| json!({"type": "link.created", "timestamp": 0, "data": {"link_id": "l1", "title": title}});
    let first = place.new_link("True")?;
    place.sink.wait_for(&[first], 30)?;

    let direct = Direct::new(place)?;
    let (kept, other) = (direct.deliver("dlv_same", &event("One"))?, direct.deliver("dlv_same", &event("Another"))?);
    place.narrator.say(&format!("one id with two bodies: {kept:?}, {other:?}"));
    ensure!(kept.0 == 200 && other.0 == 200, "both must be kept: {kept:?}, {other:?}");

    let subscription = place.field(".status.subscription.id")?;
    for (kind, times) in [("stale", 2), ("wrong-signature", 3), ("unsigned", 1), ("repeat", 1)] {
        for _ in 0..times {
            let answer =
                place.simulator.post("/deliveries/forge", &json!({"subscription": subscription, "kind": kind}))?;
            place.narrator.say(&format!("{kind}: {}", answer["answer"]));
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
        place.narrator.show(&place.kubectl("wait ltw/links-to-cms --timeout=90s").and(path))?;
    }
    place.wait_for_reason("SignaturesVerified", "DeliveryIDConflict", 60)?;
    let all: Value = serde_json::from_str(&place.field(".status.receiver.lastHour")?)?;
    place.narrator.say(&format!("status.receiver.lastHour: {all}"));
    ensure!(all["unavailable"] == 0, "nothing was answered 503: {all}");
    Ok(())
}
