//! The journal is full because the sink is down: the receiver answers new deliveries with 503 and drops no event, the
//! webhook's condition reports it, and the receiver recovers once the sink accepts events.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{direct_client::DirectClient, harness::Harness, wait};

/// The smallest capacity that a journal may have.
pub const SPEC: &str = "  receiver:\n    journal: {capacity: 64Mi}\n";
/// More than the journal holds, at four events per mebibyte.
const EVENTS_MAX: usize = 400;
const EVENT_BYTES: usize = 250_000;
const REPORT_WITHIN: Duration = Duration::from_secs(60);

pub fn check(harness: &mut Harness) -> Result<()> {
    harness.transcript.show(&harness.kubectl("scale deployment/event-sink --replicas=0"))?;
    harness.transcript.show(&harness.kubectl("wait --for=delete pod --selector=app=event-sink --timeout=60s"))?;
    let direct = DirectClient::new(harness)?;
    let event = |number: usize| {
        let title = "x".repeat(EVENT_BYTES);
        json!({"type": "link.created", "timestamp": number, "data": {"link_id": format!("l{number}"), "title": title}})
    };
    let mut rejected = None;
    for number in 0..EVENTS_MAX {
        let (status, body) = direct.deliver(&format!("dlv_{number}"), &event(number))?;
        ensure!(status == 200 || status == 503, "delivery {number} was answered {status} {body}");
        if status == 503 {
            rejected = Some(number);
            break;
        }
    }
    let rejected =
        rejected.with_context(|| format!("the journal accepted all {EVENTS_MAX} events of {EVENT_BYTES} bytes"))?;
    let began = Instant::now();
    harness.transcript.note(&format!("the journal holds {rejected} events, the next is answered 503"));
    harness.wait_for_reason("ReceiverAvailable", "StorageUnavailable", REPORT_WITHIN.as_secs())?;
    harness.transcript.note(&format!("the condition reports it after {:.1} s", began.elapsed().as_secs_f32()));
    harness.transcript.show(&harness.kubectl("get ltw --output=wide"))?;

    harness.transcript.show(&harness.kubectl("scale deployment/event-sink --replicas=1"))?;
    let recovered = wait::until("the rejected delivery is accepted on retry", 120, || {
        let (status, _) = direct.deliver(&format!("dlv_{rejected}"), &event(rejected))?;
        Ok((status == 200).then(|| began.elapsed()))
    })?;
    harness.transcript.note(&format!("the retry is accepted after {:.1} s", recovered.as_secs_f32()));
    harness.wait_for_reason("ReceiverAvailable", "Available", 60)?;
    harness.transcript.show(&harness.kubectl("wait --for=condition=Ready ltw/links-to-cms --timeout=60s"))?;
    harness
        .transcript
        .show(&harness.kubectl("wait --for=jsonpath={.status.receiver.backlog}=0 ltw/links-to-cms --timeout=120s"))?;
    let lost = harness.field(".status.receiver.lastHour.deadLettered")?;
    ensure!(lost == "0", "{lost} events were dead-lettered");
    Ok(())
}
