//! Tests of an account: its snapshot, capabilities, reservations and rate limit.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{rate_limited_client::RateLimitedClient, *};
use crate::linktree::{
    secret::Secret,
    wire::{CreateSubscription, UpdateSubscription},
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn subscription(id: &str) -> Subscription {
    serde_json::from_value(serde_json::json!({"id": id, "url": format!("https://a.example.com/{id}")})).unwrap()
}

pub(in crate::operator) fn snapshot(listed_at: i64, ids: &[&str]) -> Snapshot {
    let account = WireAccount { id: "acc_1".into(), username: None, plan: None };
    Snapshot {
        listed_at: at(listed_at),
        account: Some(account),
        subscriptions: ids.iter().map(|id| subscription(id)).collect(),
        absent: BTreeSet::new(),
    }
}

/// A Linktree with a list of three pages, which counts the calls.
#[derive(Default)]
pub(in crate::operator) struct Pages(pub Arc<AtomicUsize>);

#[async_trait]
impl Linktree for Pages {
    async fn account(&self) -> Result<WireAccount, ApiError> {
        Err(ApiError::NotFound)
    }
    async fn list_page(&self, cursor: Option<&str>) -> Result<(Vec<Subscription>, Option<String>), ApiError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let next = match cursor {
            None => Some("1".to_owned()),
            Some("1") => Some("2".to_owned()),
            Some(_) => None,
        };
        Ok((vec![subscription(cursor.unwrap_or("0"))], next))
    }
    async fn get(&self, _: &SubscriptionId) -> Result<Subscription, ApiError> {
        Err(ApiError::NotFound)
    }
    async fn create(&self, _: &CreateSubscription) -> Result<Subscription, ApiError> {
        Err(ApiError::NotFound)
    }
    async fn update(&self, _: &SubscriptionId, _: &UpdateSubscription) -> Result<Subscription, ApiError> {
        Err(ApiError::NotFound)
    }
    async fn delete(&self, _: &SubscriptionId) -> Result<(), ApiError> {
        Ok(())
    }
    async fn rotate_secret(&self, _: &SubscriptionId) -> Result<Secret, ApiError> {
        Err(ApiError::NotFound)
    }
    fn take_remaining_requests(&self) -> Option<u32> {
        None
    }
}

/// As [`account`], with a count of the pages that were read.
pub(in crate::operator) fn account_and_pages(requests_per_minute: usize) -> (Account, Arc<AtomicUsize>) {
    let pages = Pages::default();
    let read = Arc::clone(&pages.0);
    (with(pages, MemoryStore::default(), requests_per_minute), read)
}

/// Keeps reservations in memory.
#[derive(Clone, Default)]
struct MemoryStore(Arc<Mutex<Vec<RequestBudgetStatus>>>);

#[async_trait]
impl ReservationStore for MemoryStore {
    async fn write(&self, _: &ObjectKey, budget: &RequestBudgetStatus) -> Result<(), String> {
        self.0.lock().unwrap().push(budget.clone());
        Ok(())
    }
}

pub(in crate::operator) fn account(requests_per_minute: usize) -> Account {
    with(Pages::default(), MemoryStore::default(), requests_per_minute)
}

fn with(pages: Pages, store: impl ReservationStore + 'static, requests_per_minute: usize) -> Account {
    account_with(Leadership::unopposed(), pages, store, requests_per_minute)
}

fn account_with(
    leadership: Leadership,
    pages: Pages,
    store: impl ReservationStore + 'static,
    requests_per_minute: usize,
) -> Account {
    let budget = Budget::new(requests_per_minute);
    let account = Account::new(Box::new(pages), Box::new(store), leadership, budget, Metrics::default());
    account.add_connection(&connection(), requests_per_minute);
    account
}

pub(in crate::operator) fn connection() -> ObjectKey {
    ObjectKey::new("marketing", "brand")
}

fn ids(account: &Account) -> Vec<String> {
    account.snapshot().unwrap().subscriptions.iter().map(|known| known.id.0.clone()).collect()
}

