//! Backoff after failed calls to Linktree. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::linktree::error::{ApiError, RetryClass};

/// Backoff after the first failed call; doubled after each further one, up to [`MAX_BACKOFF`].
const MIN_BACKOFF: SignedDuration = SignedDuration::from_secs(5);
/// Longest backoff. It also applies to most errors that only a user can fix, so that a fix takes effect without a sync
/// request.
const MAX_BACKOFF: SignedDuration = SignedDuration::from_secs(300);
/// Backoff after a registration that Linktree rejects until a user changes something, which ends the backoff. It is
/// doubled after each further one, up to a day: without a change, only Linktree's own rules may change.
const MIN_REJECTED_BACKOFF: SignedDuration = SignedDuration::from_hours(1);
const MAX_REJECTED_BACKOFF: SignedDuration = SignedDuration::from_hours(24);

/// Number of consecutive failed calls to Linktree, and the end of the backoff.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    count: u32,
    /// How many of them were rejected until a user changes something.
    rejected: u32,
    hold_until: Option<Timestamp>,
}

impl Failures {
    /// Counts a failed call. Linktree's `Retry-After`, or the wait that a throttled call reports, replaces the backoff.
    pub fn add(&mut self, error: &ApiError, now: Timestamp) {
        self.count(error, false, now);
    }

    /// Counts a failed registration, which is tried again ever more rarely if Linktree rejects what it requests.
    pub fn add_registration(&mut self, error: &ApiError, now: Timestamp) {
        let is_rejected = matches!(error, ApiError::Invalid { .. } | ApiError::PlanExcludesWebhooks { .. });
        self.count(error, is_rejected, now);
    }

    fn count(&mut self, error: &ApiError, is_rejected: bool, now: Timestamp) {
        if let ApiError::Throttled { wait, .. } = error {
            // Our own rate limiter held the call back, so it does not count as a failure.
            self.hold_until = SignedDuration::try_from(*wait).ok().and_then(|wait| now.checked_add(wait).ok());
            return;
        }
        let wait = match error.retry_class() {
            RetryClass::Transient { after: Some(after) } => SignedDuration::try_from(after).unwrap_or(MAX_BACKOFF),
            RetryClass::Transient { after: None } => {
                MIN_BACKOFF.saturating_mul(1_i32 << self.count.min(6)).min(MAX_BACKOFF)
            }
            RetryClass::Permanent if !is_rejected => MAX_BACKOFF,
            RetryClass::Permanent => {
                let wait = MIN_REJECTED_BACKOFF.saturating_mul(1_i32 << self.rejected.min(5)).min(MAX_REJECTED_BACKOFF);
                self.rejected = self.rejected.saturating_add(1);
                wait
            }
            RetryClass::Absent => MIN_BACKOFF,
        };
        self.count = self.count.saturating_add(1);
        self.hold_until = now.saturating_add(wait).ok();
    }

    /// Whether Linktree has rejected a registration that it rejects until a user changes something.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.rejected > 0
    }

    /// End of the backoff: no call to Linktree may start before it.
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
    fn consecutive_failures_double_the_backoff_up_to_a_limit() {
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
    fn a_rejected_registration_is_tried_again_after_an_hour_doubled_up_to_a_day() {
        let mut failures = Failures::default();
        let error = ApiError::Invalid { status: 422, message: String::new() };
        let waits: Vec<_> = (0..7)
            .map(|_| {
                failures.add_registration(&error, at(0));
                failures.hold_until().unwrap().as_second() / 3600
            })
            .collect();
        assert_eq!((waits, failures.is_rejected()), (vec![1, 2, 4, 8, 16, 24, 24], true));
        let (mut update, mut conflict) = (Failures::default(), Failures::default());
        update.add(&error, at(0));
        conflict.add_registration(&ApiError::Conflict { message: String::new() }, at(0));
        for failures in [update, conflict] {
            assert_eq!((failures.hold_until(), failures.is_rejected()), (Some(at(300)), false));
        }
    }

    #[test]
    fn a_throttled_call_is_not_a_failure() {
        let (mut failures, error) = (Failures::default(), ApiError::Server { status: 503, retry_after: None });
        failures.add(&ApiError::Throttled { wait: Duration::from_secs(40), about: at(300) }, at(0));
        assert_eq!(failures.hold_until(), Some(at(40)));
        failures.add(&error, at(40));
        assert_eq!(failures.hold_until(), Some(at(45)));
    }

    #[test]
    fn linktrees_retry_after_replaces_the_backoff() {
        let mut failures = Failures::default();
        failures.add(&ApiError::TooManyRequests { retry_after: Some(Duration::from_secs(17)) }, at(100));
        assert_eq!(failures.hold_until(), Some(at(117)));
    }
}
