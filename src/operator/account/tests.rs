//! What must hold of an account's snapshot, its budget, and of accounts that are gone.

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

/// A Linktree with a list of three pages, which counts its calls.
#[derive(Default)]
struct Pages(Arc<AtomicUsize>);

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
    fn remaining_requests(&self) -> Option<u32> {
        None
    }
}

/// Keeps what is announced.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<RequestBudgetStatus>>>);

#[async_trait]
impl ReservationStore for Notes {
    async fn write(&self, _: &ObjectKey, budget: &RequestBudgetStatus) -> Result<(), String> {
        self.0.lock().unwrap().push(budget.clone());
        Ok(())
    }
}

pub(in crate::operator) fn account(requests_per_minute: usize) -> Account {
    with(Pages::default(), Notes::default(), requests_per_minute)
}

fn with(pages: Pages, notes: impl ReservationStore + 'static, requests_per_minute: usize) -> Account {
    led(Leadership::unopposed(), pages, notes, requests_per_minute)
}

fn led(by: Leadership, pages: Pages, notes: impl ReservationStore + 'static, requests_per_minute: usize) -> Account {
    let budget = Budget::new(requests_per_minute);
    let account = Account::new(Box::new(pages), Box::new(notes), by, budget, Metrics::default());
    account.add_connection(&who(), requests_per_minute);
    account
}

fn who() -> ObjectKey {
    ObjectKey::new("marketing", "brand")
}

fn ids(account: &Account) -> Vec<String> {
    account.snapshot().unwrap().subscriptions.iter().map(|known| known.id.0.clone()).collect()
}

#[test]
fn a_list_begun_before_our_write_was_answered_does_not_undo_it() {
    let account = account(10);
    account.listed(snapshot(10, &["old"]));
    // The list is begun at 20, the subscription made at 21 and the other deleted at 22, and then the list ends.
    account.record_subscription(subscription("new"), at(21));
    account.record_deletion(&SubscriptionId("old".into()), at(22));
    account.listed(snapshot(20, &["old"]));
    assert_eq!(ids(&account), ["new"]);
    // A list begun later knows better: somebody deleted it since.
    account.listed(snapshot(30, &[]));
    assert_eq!(ids(&account), Vec::<String>::new());
    account.listed(snapshot(40, &["old"]));
    assert_eq!(ids(&account), ["old"], "an old write is not replayed for ever");
}

#[test]
fn what_linktree_was_found_to_lack_is_tried_again_after_a_day_or_when_asked_for() {
    let begun = clock::now();
    let later = |hours| begun.saturating_add(SignedDuration::from_hours(hours)).unwrap();
    for (hours, requested, lacks) in [(23, false, true), (25, false, false), (0, true, false)] {
        let account = account(10);
        account.mark_unsupported(Call::Update);
        account.reconsider_capabilities(requested, later(hours));
        assert_eq!(account.capabilities().lacks_update(), lacks, "after {hours} h, asked for: {requested}");
    }
}

#[tokio::test]
async fn the_first_page_is_refused_without_budget() {
    let account = Arc::new(account(1));
    RateLimitedClient::new(&account, &who()).delete(&SubscriptionId("a".into())).await.unwrap();
    let refused = RateLimitedClient::new(&account, &who()).list_page(None).await;
    assert!(matches!(refused, Err(ApiError::Throttled { .. })), "{refused:?}");
}

#[tokio::test]
async fn further_pages_wait_for_their_turn() {
    let pages = Pages::default();
    let asked = Arc::clone(&pages.0);
    let account = Arc::new(with(pages, Notes::default(), 2));
    let linktree = RateLimitedClient::new(&account, &who());
    let listed = tokio::time::timeout(Duration::from_millis(100), crate::linktree::client::list_all(&linktree)).await;
    assert!(listed.is_err(), "it neither gave up nor exceeded the budget: {listed:?}");
    assert!(asked.load(Ordering::Relaxed) <= 2);
}

#[tokio::test]
async fn what_is_used_is_written_down_beforehand_but_for_the_list_of_each_period() {
    let notes = Notes::default();
    let account = Arc::new(with(Pages::default(), notes.clone(), 600));
    let linktree = RateLimitedClient::new(&account, &who());
    let remaining = || notes.0.lock().unwrap().iter().map(|note| note.remaining).collect::<Vec<_>>();
    crate::linktree::client::list_all(&linktree).await.unwrap();
    assert_eq!(remaining(), [595], "the first list of a process is");
    account.listed(snapshot(1, &[]));
    for _ in 0..3 {
        crate::linktree::client::list_all(&linktree).await.unwrap();
    }
    assert_eq!(remaining(), [595]);
    for _ in 0..3 {
        linktree.delete(&SubscriptionId("a".into())).await.unwrap();
    }
    assert_eq!(remaining().len(), 2, "five at a time");
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    struct Full;
    #[async_trait]
    impl ReservationStore for Full {
        async fn write(&self, _: &ObjectKey, _: &RequestBudgetStatus) -> Result<(), String> {
            Err("no".into())
        }
    }
    let pages = Pages::default();
    let asked = Arc::clone(&pages.0);
    let account = with(pages, Full, 10);
    let refused = RateLimitedClient::new(&Arc::new(account), &who()).list_page(None).await;
    assert!(matches!(refused, Err(ApiError::Unreachable { before_sending: true, .. })), "{refused:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn who_does_not_lead_asks_nothing_of_linktree() {
    let pages = Pages::default();
    let asked = Arc::clone(&pages.0);
    let account = led(Leadership::never_won(), pages, Notes::default(), 10);
    let refused = RateLimitedClient::new(&Arc::new(account), &who()).list_page(None).await;
    assert!(matches!(refused, Err(ApiError::Unreachable { before_sending: true, .. })), "{refused:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}