#[test]
fn a_list_that_began_before_a_write_does_not_undo_it() {
    let account = account(10);
    account.listed(snapshot(10, &["old"]));
    // The list begins at 20; one subscription is created at 21, the other deleted at 22; then the list ends.
    account.record_subscription(subscription("new"), at(21));
    account.record_deletion(&SubscriptionId("old".into()), at(22));
    account.listed(snapshot(20, &["old"]));
    assert_eq!(ids(&account), ["new"]);
    // A list that began later takes precedence: another client has deleted the subscription.
    account.listed(snapshot(30, &[]));
    assert_eq!(ids(&account), Vec::<String>::new());
    account.listed(snapshot(40, &["old"]));
    assert_eq!(ids(&account), ["old"], "an old write is not replayed on later lists");
}

#[test]
fn an_unsupported_call_is_tried_again_after_a_day_or_on_request() {
    let start = clock::now();
    let later = |hours| start.saturating_add(SignedDuration::from_hours(hours)).unwrap();
    for (hours, requested, lacks) in [(23, false, true), (25, false, false), (0, true, false)] {
        let account = account(10);
        account.mark_unsupported(Call::Update);
        account.reconsider_capabilities(requested, later(hours));
        assert_eq!(account.capabilities().lacks_update(), lacks, "after {hours} h, requested: {requested}");
    }
}

#[tokio::test]
async fn the_first_page_is_throttled_without_budget() {
    let account = Arc::new(account(1));
    RateLimitedClient::new(&account, &connection()).delete(&SubscriptionId("a".into())).await.unwrap();
    let result = RateLimitedClient::new(&account, &connection()).list_page(None).await;
    assert!(matches!(result, Err(ApiError::Throttled { .. })), "{result:?}");
}

#[tokio::test]
async fn further_pages_wait_for_a_permit() {
    let (account, calls) = account_and_pages(2);
    let account = Arc::new(account);
    let linktree = RateLimitedClient::new(&account, &connection());
    let listed = tokio::time::timeout(Duration::from_millis(100), crate::linktree::client::list_all(&linktree)).await;
    assert!(listed.is_err(), "the list must neither fail nor exceed the budget: {listed:?}");
    assert!(calls.load(Ordering::Relaxed) <= 2);
}

#[tokio::test]
async fn requests_are_reserved_before_use_except_periodic_lists() {
    let store = MemoryStore::default();
    let account = Arc::new(with(Pages::default(), store.clone(), 600));
    let linktree = RateLimitedClient::new(&account, &connection());
    let remaining = || store.0.lock().unwrap().iter().map(|reserved| reserved.remaining).collect::<Vec<_>>();
    crate::linktree::client::list_all(&linktree).await.unwrap();
    assert_eq!(remaining(), [595], "the first list of a process is reserved");
    account.listed(snapshot(1, &[]));
    for _ in 0..3 {
        crate::linktree::client::list_all(&linktree).await.unwrap();
    }
    assert_eq!(remaining(), [595]);
    for _ in 0..3 {
        linktree.delete(&SubscriptionId("a".into())).await.unwrap();
    }
    assert_eq!(remaining().len(), 2, "a reservation holds five requests");
}

#[tokio::test]
async fn a_request_that_cannot_be_reserved_is_not_sent() {
    struct Full;
    #[async_trait]
    impl ReservationStore for Full {
        async fn write(&self, _: &ObjectKey, _: &RequestBudgetStatus) -> Result<(), String> {
            Err("no".into())
        }
    }
    let pages = Pages::default();
    let calls = Arc::clone(&pages.0);
    let account = with(pages, Full, 10);
    let result = RateLimitedClient::new(&Arc::new(account), &connection()).list_page(None).await;
    assert!(matches!(result, Err(ApiError::Unreachable { before_sending: true, .. })), "{result:?}");
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_standby_sends_no_request_to_linktree() {
    let pages = Pages::default();
    let calls = Arc::clone(&pages.0);
    let account = account_with(Leadership::standby(), pages, MemoryStore::default(), 10);
    let result = RateLimitedClient::new(&Arc::new(account), &connection()).list_page(None).await;
    assert!(matches!(result, Err(ApiError::Unreachable { before_sending: true, .. })), "{result:?}");
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}
