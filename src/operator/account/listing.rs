//! The progress of the list of an account, which may take longer than one reconciliation of its connection. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::linktree::{client::Pages, error::ApiError, wire::Subscription};

/// Age at which the progress of a list is given up: what its first pages show is too old then.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(12);

/// A list of an account in progress.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    began: Option<Timestamp>,
    pages: Pages,
    /// The result of a complete list before it, if this one is to confirm it.
    first: Option<Vec<Subscription>>,
}

impl Listing {
    /// Goes on with the list, or begins a new one. Returns when its first page was requested, and the cursor of the next
    /// page.
    pub fn resume(&mut self, now: Timestamp) -> (Timestamp, Option<String>) {
        let is_usable = |began: &Timestamp| (SignedDuration::ZERO..AGE_MAX).contains(&now.duration_since(*began));
        if self.began.is_some_and(|began| !is_usable(&began)) {
            *self = Listing::default();
        }
        (*self.began.get_or_insert(now), self.pages.cursor().map(str::to_owned))
    }

    /// Adds a page, and returns the complete list if it is the last.
    ///
    /// # Errors
    /// Those of [`Pages::add`].
    pub fn add(
        &mut self,
        page: Vec<Subscription>,
        next: Option<String>,
    ) -> Result<Option<Vec<Subscription>>, ApiError> {
        self.pages.add(page, next)
    }

    /// Begins a second list, which confirms `first`. It counts as begun with the first one.
    pub fn confirm(&mut self, first: Vec<Subscription>) {
        *self = Listing { began: self.began, pages: Pages::default(), first: Some(first) };
    }

    /// The complete list that the present one confirms.
    #[must_use]
    pub fn take_first(&mut self) -> Option<Vec<Subscription>> {
        self.first.take()
    }

    /// Whether the list can go on after this error, because the request was not sent or not read. Otherwise Linktree may
    /// have forgotten the cursor, or the page may be one that it cannot return.
    #[must_use]
    pub fn survives(error: &ApiError) -> bool {
        match error {
            ApiError::Throttled { .. } | ApiError::TooManyRequests { .. } => true,
            ApiError::Server { .. }
            | ApiError::TimedOut { .. }
            | ApiError::Unreachable { .. }
            | ApiError::TokenRejected { .. }
            | ApiError::PlanExcludesWebhooks { .. }
            | ApiError::NotFound
            | ApiError::Unsupported { .. }
            | ApiError::Conflict { .. }
            | ApiError::Invalid { .. }
            | ApiError::Unreadable { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn subscriptions(ids: &[&str]) -> Vec<Subscription> {
        let subscription = |id: &&str| serde_json::from_value(serde_json::json!({"id": id, "url": "u"})).unwrap();
        ids.iter().map(subscription).collect()
    }

    #[test]
    fn a_list_goes_on_with_its_next_page_until_it_is_too_old() {
        let mut listing = Listing::default();
        assert_eq!(listing.resume(at(10)), (at(10), None));
        assert_eq!(listing.add(subscriptions(&["a"]), Some("1".into())), Ok(None));
        assert_eq!(listing.resume(at(4_000)), (at(10), Some("1".into())));
        let mut late = listing.clone();
        assert_eq!(listing.add(subscriptions(&["a", "b"]), None), Ok(Some(subscriptions(&["a", "b"]))));
        let age = AGE_MAX.as_secs();
        assert_eq!(late.resume(at(9 + age)), (at(10), Some("1".into())));
        assert_eq!(late.resume(at(10 + age)), (at(10 + age), None));
        assert_eq!(late.resume(at(5)), (at(5), None), "the clock was set back");
    }

    #[test]
    fn a_second_list_keeps_the_first_and_its_begin() {
        let mut listing = Listing::default();
        listing.resume(at(10));
        listing.confirm(subscriptions(&["a"]));
        assert_eq!(listing.resume(at(20)), (at(10), None));
        assert_eq!((listing.take_first(), listing.take_first()), (Some(subscriptions(&["a"])), None));
    }
}
