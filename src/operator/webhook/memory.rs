//! What a process remembers of a webhook from one look to the next. Losing it costs a probe and a retry, nothing more.

use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::observed::ProbeResult;
use crate::{linktree::error::ApiError, operator::backoff::Failures};

/// A good probe is believed for this long.
const PROBE_LASTS: SignedDuration = SignedDuration::from_secs(60);
/// Counters reach the status at most this often.
const COUNTERS_EVERY: SignedDuration = SignedDuration::from_secs(60);

#[derive(Clone, Debug, Default)]
pub struct Memory {
    probe: Option<(Timestamp, Url, ProbeResult)>,
    failures: Failures,
    /// The generation of the spec that failed: a changed one is tried at once.
    failed_generation: Option<i64>,
    reported_at: Option<Timestamp>,
}

impl Memory {
    /// The last probe of `url`, unless it failed or is too old to be believed.
    #[must_use]
    pub fn believed_probe(&self, url: &Url, now: Timestamp) -> Option<ProbeResult> {
        let (at, probed, result) = self.probe.as_ref()?;
        let believed = probed == url && *result == ProbeResult::Succeeded && now.duration_since(*at) < PROBE_LASTS;
        believed.then(|| result.clone())
    }

    pub fn probed(&mut self, url: Url, result: ProbeResult, now: Timestamp) {
        self.probe = Some((now, url, result));
    }

    /// Until when Linktree is left alone after a failed call for this generation of the spec.
    #[must_use]
    pub fn hold_until(&self, generation: Option<i64>) -> Option<Timestamp> {
        self.failures.hold_until().filter(|_| self.failed_generation == generation)
    }

    /// A call to Linktree failed.
    pub fn failed(&mut self, error: &ApiError, generation: Option<i64>, now: Timestamp) {
        self.failures.add(error, now);
        self.failed_generation = generation;
    }

    /// Calls to Linktree succeeded.
    pub fn succeeded(&mut self) {
        self.failures = Failures::default();
    }

    /// Whether counters alone are worth a write.
    #[must_use]
    pub fn counters_due(&self, now: Timestamp) -> bool {
        self.reported_at.is_none_or(|at| now.duration_since(at) >= COUNTERS_EVERY)
    }

    pub fn reported(&mut self, now: Timestamp) {
        self.reported_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_changed_spec_does_not_wait_for_the_failures_of_the_old_one() {
        let mut memory = Memory::default();
        memory.failed(&ApiError::Server { status: 503, retry_after: None }, Some(1), at(0));
        assert_eq!((memory.hold_until(Some(1)), memory.hold_until(Some(2))), (Some(at(5)), None));
        memory.succeeded();
        assert_eq!(memory.hold_until(Some(1)), None);
    }

    #[test]
    fn only_a_recent_good_probe_of_the_same_url_is_believed() {
        let (url, other) = (Url::parse("https://a/").unwrap(), Url::parse("https://b/").unwrap());
        let mut memory = Memory::default();
        memory.probed(url.clone(), ProbeResult::Succeeded, at(0));
        assert_eq!(memory.believed_probe(&url, at(59)), Some(ProbeResult::Succeeded));
        assert_eq!(memory.believed_probe(&url, at(60)), None);
        assert_eq!(memory.believed_probe(&other, at(1)), None);
        memory.probed(url.clone(), ProbeResult::Unexpected { problem: String::new() }, at(0));
        assert_eq!(memory.believed_probe(&url, at(1)), None);
    }
}
