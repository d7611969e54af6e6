//! A changed sink takes effect while the receiver runs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{harness::Harness, sink::Sink, wait};

const TAKES_EFFECT_WITHIN: Duration = Duration::from_secs(10);

pub fn check(harness: &mut Harness) -> Result<()> {
    let other = harness.example("3-sink")?.replace("event-sink", "other-sink");
    harness.apply(&other.replace("localhost/other-sink", "localhost/event-sink"))?;
    harness.transcript.show(&harness.kubectl("rollout status deployment/other-sink --timeout=60s"))?;
    let before = harness.new_link("To the first sink")?;
    harness.sink.wait_for(&[before], 30)?;
    let pod = harness.receiver()?;

    let webhook = harness.example("4-webhook")?.replace("//event-sink.", "//other-sink.");
    harness.apply(&webhook)?;
    let changed = Instant::now();
    let mut other = Sink::new(&harness.name, "other-sink");
    let took = wait::until("an event arrives at the other sink", 30, || {
        harness.new_link("To the other sink")?;
        Ok((!other.read()?.is_empty()).then(|| changed.elapsed()))
    })?;
    harness.transcript.note(&format!("the change took effect after {:.1} s", took.as_secs_f32()));
    ensure!(took <= TAKES_EFFECT_WITHIN, "the change took {took:?}, longer than {TAKES_EFFECT_WITHIN:?}");

    let after = harness.receiver()?;
    ensure!(after["metadata"]["uid"] == pod["metadata"]["uid"], "the pod was replaced");
    ensure!(after["status"]["containerStatuses"][0]["restartCount"] == 0, "the receiver was restarted");
    Ok(())
}
