//! Reservation of quota: requests recorded in the connection's status before they are sent, so that a successor process
//! knows how much of the budget it may use. Pure. See docs/adr/0003.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::limiter::{Budget, Use, WINDOW};
use crate::{api::connection::RequestBudgetStatus, operator::kubernetes::conditions::whole_seconds};

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
}

impl Reservation {
    /// Reserves the next `CHUNK` requests; all of them may count until the reset time. The request that needs the
    /// reservation is one of them, and `budget` counts it as started already.
    pub(super) fn next(budget: &Budget, now: Timestamp) -> Self {
        let begin_until = now.saturating_add(BEGIN_WITHIN).unwrap_or(Timestamp::MAX);
        let until = [ANSWER_TIMEOUT, WINDOW, SignedDuration::from_secs(1)];
        let until = until.into_iter().fold(begin_until, |at, more| at.saturating_add(more).unwrap_or(Timestamp::MAX));
        let remaining = budget.remaining(now).saturating_sub(CHUNK - 1);
        Reservation {
            status: RequestBudgetStatus {
                remaining: i64::try_from(remaining).unwrap_or(i64::MAX),
                reset_time: Some(Time(whole_seconds(until))),
            },
            left: CHUNK,
            begin_until,
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
        Some(&self.status).filter(|status| status.reset_time.as_ref().is_some_and(|reset| reset.0 > now))
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
    if let Some(Time(reset)) = reservation.reset_time.as_ref().filter(|reset| reset.0 > now) {
        let remaining = usize::try_from(reservation.remaining).unwrap_or(0);
        budget.assume(requests_per_minute.saturating_sub(remaining), Use::Ordinary, *reset - WINDOW);
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
    fn a_first_start_has_the_whole_budget() {
        assert_eq!(resumed(10, None, 0, 100, at(0)).remaining(at(0)), 10);
        let unused = RequestBudgetStatus { remaining: 10, reset_time: None };
        assert_eq!(resumed(10, Some(&unused), 0, 100, at(0)).remaining(at(0)), 9);
    }
}
