//! Rate limiter of one token: at most N requests to Linktree in any 60 seconds. Pure: it takes `now` and never waits.
//! docs/adr/0003 explains why it is a sliding window of our own.
//!
//! A request counts from its start until 60 seconds after its *answer*. Linktree counts it at some moment in between.
//! The limiter covers all those moments, so there is no 429 as long as nothing else uses the token.

use jiff::{SignedDuration, Timestamp};

/// The length of Linktree's rate limit window.
pub const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// The three classes of requests that the rate limiter distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Re-enabling a subscription: may use the last request of the budget.
    Urgent,
    /// Leaves the budget's last request to urgent ones, unless another becomes free soon.
    Ordinary,
    /// As [`Use::Ordinary`], and after the first list limited to half of the budget (two requests at least).
    List,
}

/// A request that Linktree answered, and that counts until it leaves the window.
#[derive(Clone, Copy, Debug)]
struct Answered {
    at: Timestamp,
    list: bool,
}

/// Sliding-window rate limiter: the answered requests of the last minute, those in flight, and the end of Linktree's
/// `Retry-After`.
#[derive(Clone, Debug)]
pub struct Budget {
    limit: usize,
    /// Sorted by the time of the answer, oldest first.
    answered: Vec<Answered>,
    in_flight: usize,
    lists_in_flight: usize,
    /// Whether lists are limited to half of the budget.
    lists_share: bool,
    closed_until: Option<Timestamp>,
}

impl Budget {
    /// A budget of which no request is used yet.
    #[must_use]
    pub fn new(requests_per_minute: usize) -> Self {
        let limit = requests_per_minute.max(1);
        Budget { limit, answered: Vec::new(), in_flight: 0, lists_in_flight: 0, lists_share: false, closed_until: None }
    }

    /// The budget once the requests in flight are answered, which is assumed to be now.
    #[must_use]
    pub fn settled(mut self, now: Timestamp) -> Self {
        let lists = self.lists_in_flight.min(self.in_flight);
        self.add(lists, true, now);
        self.add(self.in_flight - lists, false, now);
        (self.in_flight, self.lists_in_flight) = (0, 0);
        self
    }

    /// Whether nothing is counted, so that a new budget would allow as much.
    #[must_use]
    pub fn is_unused(&self, now: Timestamp) -> bool {
        self.remaining(now) == self.limit
    }

    /// Changes the limit. Requests that were counted before still count.
    pub fn resize(&mut self, requests_per_minute: usize) {
        self.limit = requests_per_minute.max(1);
    }

    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Limits lists to half of the budget from now on. Before the first list the operator can do nothing else, so it
    /// may use all.
    pub fn share_with_lists(&mut self) {
        self.lists_share = true;
    }

    /// Counts a request that starts. The caller must have checked [`Budget::allows`].
    pub fn begin(&mut self, purpose: Use) {
        self.in_flight += 1;
        self.lists_in_flight += usize::from(purpose == Use::List);
    }

    /// Marks a started request as answered; call it also if the request failed.
    pub fn end(&mut self, purpose: Use, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.lists_in_flight = self.lists_in_flight.saturating_sub(usize::from(purpose == Use::List));
        self.add(1, purpose == Use::List, now);
    }

    /// Counts requests that another process or client may have made, as answered at `at`.
    pub fn assume(&mut self, requests: usize, purpose: Use, at: Timestamp) {
        self.add(requests.min(self.limit), purpose == Use::List, at);
    }

    /// Applies the number of requests that Linktree reports as left. If it is below our own count, the difference is
    /// counted as requests of other clients of the token.
    pub fn at_most(&mut self, left: usize, now: Timestamp) {
        let others = self.limit.saturating_sub(self.used(now)).saturating_sub(left);
        self.assume(others, Use::Ordinary, now);
    }

    /// Blocks all requests until `until`, after a 429, even if requests are left by our own count.
    pub fn close(&mut self, until: Timestamp) {
        self.closed_until = self.closed_until.max(Some(until));
    }

    /// Whether a request may start now, given that `ahead` waiting requests go before it.
    #[must_use]
    pub fn allows(&self, purpose: Use, ahead: usize, now: Timestamp) -> bool {
        let left = self.remaining(now);
        match purpose {
            Use::Urgent => left > ahead,
            Use::Ordinary => left > ahead + 1 || (left > ahead && self.frees_soon(now)),
            Use::List => self.lists_used(now) < self.lists_max() && self.allows(Use::Ordinary, ahead, now),
        }
    }

