//! The journal is full of events that no sink takes: new ones are refused and not dropped, the webhook says so, and it
//! is over by itself when a sink takes them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{direct::Direct, place::Place, wait};

/// The smallest journal there can be.
pub const SPEC: &str = "  receiver:\n    journal: {capacity: 64Mi}\n";
/// Four events a mebibyte, so that this is more than it holds.
const EVENTS_MAX: usize = 400;
const EVENT_BYTES: usize = 250_000;
const AT_MOST: Duration = Duration::from_secs(60);

pub fn check(place: &mut Place) -> Result<()> {
    place.narrator.show(&place.kubectl("scale deployment/event-sink --replicas=0"))?;
    place.narrator.show(&place.kubectl("wait --for=delete pod --selector=app=event-sink --timeout=60s"))?;
    let direct = Direct::new(place)?;
    let event = |number: usize| {
        let title = "x".repeat(EVENT_BYTES);
        json!({"type": "link.created", "timestamp": number, "data": {"link_id": format!("l{number}"), "title": title}})
    };
    let mut refused = None;
    for number in 0..EVENTS_MAX {
        let (status, body) = direct.deliver(&format!("dlv_{number}"), &event(number))?;
        ensure!(status == 200 || status == 503, "delivery {number} is answered {status} {body}");
        if status == 503 {
            refused = Some(number);
            break;
        }
    }
    let refused = refused.with_context(|| format!("{EVENTS_MAX} events of {EVENT_BYTES} bytes all went in"))?;
    let began = Instant::now();
    place.narrator.say(&format!("after {refused} events the next is answered 503"));
    place.wait_for_reason("ReceiverAvailable", "StorageUnavailable", AT_MOST.as_secs())?;
    place.narrator.say(&format!("the condition says so after {:.1} s", began.elapsed().as_secs_f32()));
    place.narrator.show(&place.kubectl("get ltw --output=wide"))?;

    place.narrator.show(&place.kubectl("scale deployment/event-sink --replicas=1"))?;
    let taken = wait::until("the refused delivery is accepted when it comes again", 120, || {
        let (status, _) = direct.deliver(&format!("dlv_{refused}"), &event(refused))?;
        Ok((status == 200).then(|| began.elapsed()))
    })?;
    place.narrator.say(&format!("room again, and the delivery accepted, after {:.1} s", taken.as_secs_f32()));
    place.wait_for_reason("ReceiverAvailable", "Available", 60)?;
    place.narrator.show(&place.kubectl("wait --for=condition=Ready ltw/links-to-cms --timeout=60s"))?;
    place
        .narrator
        .show(&place.kubectl("wait --for=jsonpath={.status.receiver.backlog}=0 ltw/links-to-cms --timeout=120s"))?;
    let lost = place.field(".status.receiver.lastHour.deadLettered")?;
    ensure!(lost == "0", "{lost} events were given up");
    Ok(())
}
