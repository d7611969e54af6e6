//! Subscriptions, and how long each has failed.

use jiff::Timestamp;

use super::{accounts::AccountKey, clock::Clock, rejection::Rejection};
use crate::linktree::{
    event::EventType,
    retry::DISABLE_AFTER,
    secret::Secret,
    wire::{self, SubscriptionId, SubscriptionStatus},
};

/// Maximum number of subscriptions in the simulator. The real service is assumed to allow fewer; this limit only bounds
/// memory.
const SUBSCRIPTIONS_MAX: usize = 20_000;
/// Default number of subscriptions in a page (known: cursor pagination; assumed: the numbers).
pub const PAGE_DEFAULT: usize = 20;
pub const PAGE_MAX: usize = 100;

/// Why a subscription is disabled; the values are assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisabledReason {
    /// 72 hours of consecutive failures (known).
    ConsecutiveFailures,
    /// A request disabled it.
    Requested,
}

impl DisabledReason {
    fn as_str(self) -> &'static str {
        match self {
            DisabledReason::ConsecutiveFailures => "consecutive_failures",
            DisabledReason::Requested => "requested",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub account: AccountKey,
    pub url: String,
    pub events: Vec<EventType>,
    pub secret: Secret,
    pub created: Timestamp,
    /// When the first delivery since the last success failed.
    pub failing_since: Option<Timestamp>,
    pub disabled: Option<(Timestamp, DisabledReason)>,
    /// The position in the list; never reused, so that a cursor stays valid while subscriptions are added and removed.
    sequence: u64,
}

impl Subscription {
    /// When Linktree disables the subscription unless a delivery succeeds before.
    #[must_use]
    pub fn disable_due(&self) -> Option<Timestamp> {
        let since = self.failing_since.filter(|_| self.disabled.is_none())?;
        Some(since + DISABLE_AFTER)
    }

    pub fn delivery_succeeded(&mut self) {
        self.failing_since = None;
    }

    pub fn delivery_failed(&mut self, now: Timestamp) {
        self.failing_since.get_or_insert(now);
    }

    pub fn disable(&mut self, now: Timestamp, reason: DisabledReason) {
        self.disabled.get_or_insert((now, reason));
    }

    /// Enables the subscription and clears its failures.
    pub fn enable(&mut self) {
        self.disabled = None;
        self.failing_since = None;
    }

    /// The subscription as the API returns it, with times in real time. Only the response to a registration contains
    /// the secret.
    #[must_use]
    pub fn on_the_wire(&self, clock: &Clock, with_secret: bool) -> wire::Subscription {
        wire::Subscription {
            id: self.id.clone(),
            url: self.url.clone(),
            events: self.events.clone(),
            status: Some(self.disabled.map_or(SubscriptionStatus::Active, |_| SubscriptionStatus::Disabled)),
            created_at: Some(clock.on_the_wire(self.created)),
            failing_since: self.failing_since.map(|at| clock.on_the_wire(at)),
            disabled_at: self.disabled.map(|(at, _)| clock.on_the_wire(at)),
            disabled_reason: self.disabled.map(|(_, reason)| reason.as_str().to_owned()),
            signing_secret: with_secret.then(|| self.secret.clone()),
        }
    }
}

/// The data of a new subscription.
#[derive(Debug)]
pub struct Registration {
    pub id: SubscriptionId,
    pub account: AccountKey,
    pub url: String,
    pub events: Vec<EventType>,
    pub secret: Secret,
}

#[derive(Debug, Default)]
pub struct Subscriptions {
    /// All subscriptions, in order of `sequence`.
    all: Vec<Subscription>,
    last_sequence: u64,
}

impl Subscriptions {
    /// Adds a subscription. The caller checks for a duplicate url.
    ///
    /// # Errors
    /// [`Rejection::Unprocessable`] if there are too many.
    pub fn add(&mut self, new: Registration, now: Timestamp) -> Result<Subscription, Rejection> {
        if self.all.len() >= SUBSCRIPTIONS_MAX {
            return Err(Rejection::Unprocessable("too many webhooks".to_owned()));
        }
        let Registration { id, account, url, events, secret } = new;
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        let (created, failing_since, disabled) = (now, None, None);
        let new = Subscription { id, account, url, events, secret, created, failing_since, disabled, sequence };
        self.all.push(new.clone());
        Ok(new)
    }

