//! The request budget of one token: at most N requests to Linktree in any 60 seconds. Pure: takes `now`, waits for
//! nothing. docs/adr/0003 says why it is a sliding window of our own.
//!
//! A request counts from when it is begun until 60 seconds after it was *answered*: Linktree counts it at some moment in
//! between, and that it is right whichever it was is what makes 429 impossible while nobody else uses the token.

use jiff::{SignedDuration, Timestamp};

/// The length of Linktree's rate limit window.
pub const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// What a request is for, as far as the budget treats it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// May take the last request there is.
    Urgent,
    /// Leaves the last one to what is urgent, unless another comes free soon.
    Ordinary,
    /// As [`Use::Ordinary`], and no more than half of all once there was a first list, but for very small budgets.
    List,
}

#[derive(Clone, Copy, Debug)]
struct Made {
    at: Timestamp,
    list: bool,
}

/// When requests were made, how many are under way, and until when Linktree asked for none.
#[derive(Clone, Debug)]
pub struct Budget {
    limit: usize,
    /// Answered, oldest first.
    made: Vec<Made>,
    under_way: usize,
    lists_under_way: usize,
    /// Lists have a share only.
    lists_share: bool,
    closed_until: Option<Timestamp>,
}

impl Budget {
    #[must_use]
    pub fn new(requests_per_minute: usize) -> Self {
        let limit = requests_per_minute.max(1);
        Budget { limit, made: Vec::new(), under_way: 0, lists_under_way: 0, lists_share: false, closed_until: None }
    }

    /// Follows a changed spec; what was used stays used.
    pub fn resize(&mut self, requests_per_minute: usize) {
        self.limit = requests_per_minute.max(1);
    }

    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// From now on lists leave half of the window to others. Before the first one nothing else can be done.
    pub fn share_with_lists(&mut self) {
        self.lists_share = true;
    }

    /// A request is begun. Whether it may be is asked before, with [`Budget::allows`].
    pub fn begin(&mut self, of: Use) {
        self.under_way += 1;
        self.lists_under_way += usize::from(of == Use::List);
    }

    /// A request that was begun is over, whatever came of it.
    pub fn end(&mut self, of: Use, now: Timestamp) {
        self.under_way = self.under_way.saturating_sub(1);
        self.lists_under_way = self.lists_under_way.saturating_sub(usize::from(of == Use::List));
        self.add(1, of == Use::List, now);
    }

    /// Requests that somebody else made at `at`, or may have made.
    pub fn assume(&mut self, requests: usize, of: Use, at: Timestamp) {
        self.add(requests.min(self.limit), of == Use::List, at);
    }

    /// Linktree says that only so many are left. If that is less than we thought, somebody else uses the token.
    pub fn at_most(&mut self, left: usize, now: Timestamp) {
        let others = self.limit.saturating_sub(self.used(now)).saturating_sub(left);
        self.assume(others, Use::Ordinary, now);
    }

    /// Linktree answered 429: no request before `until`, whatever our own count says.
    pub fn close(&mut self, until: Timestamp) {
        self.closed_until = self.closed_until.max(Some(until));
    }

    /// Whether a request may be made now that leaves `ahead` others their place.
    #[must_use]
    pub fn allows(&self, of: Use, ahead: usize, now: Timestamp) -> bool {
        let left = self.remaining(now);
        match of {
            Use::Urgent => left > ahead,
            Use::Ordinary => left > ahead + 1 || (left > ahead && self.another_soon(now)),
            Use::List => self.lists(now) < self.lists_max() && self.allows(Use::Ordinary, ahead, now),
        }
    }

    /// Requests that may be made now.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> usize {
        if self.closed_until.is_some_and(|until| until > now) {
            return 0;
        }
        self.limit.saturating_sub(self.used(now))
    }

    /// While nothing is left: from when on something is, as far as that is known.
    #[must_use]
    pub fn next_free(&self, now: Timestamp) -> Option<Timestamp> {
        (self.remaining(now) == 0).then(|| self.expected(Use::Urgent, 0, now))
    }

    /// About when a request may be made that has `ahead` others before it: exact if each of those is made as soon as it
    /// may be, and answered at once.
    #[must_use]
    pub fn expected(&self, of: Use, ahead: usize, now: Timestamp) -> Timestamp {
        let ends: Vec<Timestamp> = self.made.iter().map(|made| made.at + WINDOW).filter(|end| *end > now).collect();
        let counted = ends.len() + self.under_way;
        let (unused, over) = (self.limit.saturating_sub(counted), counted.saturating_sub(self.limit));
        let ahead = ahead + over;
        // The place of this request among those that must leave the window first.
        let place = (ahead + 1).checked_sub(unused).filter(|place| *place > 0);
        let free = place.map_or(now, |place| self.leaves(&ends, place - 1, now));
        let expected = match of {
            Use::Urgent => free,
            Use::Ordinary | Use::List if self.limit == 1 => free,
            Use::Ordinary | Use::List => {
                let kept = self.leaves(&ends, (ahead + 1).saturating_sub(unused), now) - self.pace();
                if unused > ahead + 1 { free } else { free.max(kept) }
            }
        };
        let list = (of == Use::List && self.lists(now) >= self.lists_max()).then(|| self.first_list_ends(now));
        expected.max(list.unwrap_or(now)).max(self.closed_until.unwrap_or(now))
    }

    /// The share of the budget that lists have.
    #[must_use]
    pub fn lists_max(&self) -> usize {
        if self.lists_share { (self.limit / 2).max(2) } else { self.limit }
    }

    /// Drops what no longer counts.
    pub fn forget(&mut self, now: Timestamp) {
        self.made.retain(|made| in_window(made.at, now));
    }

    /// The time between two requests at which the budget is used to its end.
    #[must_use]
    pub fn pace(&self) -> SignedDuration {
        WINDOW / i32::try_from(self.limit).unwrap_or(i32::MAX)
    }

    /// When the `index`th of those that count stops counting. Beyond the last: when one made in the place of an earlier
    /// one does.
    fn leaves(&self, ends: &[Timestamp], index: usize, now: Timestamp) -> Timestamp {
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

    fn another_soon(&self, now: Timestamp) -> bool {
        let first = self.made.iter().map(|made| made.at + WINDOW).find(|end| *end > now);
        self.limit == 1 || first.is_some_and(|end| end.duration_since(now) <= self.pace())
    }

    fn first_list_ends(&self, now: Timestamp) -> Timestamp {
        let lists = self.made.iter().filter(|made| made.list && in_window(made.at, now));
        lists.map(|made| made.at + WINDOW).next().unwrap_or(now + self.pace())
    }

    fn used(&self, now: Timestamp) -> usize {
        self.under_way + self.made.iter().filter(|made| in_window(made.at, now)).count()
    }

    fn lists(&self, now: Timestamp) -> usize {
        self.lists_under_way + self.made.iter().filter(|made| made.list && in_window(made.at, now)).count()
    }

    fn add(&mut self, requests: usize, list: bool, at: Timestamp) {
        let place = self.made.partition_point(|made| made.at <= at);
        self.made.splice(place..place, std::iter::repeat_n(Made { at, list }, requests));
    }
}

/// Whether a request made at `made` still counts. One from the future (the clock was set back) counts: too few requests
/// are better than too many.
fn in_window(made: Timestamp, now: Timestamp) -> bool {
    made + WINDOW > now
}

#[cfg(test)]
mod tests;
