//! The memory of an applied object: which state counts as met, and when the next write may follow. It is lost at a
//! restart, which costs one apply. Pure.

use jiff::{SignedDuration, Timestamp};

use super::compare::Difference;

/// Time from an apply whose values the API server did not keep to its repetition; doubled after each further one, up to
/// [`MAX_PAUSE`].
const MIN_PAUSE: SignedDuration = SignedDuration::from_mins(5);
const MAX_PAUSE: SignedDuration = SignedDuration::from_hours(24);
/// Number of reverts of later changes without a pause.
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
    /// The number of applies of the same state, this one included: repetitions of what the API server did not keep.
    repeats: u32,
    /// The last revert of a later change, and the number of reverts without a long time between them. They are counted
    /// apart: a difference that stays must not keep us from creating a deleted object again.
    reverts: Option<(Timestamp, u32)>,
}

impl Memory {
    /// The memory of an apply now, after the previous one. `is_revert`: the apply reverted a later change.
    #[must_use]
    pub fn after(previous: Option<&Self>, applied: Applied, is_revert: bool, now: Timestamp) -> Self {
        let previous = previous.filter(|it| it.applied.desired == applied.desired);
        let Some(previous) = previous else { return Memory { applied, at: now, repeats: 1, reverts: None } };
        if is_revert {
            let recent = previous.reverts.filter(|(at, count)| passed(*at, now) < pause(*count).saturating_mul(3));
            let count = recent.map_or(0, |(_, count)| count).saturating_add(1);
            return Memory { applied, at: now, repeats: 1, reverts: Some((now, count)) };
        }
        Memory { applied, at: now, repeats: previous.repeats.saturating_add(1), reverts: previous.reverts }
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
        passed(self.at, now) >= pause(self.repeats)
    }

    /// Whether a later change may be reverted.
    #[must_use]
    pub fn may_revert(&self, now: Timestamp) -> bool {
        let Some((at, count)) = self.reverts else { return true };
        count < FREE || passed(at, now) >= pause(count.saturating_sub(FREE) + 1)
    }

    /// Whether an object that was deleted may be created again.
    #[must_use]
    pub fn may_create(&self, now: Timestamp) -> bool {
        self.may_revert(now) || passed(self.at, now) >= MIN_PAUSE
    }
}

/// The time since `at`. After a clock that was set back, it counts as long.
fn passed(at: Timestamp, now: Timestamp) -> SignedDuration {
    let passed = now.duration_since(at);
    if passed.is_negative() { SignedDuration::MAX } else { passed }
}

fn pause(count: u32) -> SignedDuration {
    MIN_PAUSE.saturating_mul(1_i32 << count.saturating_sub(1).min(9)).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds of the applies within a time, if `may` allows each. `is_revert`: each reverts a later change.
    fn applies(seconds: i64, is_revert: bool, may: impl Fn(&Memory, Timestamp) -> bool) -> Vec<i64> {
        let applied = || Applied { desired: 1, footprint: 1, differences: Vec::new() };
        let mut memory: Option<Memory> = None;
        let mut made = Vec::new();
        for second in (0..seconds).step_by(3) {
            let now = Timestamp::from_second(second).unwrap();
            if memory.as_ref().is_none_or(|memory| may(memory, now)) {
                memory = Some(Memory::after(memory.as_ref(), applied(), is_revert, now));
                made.push(second);
            }
        }
        made
    }

    #[test]
    fn a_difference_that_stays_is_applied_ever_more_rarely() {
        assert_eq!(applies(5_000, false, Memory::may_repeat), [0, 300, 900, 2100, 4500]);
        assert!(applies(10 * 86_400, false, Memory::may_repeat).len() < 20);
    }

    #[test]
    fn changes_that_follow_each_revert_are_reverted_four_times_and_then_ever_more_rarely() {
        assert_eq!(applies(1_300, true, Memory::may_revert), [0, 3, 6, 9, 12, 312, 912]);
        assert!(applies(10 * 86_400, true, Memory::may_revert).len() < 24);
    }

    #[test]
    fn another_desired_object_and_a_long_time_begin_again() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let applied = |desired| Applied { desired, footprint: 1, differences: Vec::new() };
        let first = Memory::after(None, applied(1), false, at(0));
        assert!(first.is_of(1) && !first.is_of(2) && first.is_met_by(1) && !first.is_met_by(2));
        assert!(!first.may_repeat(at(299)) && first.may_repeat(at(300)));
        assert!(first.may_repeat(at(-5)), "the clock was set back");
        let repeats = |desired| Memory::after(Some(&first), applied(desired), false, at(1)).repeats;
        assert_eq!((repeats(1), repeats(2)), (2, 1));
        let reverted = Memory::after(Some(&first), applied(1), true, at(10));
        let reverts = |second| Memory::after(Some(&reverted), applied(1), true, at(second)).reverts.unwrap().1;
        assert_eq!((reverts(909), reverts(910)), (2, 1));
    }

    #[test]
    fn a_difference_that_stays_for_weeks_does_not_keep_us_from_reverting_a_change() {
        let applied = || Applied { desired: 1, footprint: 1, differences: Vec::new() };
        let mut memory = Memory::after(None, applied(), false, Timestamp::UNIX_EPOCH);
        let mut now = Timestamp::UNIX_EPOCH;
        for _ in 0..20 {
            now = now.checked_add(MAX_PAUSE).unwrap();
            assert!(memory.may_repeat(now));
            memory = Memory::after(Some(&memory), applied(), false, now);
        }
        for _ in 0..FREE {
            assert!(memory.may_revert(now) && memory.may_create(now));
            memory = Memory::after(Some(&memory), applied(), true, now);
        }
        assert!(!memory.may_revert(now) && !memory.may_create(now));
        let later = now.checked_add(MIN_PAUSE).unwrap();
        assert!(memory.may_revert(later) && memory.may_create(later));
    }
}