    /// # Errors
    /// [`Rejection::DuplicateUrl`] if a subscription of the account other than `except` has this url.
    pub fn url_is_free(
        &self,
        account: AccountKey,
        url: &str,
        except: Option<&SubscriptionId>,
    ) -> Result<(), Rejection> {
        let taken = |it: &Subscription| it.account == account && it.url == url && Some(&it.id) != except;
        if self.all.iter().any(taken) { Err(Rejection::DuplicateUrl) } else { Ok(()) }
    }

    #[must_use]
    pub fn get(&self, id: &SubscriptionId) -> Option<&Subscription> {
        self.all.iter().find(|it| it.id == *id)
    }

    pub fn get_mut(&mut self, id: &SubscriptionId) -> Option<&mut Subscription> {
        self.all.iter_mut().find(|it| it.id == *id)
    }

    pub fn remove(&mut self, id: &SubscriptionId) -> Option<Subscription> {
        let position = self.all.iter().position(|it| it.id == *id)?;
        Some(self.all.remove(position))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.all.iter()
    }

    /// A page of an account's subscriptions, oldest first, and the cursor of the next page.
    #[must_use]
    pub fn page(&self, account: AccountKey, after: Cursor, limit: usize) -> (Vec<&Subscription>, Option<Cursor>) {
        let mut rest = self.all.iter().filter(|it| it.account == account && it.sequence > after.0);
        let page: Vec<_> = rest.by_ref().take(limit).collect();
        let next = rest.next().and(page.last()).map(|last| Cursor(last.sequence));
        (page, next)
    }
}

/// A position in the list: after the subscription with this sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(u64);

impl Cursor {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix("after_")?.parse().ok().map(Cursor)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "after_{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: AccountKey = AccountKey(0);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn subscriptions(urls: &[(AccountKey, &str)]) -> Subscriptions {
        let mut all = Subscriptions::default();
        for (n, (account, url)) in urls.iter().enumerate() {
            let id = SubscriptionId(format!("wh_{n}"));
            let (account, url, secret) = (*account, (*url).to_owned(), Secret::new("s"));
            all.add(Registration { id, account, url, events: vec![], secret }, at(0)).unwrap();
        }
        all
    }

    fn ids(page: &[&Subscription]) -> Vec<String> {
        page.iter().map(|it| it.id.0.clone()).collect()
    }

    #[test]
    fn pages_contain_each_subscription_once_even_if_some_are_removed_meanwhile() {
        let theirs = AccountKey(1);
        let mut all = subscriptions(&[(OURS, "a"), (theirs, "b"), (OURS, "c"), (OURS, "d"), (theirs, "e")]);
        let (page, next) = all.page(OURS, Cursor::default(), 2);
        assert_eq!(ids(&page), ["wh_0", "wh_2"]);
        let next = Cursor::parse(&next.unwrap().to_string()).unwrap();
        all.remove(&SubscriptionId("wh_2".into()));
        let (page, next) = all.page(OURS, next, 2);
        assert_eq!((ids(&page), next), (vec!["wh_3".to_owned()], None));
    }

    #[test]
    fn a_url_is_free_for_another_account_and_for_its_own_subscription() {
        let all = subscriptions(&[(OURS, "a")]);
        assert_eq!(all.url_is_free(OURS, "a", None), Err(Rejection::DuplicateUrl));
        assert_eq!(all.url_is_free(AccountKey(1), "a", None), Ok(()));
        assert_eq!(all.url_is_free(OURS, "a", Some(&SubscriptionId("wh_0".into()))), Ok(()));
    }

    #[test]
    fn failures_count_from_the_first_one_and_a_success_clears_them() {
        let mut all = subscriptions(&[(OURS, "a")]);
        let it = all.get_mut(&SubscriptionId("wh_0".into())).unwrap();
        it.delivery_failed(at(100));
        it.delivery_failed(at(200));
        assert_eq!(it.disable_due(), Some(at(100) + DISABLE_AFTER));
        it.delivery_succeeded();
        assert_eq!(it.disable_due(), None);
        it.delivery_failed(at(300));
        it.disable(at(400), DisabledReason::ConsecutiveFailures);
        assert_eq!(it.disable_due(), None, "it is disabled already");
        let shown = it.on_the_wire(&Clock::default(), false);
        assert_eq!((shown.failing_since, shown.disabled_at), (Some(300), Some(400)));
        assert_eq!(shown.signing_secret, None);
        it.enable();
        assert_eq!((it.failing_since, it.disabled), (None, None));
    }
}