    /// Number of requests that may start now.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> usize {
        if self.closed_until.is_some_and(|until| until > now) {
            return 0;
        }
        self.limit.saturating_sub(self.used(now))
    }

    /// Estimated time at which the next request may start; `None` if one may start now.
    #[must_use]
    pub fn next_free(&self, now: Timestamp) -> Option<Timestamp> {
        (self.remaining(now) == 0).then(|| self.expected(Use::Urgent, 0, now))
    }

    /// Estimated time at which a request may start, given that `ahead` others go before it. It is exact if each of
    /// those starts as soon as allowed and is answered at once.
    #[must_use]
    pub fn expected(&self, purpose: Use, ahead: usize, now: Timestamp) -> Timestamp {
        let ends: Vec<Timestamp> =
            self.answered.iter().map(|request| end(request.at)).filter(|end| *end > now).collect();
        let counted = ends.len() + self.in_flight;
        let (unused, over) = (self.limit.saturating_sub(counted), counted.saturating_sub(self.limit));
        let ahead = ahead + over;
        // How many answered requests must leave the window before this one may start.
        let place = (ahead + 1).checked_sub(unused).filter(|place| *place > 0);
        let free = place.map_or(now, |place| self.expiry(&ends, place - 1, now));
        let expected = match purpose {
            Use::Urgent => free,
            Use::Ordinary | Use::List if self.limit == 1 => free,
            Use::Ordinary | Use::List => {
                let unreserved = self.expiry(&ends, (ahead + 1).saturating_sub(unused), now);
                let unreserved = unreserved.saturating_sub(self.pace()).unwrap_or(now);
                if unused > ahead + 1 { free } else { free.max(unreserved) }
            }
        };
        let list =
            (purpose == Use::List && self.lists_used(now) >= self.lists_max()).then(|| self.first_list_expiry(now));
        expected.max(list.unwrap_or(now)).max(self.closed_until.unwrap_or(now))
    }

    /// How many requests of one window lists may use.
    #[must_use]
    pub fn lists_max(&self) -> usize {
        if self.lists_share { (self.limit / 2).max(2) } else { self.limit }
    }

    /// Drops answered requests that no longer count.
    pub fn expire(&mut self, now: Timestamp) {
        self.answered.retain(|request| in_window(request.at, now));
    }

    /// The interval between requests at which the whole budget is used evenly: 60 seconds divided by the limit.
    #[must_use]
    pub fn pace(&self) -> SignedDuration {
        WINDOW / i32::try_from(self.limit).unwrap_or(i32::MAX)
    }

    /// Time at which the `index`th request that counts now leaves the window. For an index beyond those, the estimated
    /// time at which a future request does: one that starts when an earlier one has left.
    fn expiry(&self, ends: &[Timestamp], index: usize, now: Timestamp) -> Timestamp {
        let rounds = |rounds: usize| WINDOW.saturating_mul(i32::try_from(rounds).unwrap_or(i32::MAX));
        let steps = |steps: usize| self.pace().saturating_mul(i32::try_from(steps).unwrap_or(i32::MAX));
        let end = if ends.len() >= self.limit {
            ends[index % ends.len()].saturating_add(rounds(index / ends.len()))
        } else if let Some(end) = ends.get(index) {
            Ok(*end)
        } else {
            let last = ends.last().copied().unwrap_or(now).max(now);
            last.saturating_add(WINDOW).and_then(|end| end.saturating_add(steps(index - ends.len())))
        };
        end.unwrap_or(Timestamp::MAX)
    }

    fn frees_soon(&self, now: Timestamp) -> bool {
        let first = self.answered.iter().map(|request| end(request.at)).find(|end| *end > now);
        self.limit == 1 || first.is_some_and(|end| end.duration_since(now) <= self.pace())
    }

    fn first_list_expiry(&self, now: Timestamp) -> Timestamp {
        let lists = self.answered.iter().filter(|request| request.list && in_window(request.at, now));
        lists.map(|request| end(request.at)).next().unwrap_or(now.saturating_add(self.pace()).unwrap_or(now))
    }

    fn used(&self, now: Timestamp) -> usize {
        self.in_flight + self.answered.iter().filter(|request| in_window(request.at, now)).count()
    }

    fn lists_used(&self, now: Timestamp) -> usize {
        self.lists_in_flight + self.answered.iter().filter(|request| request.list && in_window(request.at, now)).count()
    }

    fn add(&mut self, requests: usize, list: bool, at: Timestamp) {
        let place = self.answered.partition_point(|request| request.at <= at);
        self.answered.splice(place..place, std::iter::repeat_n(Answered { at, list }, requests));
    }
}

/// Whether a request that was answered at `answered` still counts. A time in the future (the clock was set back) does
/// count: too few requests are better than too many.
fn in_window(answered: Timestamp, now: Timestamp) -> bool {
    end(answered) > now
}

/// When a request that was answered at this time leaves the window.
pub(super) fn end(answered: Timestamp) -> Timestamp {
    answered.saturating_add(WINDOW).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
