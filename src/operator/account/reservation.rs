//! Reservation of quota: requests recorded in the connection's status before they are sent, so that a successor process
//! knows how much of the budget it may use. Pure. See docs/adr/0003.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::limiter::{Budget, Use, WINDOW};
use crate::{api::connection::RequestBudgetStatus, clock, operator::kubernetes::conditions::whole_seconds};

/// Requests per reservation. Each reservation costs a write to the API server.
const CHUNK: usize = 5;
/// Time after the reservation within which its requests must start.
const BEGIN_WITHIN: SignedDuration = SignedDuration::from_secs(15);
/// Longest time from a request to Linktree until its answer.
pub(super) const ANSWER_TIMEOUT: SignedDuration = SignedDuration::from_secs(15);

/// A reservation of `CHUNK` requests, and how many of them are unused.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    status: RequestBudgetStatus,
    left: usize,
    begin_until: Timestamp,
    /// The reset time in the status, by the steady clock.
    reset_at: Timestamp,
}

/// The longest time until the reset time of a reservation.
const RESET_MAX: SignedDuration =
    SignedDuration::from_secs(BEGIN_WITHIN.as_secs() + ANSWER_TIMEOUT.as_secs() + WINDOW.as_secs() + 1);

impl Reservation {
    /// Reserves the next `CHUNK` requests; all of them may count until the reset time. The request that needs the
    /// reservation is one of them, and `budget` counts it as started already.
    pub(super) fn next(budget: &Budget, now: Timestamp) -> Self {
        let begin_until = now.saturating_add(BEGIN_WITHIN).unwrap_or(Timestamp::MAX);
        let reset_at = whole_seconds(now.saturating_add(RESET_MAX).unwrap_or(Timestamp::MAX));
        let remaining = budget.remaining(now).saturating_sub(CHUNK - 1);
        Reservation {
            status: RequestBudgetStatus {
                remaining: i64::try_from(remaining).unwrap_or(i64::MAX),
                reset_time: Some(Time(whole_seconds(clock::to_wall(reset_at)))),
            },
            left: CHUNK,
            begin_until,
            reset_at,
        }
    }

    /// Takes one request out of the reservation; `false` if all are used or it has expired.
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        let covers = self.left > 0 && now < self.begin_until;
        self.left -= usize::from(covers);
        covers
    }

    /// The reservation as recorded in the connection's status; `None` after its reset time.
    pub(super) fn status(&self, now: Timestamp) -> Option<&RequestBudgetStatus> {
        Some(&self.status).filter(|_| self.reset_at > now)
    }
}

/// The request budget of a new process, from the `reservation` in the connection's status.
///
/// It counts the reserved requests as used, and also the pages of one list of the account's `subscriptions`, which may
/// just have run. If there is no reservation, the connection was never reconciled and the whole budget is free.
#[must_use]
pub fn resumed(
    requests_per_minute: usize,
    reservation: Option<&RequestBudgetStatus>,
    subscriptions: usize,
    page: usize,
    now: Timestamp,
) -> Budget {
    let mut budget = Budget::new(requests_per_minute);
    let Some(reservation) = reservation else { return budget };
    let pages = subscriptions.div_ceil(page.max(1)).max(1);
    budget.assume(pages.min(requests_per_minute.div_ceil(2)), Use::List, now);
    // A later reset time than that of any reservation was written by another clock or by hand.
    let latest = now.saturating_add(RESET_MAX).unwrap_or(Timestamp::MAX);
    let reset = reservation.reset_time.as_ref().map(|reset| clock::to_steady(reset.0).min(latest));
    if let Some(reset) = reset.filter(|reset| *reset > now) {
        let remaining = usize::try_from(reservation.remaining).unwrap_or(0);
        let answered = reset.saturating_sub(WINDOW).unwrap_or(now);
        budget.assume(requests_per_minute.saturating_sub(remaining), Use::Ordinary, answered);
    }
    budget
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_successor_counts_the_reserved_requests_until_they_expire() {
        let mut budget = Budget::new(10);
        budget.begin(Use::Ordinary);
        let mut reservation = Reservation::next(&budget, at(100));
        assert_eq!((0..9).filter(|_| reservation.take(at(114))).count(), CHUNK);
        let mut late = Reservation::next(&budget, at(100));
        assert!(!late.take(at(115)), "a request answered at 130 would count until 190");

        let status = reservation.status(at(190)).unwrap();
        assert_eq!((status.remaining, status.reset_time.as_ref().unwrap().0), (5, at(191)));
        let successor = resumed(10, Some(status), 250, 100, at(101));
        assert_eq!(
            (successor.remaining(at(101)), successor.remaining(at(161)), successor.remaining(at(191))),
            (2, 5, 10)
        );
        assert!(reservation.status(at(191)).is_none());
    }

    #[test]
    fn a_reset_time_beyond_any_reservation_counts_as_the_latest_one() {
        for reset in [1_000, 4_000_000_000, 253_402_207_200] {
            let reservation = RequestBudgetStatus { remaining: 0, reset_time: Some(Time(at(reset))) };
            let budget = resumed(10, Some(&reservation), 0, 100, at(100));
            assert_eq!((budget.remaining(at(100)), budget.remaining(at(192))), (0, 10), "{reset}");
        }
    }

    #[test]
    fn a_first_start_has_the_whole_budget() {
        assert_eq!(resumed(10, None, 0, 100, at(0)).remaining(at(0)), 10);
        let unused = RequestBudgetStatus { remaining: 10, reset_time: None };
        assert_eq!(resumed(10, Some(&unused), 0, 100, at(0)).remaining(at(0)), 9);
    }
}
