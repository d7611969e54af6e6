//! What of a budget was written down before it is used, so that another process in our place knows how much may be gone.
//! Pure. docs/adr/0003 has the reasoning.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::limiter::{Budget, Use, WINDOW};
use crate::{api::connection::RequestBudgetStatus, operator::kubernetes::conditions::whole_seconds};

/// Requests reservation at once: each announcement is a write.
const CHUNK: usize = 5;
/// For how long they may be begun.
const LASTS: SignedDuration = SignedDuration::from_secs(15);
/// How long one may take until it is answered.
pub(super) const ANSWER: SignedDuration = SignedDuration::from_secs(15);

/// An announcement, and what is left of it.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    status: RequestBudgetStatus,
    left: usize,
    begin_until: Timestamp,
}

impl Reservation {
    /// Announces the next few requests, which may all still count until its reset time. Without one of its own, the
    /// request that asks is among those the budget has begun.
    pub(super) fn next(budget: &Budget, now: Timestamp) -> Self {
        let begin_until = now.saturating_add(LASTS).unwrap_or(Timestamp::MAX);
        let until = [ANSWER, WINDOW, SignedDuration::from_secs(1)];
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

    /// Takes one request out of it, if it covers one that is begun now.
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        let covers = self.left > 0 && now < self.begin_until;
        self.left -= usize::from(covers);
        covers
    }

    /// As it stands in the connection's status, while that matters.
    pub(super) fn status(&self, now: Timestamp) -> Option<&RequestBudgetStatus> {
        Some(&self.status).filter(|status| status.reset_time.as_ref().is_some_and(|reset| reset.0 > now))
    }
}

/// The budget of a process that finds `reservation` in the status of a connection whose account holds so many
/// `subscriptions`: what was reservation may be used, and a list may have been under way a moment ago. A connection that was
/// never looked at has all of its budget.
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
    fn a_successor_begins_nothing_that_could_be_one_too_many() {
        let mut budget = Budget::new(10);
        budget.begin(Use::Ordinary);
        let mut reservation = Reservation::next(&budget, at(100));
        assert_eq!((0..9).filter(|_| reservation.take(at(114))).count(), CHUNK);
        let mut late = Reservation::next(&budget, at(100));
        assert!(!late.take(at(115)), "answered at 130, it would count until 190");

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
    fn a_first_start_waits_for_nothing() {
        assert_eq!(resumed(10, None, 0, 100, at(0)).remaining(at(0)), 10);
        let quiet = RequestBudgetStatus { remaining: 10, reset_time: None };
        assert_eq!(resumed(10, Some(&quiet), 0, 100, at(0)).remaining(at(0)), 9);
    }
}
