//! The request budget of one connection: at most N requests to Linktree in any 60 seconds. Pure: takes `now`, waits for
//! nothing.
//!
//! A sliding window of our own instead of a token bucket, which after a quiet minute lets up to twice N through in one
//! window (docs/adr/0003).

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// The length of Linktree's rate limit window.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// When requests were made, and until when Linktree asked for none.
#[derive(Clone, Debug)]
pub struct Budget {
    requests_per_minute: usize,
    made: VecDeque<Timestamp>,
    closed_until: Option<Timestamp>,
}

impl Budget {
    #[must_use]
    pub fn new(requests_per_minute: usize) -> Self {
        Budget { requests_per_minute: requests_per_minute.max(1), made: VecDeque::new(), closed_until: None }
    }

    /// Follows a changed spec; what was used stays used.
    pub fn resize(&mut self, requests_per_minute: usize) {
        self.requests_per_minute = requests_per_minute.max(1);
    }

    /// Takes one request out of the budget.
    ///
    /// # Errors
    /// When none is left: the moment from which the next may be made. Nothing is taken then.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        self.forget(now);
        match self.next_free(now) {
            Some(free) => Err(free),
            None => {
                self.made.push_back(now);
                Ok(())
            }
        }
    }

    /// Linktree answered 429: no request before `until`, whatever our own count says.
    pub fn close(&mut self, until: Timestamp) {
        self.closed_until = self.closed_until.max(Some(until));
    }

    /// Requests that may be made now.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> usize {
        if self.closed_until.is_some_and(|until| until > now) {
            return 0;
        }
        self.requests_per_minute.saturating_sub(self.made.iter().filter(|made| in_window(**made, now)).count())
    }

    /// While nothing is left: from when on something is.
    #[must_use]
    pub fn next_free(&self, now: Timestamp) -> Option<Timestamp> {
        if self.remaining(now) > 0 {
            return None;
        }
        let in_window: Vec<_> = self.made.iter().filter(|made| in_window(**made, now)).collect();
        let oldest_in_the_way = in_window.len().checked_sub(self.requests_per_minute).and_then(|i| in_window.get(i));
        oldest_in_the_way.map(|made| **made + WINDOW).max(self.closed_until.filter(|until| *until > now))
    }

    fn forget(&mut self, now: Timestamp) {
        self.made.retain(|made| in_window(*made, now));
    }
}

/// Whether a request made at `made` still counts. One from the future (the clock was set back) counts: too few requests
/// are better than too many.
fn in_window(made: Timestamp, now: Timestamp) -> bool {
    made + WINDOW > now
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_burst_up_to_the_limit_is_allowed_and_the_next_waits_for_the_oldest_to_leave() {
        let mut budget = Budget::new(3);
        for second in [0, 1, 2] {
            assert_eq!(budget.take(at(second)), Ok(()));
        }
        assert_eq!(budget.take(at(3)), Err(at(60)));
        assert_eq!(budget.remaining(at(59)), 0);
        assert_eq!(budget.take(at(60)), Ok(()));
        assert_eq!(budget.take(at(60)), Err(at(61)));
    }

    #[test]
    fn linktrees_own_retry_after_counts_more_than_our_count() {
        let mut budget = Budget::new(3);
        budget.close(at(30));
        assert_eq!((budget.remaining(at(0)), budget.take(at(0))), (0, Err(at(30))));
        budget.close(at(20));
        assert_eq!(budget.take(at(29)), Err(at(30)), "a shorter one does not open earlier");
        assert_eq!(budget.take(at(30)), Ok(()));
    }

    #[test]
    fn a_smaller_budget_counts_what_was_used_under_the_larger_one() {
        let mut budget = Budget::new(3);
        for second in [0, 1, 2] {
            budget.take(at(second)).unwrap();
        }
        budget.resize(1);
        assert_eq!(budget.take(at(10)), Err(at(62)));
    }

    proptest! {
        #[test]
        fn no_window_of_sixty_seconds_ever_holds_more_than_the_limit(limit in 1usize..12, gaps in prop::collection::vec(0i64..20, 1..200)) {
            let (mut budget, mut now, mut made) = (Budget::new(limit), 0, Vec::new());
            for gap in gaps {
                now += gap;
                match budget.take(at(now)) {
                    Ok(()) => made.push(now),
                    Err(free) => prop_assert!(free > at(now)),
                }
                prop_assert!(made.iter().filter(|second| **second > now - 60).count() <= limit);
            }
        }
    }
}
