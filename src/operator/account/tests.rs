//! What must hold of an account's snapshot, its budget, and of accounts that are gone.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

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

pub(in crate::operator) fn account(requests_per_minute: usize) -> Account {
    Account::new(
        Box::new(Pages::default()),
        Leadership::unopposed(),
        Budget::new(requests_per_minute),
        Metrics::default(),
    )
}

fn ids(account: &Account) -> Vec<String> {
    account.snapshot().unwrap().subscriptions.iter().map(|known| known.id.0.clone()).collect()
}

#[test]
fn a_list_begun_before_our_write_was_answered_does_not_undo_it() {
    let account = account(10);
    account.listed(snapshot(10, &["old"]));
    // The list is begun at 20, the subscription made at 21 and the other deleted at 22, and then the list ends.
    account.noted(subscription("new"), at(21));
    account.gone(&SubscriptionId("old".into()), at(22));
    account.listed(snapshot(20, &["old"]));
    assert_eq!(ids(&account), ["new"]);
    // A list begun later knows better: somebody deleted it since.
    account.listed(snapshot(30, &[]));
    assert_eq!(ids(&account), Vec::<String>::new());
    account.listed(snapshot(40, &["old"]));
    assert_eq!(ids(&account), ["old"], "an old write is not replayed for ever");
}

#[test]
fn a_forgotten_account_is_there_for_deletions_and_comes_back_with_its_budget() {
    let (accounts, key) = (Accounts::default(), ("ns".to_owned(), "brand".to_owned()));
    let credentials = Credentials { base_url: "https://a".into(), token: Secret::new("t") };
    let made = accounts.get_or_make::<()>(&key, &credentials, || Ok(account(1))).unwrap();
    made.pay().unwrap();
    accounts.forget(&key);
    assert!(accounts.get(&key).is_none());
    assert!(Arc::ptr_eq(&accounts.last_known(&key).unwrap(), &made));
    let again = accounts.get_or_make::<()>(&key, &credentials, || Ok(account(1))).unwrap();
    assert!(again.pay().is_err(), "the token's budget is used up as before");
    let other = Credentials { token: Secret::new("u"), ..credentials };
    let other = accounts.get_or_make::<()>(&key, &other, || Ok(account(1))).unwrap();
    assert!(!Arc::ptr_eq(&other, &made));
}

#[tokio::test]
async fn the_first_page_is_refused_without_budget() {
    let account = Arc::new(account(1));
    account.pay().unwrap();
    let refused = account.linktree().list_page(None).await;
    assert!(matches!(refused, Err(ApiError::TooManyRequests { retry_after: Some(_) })), "{refused:?}");
}

#[tokio::test]
async fn further_pages_wait_for_their_turn() {
    let pages = Pages::default();
    let asked = Arc::clone(&pages.0);
    let account = Arc::new(Account::new(Box::new(pages), Leadership::unopposed(), Budget::new(2), Metrics::default()));
    let linktree = account.linktree();
    let listed = tokio::time::timeout(Duration::from_millis(100), crate::linktree::client::list_all(&linktree)).await;
    assert!(listed.is_err(), "it neither gave up nor exceeded the budget: {listed:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}
