//! A webhook gets another sink while its receiver runs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{place::Place, sink::Sink, wait};

const AT_MOST: Duration = Duration::from_secs(10);

pub fn check(place: &mut Place) -> Result<()> {
    let other = place.example("3-sink")?.replace("event-sink", "other-sink");
    place.apply(&other.replace("localhost/other-sink", "localhost/event-sink"))?;
    place.narrator.show(&place.kubectl("rollout status deployment/other-sink --timeout=60s"))?;
    let before = place.new_link("To the first sink")?;
    place.sink.wait_for(&[before], 30)?;
    let pod = place.receiver()?;

    let webhook = place.example("4-webhook")?.replace("//event-sink.", "//other-sink.");
    place.apply(&webhook)?;
    let changed = Instant::now();
    let mut other = Sink::new(&place.name, "other-sink");
    let taken_up = wait::until("an event arrives at the other sink", 30, || {
        place.new_link("To the other sink")?;
        Ok((!other.read()?.is_empty()).then(|| changed.elapsed()))
    })?;
    place.narrator.say(&format!("taken up after {:.1} s", taken_up.as_secs_f32()));
    ensure!(taken_up <= AT_MOST, "it took {taken_up:?}, and should take at most {AT_MOST:?}");

    let after = place.receiver()?;
    ensure!(after["metadata"]["uid"] == pod["metadata"]["uid"], "the pod was replaced");
    ensure!(after["status"]["containerStatuses"][0]["restartCount"] == 0, "the receiver was restarted");
    Ok(())
}
