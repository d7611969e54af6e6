//! The memory of an applied object: which state counts as met, and when the next write may follow. It is lost at a
//! restart, which costs one apply. Pure.

use jiff::{SignedDuration, Timestamp};

use super::compare::Difference;

/// Time from an apply whose values the API server did not keep to its repetition; doubled after each further one, up to
/// [`MAX_PAUSE`].
const MIN_PAUSE: SignedDuration = SignedDuration::from_mins(5);
const MAX_PAUSE: SignedDuration = SignedDuration::from_hours(24);
/// Number of applies that later changes cause without a pause.
const FREE: u32 = 4;

/// The result of an apply: the state that the API server kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The digest of the desired object.
    pub desired: u64,
    /// The digest of the part of the live object that the operator owns.
    pub footprint: u64,
    /// The desired fields that the API server did not keep.
    pub differences: Vec<Difference>,
}

/// The result of the last apply of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The state that the API server kept.
    applied: Applied,
    at: Timestamp,
    /// The number of applies without a long time between them, this one included.
    count: u32,
}

impl Memory {
    /// The memory of an apply now, after the previous one.
    #[must_use]
    pub fn after(previous: Option<&Self>, applied: Applied, now: Timestamp) -> Self {
        let recent = previous.filter(|it| it.applied.desired == applied.desired && !it.is_over(now));
        let count = recent.map_or(0, |it| it.count).saturating_add(1);
        Memory { applied, at: now, count }
    }

    /// Whether the desired object with this digest was applied.
    #[must_use]
    pub fn is_of(&self, desired: u64) -> bool {
        self.applied.desired == desired
    }

    /// Whether the object is as the API server kept it.
    #[must_use]
    pub fn is_met_by(&self, footprint: u64) -> bool {
        self.applied.footprint == footprint
    }

    /// The fields of the desired object that the API server did not keep.
    #[must_use]
    pub fn differences(&self) -> &[Difference] {
        &self.applied.differences
    }

    /// Whether an apply that the API server did not keep as a whole may be repeated.
    #[must_use]
    pub fn may_repeat(&self, now: Timestamp) -> bool {
        self.passed(now) >= pause(self.count)
    }

    /// Whether a later change may be reverted.
    #[must_use]
    pub fn may_revert(&self, now: Timestamp) -> bool {
        self.count < FREE || self.passed(now) >= pause(self.count.saturating_sub(FREE) + 1)
    }

    /// Whether the apply was so long ago that another one has nothing to do with it.
    fn is_over(&self, now: Timestamp) -> bool {
        self.passed(now) >= pause(self.count).saturating_mul(3)
    }

    /// The time since the apply. After a clock that was set back, it counts as one long ago.
    fn passed(&self, now: Timestamp) -> SignedDuration {
        let passed = now.duration_since(self.at);
        if passed.is_negative() { SignedDuration::MAX } else { passed }
    }
}

fn pause(count: u32) -> SignedDuration {
    MIN_PAUSE.saturating_mul(1_i32 << count.saturating_sub(1).min(9)).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds of the applies within a time, if `may` allows each.
    fn applies(seconds: i64, may: impl Fn(&Memory, Timestamp) -> bool) -> Vec<i64> {
        let applied = || Applied { desired: 1, footprint: 1, differences: Vec::new() };
        let mut memory: Option<Memory> = None;
        let mut made = Vec::new();
        for second in (0..seconds).step_by(3) {
            let now = Timestamp::from_second(second).unwrap();
            if memory.as_ref().is_none_or(|memory| may(memory, now)) {
                memory = Some(Memory::after(memory.as_ref(), applied(), now));
                made.push(second);
            }
        }
        made
    }

    #[test]
    fn a_difference_that_stays_is_applied_ever_more_rarely() {
        assert_eq!(applies(5_000, Memory::may_repeat), [0, 300, 900, 2100, 4500]);
        assert!(applies(10 * 86_400, Memory::may_repeat).len() < 20);
    }

    #[test]
    fn changes_that_follow_each_revert_are_reverted_four_times_and_then_ever_more_rarely() {
        assert_eq!(applies(1_300, Memory::may_revert), [0, 3, 6, 9, 309, 909]);
        assert!(applies(10 * 86_400, Memory::may_revert).len() < 24);
    }

    #[test]
    fn another_desired_object_and_a_long_time_begin_again() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let applied = |desired| Applied { desired, footprint: 1, differences: Vec::new() };
        let first = Memory::after(None, applied(1), at(0));
        assert!(first.is_of(1) && !first.is_of(2) && first.is_met_by(1) && !first.is_met_by(2));
        assert!(!first.may_repeat(at(299)) && first.may_repeat(at(300)));
        assert!(first.may_repeat(at(-5)), "the clock was set back");
        let count = |desired, second| Memory::after(Some(&first), applied(desired), at(second)).count;
        assert_eq!((count(1, 899), count(1, 900), count(2, 1)), (2, 1, 1));
    }
}
