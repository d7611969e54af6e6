//! How long Linktree is left alone after failed calls. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::linktree::error::{ApiError, RetryClass};

/// After a failed call: this, doubled each time, up to [`LONGEST`].
const SHORTEST: SignedDuration = SignedDuration::from_secs(5);
/// Also what follows an error that only a person can mend: then it is tried again without being told.
const LONGEST: SignedDuration = SignedDuration::from_secs(300);

/// Failed calls in a row, and until when there is to be no further one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    count: u32,
    hold_until: Option<Timestamp>,
}

impl Failures {
    /// One more. Linktree's own `Retry-After` is obeyed, and so is the queue for the request budget.
    pub fn add(&mut self, error: &ApiError, now: Timestamp) {
        if let ApiError::Throttled { wait, .. } = error {
            // Nothing failed.
            self.hold_until = SignedDuration::try_from(*wait).ok().and_then(|wait| now.checked_add(wait).ok());
            return;
        }
        let wait = match error.retry_class() {
            RetryClass::Transient { after: Some(after) } => SignedDuration::try_from(after).unwrap_or(LONGEST),
            RetryClass::Transient { after: None } => SHORTEST.saturating_mul(1_i32 << self.count.min(6)).min(LONGEST),
            RetryClass::Permanent => LONGEST,
            RetryClass::Absent => SHORTEST,
        };
        self.count = self.count.saturating_add(1);
        self.hold_until = now.saturating_add(wait).ok();
    }

    #[must_use]
    pub fn hold_until(&self) -> Option<Timestamp> {
        self.hold_until
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn failures_in_a_row_wait_longer_up_to_a_limit() {
        let mut failures = Failures::default();
        let error = ApiError::Server { status: 503, retry_after: None };
        let waits: Vec<_> = (0..8)
            .map(|_| {
                failures.add(&error, at(0));
                failures.hold_until().unwrap().as_second()
            })
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn waiting_for_its_turn_is_no_failure() {
        let (mut failures, error) = (Failures::default(), ApiError::Server { status: 503, retry_after: None });
        failures.add(&ApiError::Throttled { wait: Duration::from_secs(40), about: at(300) }, at(0));
        assert_eq!(failures.hold_until(), Some(at(40)));
        failures.add(&error, at(40));
        assert_eq!(failures.hold_until(), Some(at(45)));
    }

    #[test]
    fn linktrees_retry_after_is_obeyed() {
        let mut failures = Failures::default();
        failures.add(&ApiError::TooManyRequests { retry_after: Some(Duration::from_secs(17)) }, at(100));
        assert_eq!(failures.hold_until(), Some(at(117)));
    }
}
