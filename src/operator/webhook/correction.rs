//! Corrections of the subscription at Linktree that had no effect: its API may keep another value, such as a URL that it
//! normalises. Such a correction is repeated ever more rarely. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::api::webhook_status::DriftStatus;

/// Time from the first correction to its repetition; doubled after each further one, up to [`MAX_PAUSE`].
const MIN_PAUSE: SignedDuration = SignedDuration::from_mins(5);
const MAX_PAUSE: SignedDuration = SignedDuration::from_hours(24);
/// Number of corrections of changing differences that follow each other without a pause.
const FREE: u32 = 4;

/// The last correction of a webhook's subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    generation: Option<i64>,
    /// The differences that it should have removed.
    drift: Vec<DriftStatus>,
    at: Timestamp,
    /// The number of corrections without a long time between them, this one included.
    count: u32,
}

impl Correction {
    /// The correction of `drift` now, after the previous one.
    #[must_use]
    pub fn after(previous: Option<&Self>, generation: Option<i64>, drift: &[DriftStatus], now: Timestamp) -> Self {
        let recent = previous.filter(|it| it.generation == generation && !it.is_over(now));
        let count = recent.map_or(0, |it| it.count).saturating_add(1);
        Correction { generation, drift: drift.to_vec(), at: now, count }
    }

    /// Whether the API kept its values: the correction left exactly these differences.
    #[must_use]
    pub fn was_in_vain(&self, generation: Option<i64>, drift: &[DriftStatus], now: Timestamp) -> bool {
        self.generation == generation && self.drift == drift && !self.is_over(now)
    }

    /// Whether a correction of these differences must wait.
    #[must_use]
    pub fn must_wait(&self, generation: Option<i64>, drift: &[DriftStatus], now: Timestamp) -> bool {
        let repeats = self.drift == drift || self.count > FREE;
        self.generation == generation && repeats && self.passed(now) < self.pause()
    }

    /// Whether the correction was so long ago that another one has nothing to do with it.
    fn is_over(&self, now: Timestamp) -> bool {
        self.passed(now) >= self.pause().saturating_mul(3)
    }

    /// The time since the correction. After a clock that was set back, it counts as one long ago.
    fn passed(&self, now: Timestamp) -> SignedDuration {
        let passed = now.duration_since(self.at);
        if passed.is_negative() { SignedDuration::MAX } else { passed }
    }

    fn pause(&self) -> SignedDuration {
        MIN_PAUSE.saturating_mul(1_i32 << self.count.saturating_sub(1).min(9)).min(MAX_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn drift(observed: &str) -> Vec<DriftStatus> {
        vec![DriftStatus { field: "url".into(), desired: "https://a/in".into(), observed: observed.into() }]
    }

    /// The seconds of the corrections in this time, if each leaves the difference that `observed` returns for it.
    fn corrections(seconds: i64, observed: impl Fn(usize) -> String) -> Vec<i64> {
        let mut last: Option<Correction> = None;
        let mut made = Vec::new();
        for second in (0..seconds).step_by(3) {
            let drift = drift(&observed(made.len()));
            if last.as_ref().is_none_or(|it| !it.must_wait(Some(1), &drift, at(second))) {
                last = Some(Correction::after(last.as_ref(), Some(1), &drift, at(second)));
                made.push(second);
            }
        }
        made
    }

    #[test]
    fn a_correction_without_effect_is_repeated_ever_more_rarely() {
        assert_eq!(corrections(10_000, |_| "https://a/in/".into()), [0, 300, 900, 2100, 4500, 9300]);
        let made = corrections(10 * 86_400, |_| "https://a/in/".into());
        assert!(made.len() < 20, "{made:?}");
    }

    #[test]
    fn differences_that_always_change_are_not_corrected_without_end() {
        let made = corrections(86_400, |number| format!("https://a/{number}"));
        assert!(made.len() < 15, "{made:?}");
    }

    #[test]
    fn another_change_is_corrected_at_once() {
        let first = Correction::after(None, Some(1), &drift("x"), at(0));
        assert!(first.was_in_vain(Some(1), &drift("x"), at(5)) && first.must_wait(Some(1), &drift("x"), at(5)));
        assert!(!first.must_wait(Some(1), &drift("y"), at(5)) && !first.was_in_vain(Some(1), &drift("y"), at(5)));
        assert!(!first.must_wait(Some(2), &drift("x"), at(5)), "the spec has changed");
        assert!(!first.must_wait(Some(1), &drift("x"), at(-5)), "the clock was set back");
        assert!(!first.was_in_vain(Some(1), &drift("x"), at(900)), "a new change much later");
        let later = Correction::after(Some(&first), Some(1), &drift("x"), at(900));
        assert!(!later.must_wait(Some(1), &drift("x"), at(1200)), "it is the first of a new series");
    }
}
