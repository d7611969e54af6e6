//! The budget of the status writes of one webhook that change nothing but texts: whatever the texts come from, they
//! cost few writes. Pure.

use jiff::{SignedDuration, Timestamp};

/// Minimum time between a status write and one that changes only texts.
const PAUSE: SignedDuration = SignedDuration::from_secs(3);
/// Time after which the budget has one more write.
const REFILL: SignedDuration = SignedDuration::from_secs(360);
/// Number of writes in a full budget: together with those that an hour refills, 20.
const CAPACITY: i32 = 10;

/// The use of the budget.
#[derive(Clone, Debug, Default)]
pub struct WriteBudget {
    /// The last status write of any kind.
    written_at: Option<Timestamp>,
    /// When the budget is full again.
    full_at: Option<Timestamp>,
}

impl WriteBudget {
    /// Whether a write that changes only texts may be made now.
    #[must_use]
    pub fn is_available(&self, now: Timestamp) -> bool {
        let paused = self.written_at.is_some_and(|at| is_within(now.duration_since(at), PAUSE));
        !paused && self.used(now) <= REFILL.saturating_mul(CAPACITY - 1)
    }

    /// Records a status write; `of_texts` only: it uses the budget.
    pub fn record(&mut self, of_texts: bool, now: Timestamp) {
        self.written_at = Some(now);
        if of_texts {
            let used = self.used(now).saturating_add(REFILL);
            self.full_at = Some(now.saturating_add(used).unwrap_or(now));
        }
    }

    /// The time until the budget is full. A longer one than any budget's is a clock that was set back.
    fn used(&self, now: Timestamp) -> SignedDuration {
        let used = self.full_at.map(|at| at.duration_since(now)).unwrap_or_default();
        if is_within(used, REFILL.saturating_mul(CAPACITY + 1)) { used } else { SignedDuration::ZERO }
    }
}

fn is_within(passed: SignedDuration, limit: SignedDuration) -> bool {
    (SignedDuration::ZERO..limit).contains(&passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn texts_that_always_change_are_written_20_times_an_hour_and_never_within_3_seconds() {
        let mut budget = WriteBudget::default();
        let mut written = Vec::new();
        for second in 0..4 * 3600 {
            if budget.is_available(at(second)) {
                budget.record(true, at(second));
                written.push(second);
            }
        }
        for first in &written {
            let within = |span: i64| written.iter().filter(|second| (*first..first + span).contains(*second)).count();
            assert!(within(3) <= 1 && within(3600) <= 20, "at {first}: {} an hour", within(3600));
        }
        assert!(written.len() > 40, "{written:?}");
    }

    #[test]
    fn another_write_delays_the_texts_and_does_not_use_their_budget() {
        let mut budget = WriteBudget::default();
        for second in 0..100 {
            budget.record(false, at(second));
            assert!(!budget.is_available(at(second + 2)));
        }
        assert!(budget.is_available(at(102)));
        budget.record(true, at(10_000));
        assert!(budget.is_available(at(0)), "the clock was set back");
    }
}
