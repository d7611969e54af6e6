//! The failures of a webhook's sinks, as messages contain them: a message that changed with every attempt would cost a
//! status write for each.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::route::status::SinkStatus;

/// Minimum time between two changes of the failure in a message.
const CHANGE_INTERVAL: SignedDuration = SignedDuration::from_mins(10);

/// The last failure of each held or failing sink, by the sink's name, and when it was last changed.
#[derive(Clone, Debug, Default)]
pub struct SinkFailures(BTreeMap<String, (String, Timestamp)>);

impl SinkFailures {
    /// Records what the receiver reports of its sinks. Returns the failure of each held or failing sink; each changes
    /// at most once in ten minutes.
    pub fn update(&mut self, sinks: &[SinkStatus], now: Timestamp) -> BTreeMap<String, String> {
        let mut known = std::mem::take(&mut self.0);
        for sink in sinks.iter().filter(|sink| sink.held.is_some() || sink.is_failing()) {
            let Some(failure) = &sink.last_failure else { continue };
            let kept = known.remove(&sink.name).filter(|(text, since)| text == failure || is_recent(*since, now));
            self.0.insert(sink.name.clone(), kept.unwrap_or_else(|| (failure.clone(), now)));
        }
        self.0.iter().map(|(sink, (failure, _))| (sink.clone(), failure.clone())).collect()
    }
}

fn is_recent(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since).abs() < CHANGE_INTERVAL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::status::{HoldCause, SinkHold};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sink(failure: &str, held: bool) -> SinkStatus {
        SinkStatus {
            name: "cms".into(),
            last_success_time: None,
            consecutive_failures: 0,
            backlog: Some(1),
            dead_lettered: Some(0),
            last_failure: Some(failure.into()),
            last_answer: None,
            held: held.then_some(SinkHold { cause: HoldCause::Failures, since_time: 0, next_attempt_time: 60 }),
            dropped: 0,
        }
    }

    #[test]
    fn the_failure_of_a_held_sink_changes_at_most_once_in_ten_minutes() {
        let mut failures = SinkFailures::default();
        let mut shown = |failure: &str, held, second| {
            failures.update(&[sink(failure, held)], at(second)).get("cms").cloned().unwrap_or_default()
        };
        assert_eq!(shown("answered 503", true, 0), "answered 503");
        assert_eq!(shown("answered 404", true, 599), "answered 503", "it is recent");
        assert_eq!(shown("answered 404", true, 600), "answered 404");
        assert_eq!(shown("answered 404", true, 1100), "answered 404");
        assert_eq!(shown("answered 503", true, 1190), "answered 404", "it was changed at 600");
        assert_eq!(shown("answered 503", true, 1200), "answered 503");
        assert_eq!(shown("answered 500", true, 300), "answered 500", "the clock was set back");
        assert_eq!(shown("answered 500", false, 310), "", "it accepts events");
        assert_eq!(shown("did not answer in time", true, 320), "did not answer in time", "another hold");
    }
}
