//! Lists an account's subscriptions: with one paged list, or with one GET per known subscription if Linktree has no
//! list call.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use crate::{
    clock,
    linktree::{
        client::Linktree,
        error::ApiError,
        wire::{Account as WireAccount, Subscription, SubscriptionId},
    },
    operator::{
        account::{Account, Snapshot, listing::Listing, rate_limited_client::RateLimitedClient},
        kubernetes::object_key::ObjectKey,
        watch::index::IndexEntry,
    },
};

/// Lists the account and records the result in it. Returns whether Linktree answered; `false` if the list was throttled
/// by our own rate limiter or by a 429.
///
/// `webhooks` are those of all connections with this account.
pub(super) async fn list(account: &Arc<Account>, connection: &ObjectKey, webhooks: &[Arc<IndexEntry>]) -> bool {
    let _one_at_a_time = account.lock_listing().await;
    let start = clock::now();
    let began = account.with_listing(|listing| listing.resume(start)).0;
    let linktree = RateLimitedClient::new(account, connection);
    let listed = async {
        let identity = identity(account, &linktree).await?;
        let expected = expected(account.unverified(), webhooks);
        let subscriptions = subscriptions(account, &linktree, &expected).await?;
        let absent = missing(&subscriptions, &expected).cloned().collect();
        Ok(Snapshot { listed_at: began, account: identity, subscriptions, absent })
    };
    match listed.await {
        Ok(snapshot) => {
            account.note_list_took(clock::now().duration_since(began).try_into().unwrap_or_default());
            account.listed(snapshot);
            true
        }
        Err(error) => {
            let answered = !matches!(error, ApiError::Throttled { .. } | ApiError::TooManyRequests { .. });
            account.list_failed(error, clock::now());
            answered
        }
    }
}

/// The account's id, user name and plan, requested once per process. The result is stored even if the list then fails:
/// with a budget of one request per minute, a list that needs both requests would never complete.
async fn identity(account: &Account, linktree: &dyn Linktree) -> Result<Option<WireAccount>, ApiError> {
    if let Some(known) = account.identity() {
        return Ok(Some(known));
    }
    if let Some(snapshot) = account.snapshot() {
        return Ok(snapshot.account.clone());
    }
    match linktree.account().await {
        Ok(identity) => {
            account.set_identity(identity.clone());
            Ok(Some(identity))
        }
        // Nothing depends on the identity: it is only shown in the status.
        Err(ApiError::Unsupported { .. } | ApiError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The account's subscriptions, from a list or from GETs by id. `expected` are the subscriptions, id to url, that
/// should exist.
async fn subscriptions(
    account: &Account,
    linktree: &dyn Linktree,
    expected: &BTreeMap<SubscriptionId, String>,
) -> Result<Vec<Subscription>, ApiError> {
    if !account.capabilities().lacks_list() {
        match list_all(account, linktree, expected).await {
            Err(ApiError::Unsupported { .. }) => {}
            listed => return with_unclear(account, linktree, listed?, expected).await,
        }
    }
    let mut known = Vec::new();
    for (id, url) in expected {
        known.extend(read(account, linktree, id, url).await?);
    }
    Ok(known)
}

/// Lists the account, from the page at which an earlier attempt has stopped.
///
/// An expected subscription that is missing would be registered again, but a list may be incomplete for a moment: then
/// a second list confirms it.
async fn list_all(
    account: &Account,
    linktree: &dyn Linktree,
    expected: &BTreeMap<SubscriptionId, String>,
) -> Result<Vec<Subscription>, ApiError> {
    loop {
        let (_, cursor) = account.with_listing(|listing| listing.resume(clock::now()));
        let (page, next) = linktree.list_page(cursor.as_deref()).await?;
        let Some(listed) = account.with_listing(|listing| listing.add(page, next))? else { continue };
        let listed = match account.with_listing(Listing::take_first) {
            Some(first) => merge(first, listed),
            None if missing(&listed, expected).next().is_none() => listed,
            None => {
                account.with_listing(|listing| listing.confirm(listed));
                continue;
            }
        };
        account.with_listing(|listing| *listing = Listing::default());
        return Ok(listed);
    }
}

/// Adds to a list the expected subscriptions that a GET still finds, if entries of the list were not understood: what
/// is missing may be one of these.
async fn with_unclear(
    account: &Account,
    linktree: &dyn Linktree,
    mut listed: Vec<Subscription>,
    expected: &BTreeMap<SubscriptionId, String>,
) -> Result<Vec<Subscription>, ApiError> {
    if linktree.unclear_fields().is_empty() {
        return Ok(listed);
    }
    let absent: Vec<SubscriptionId> = missing(&listed, expected).cloned().collect();
    for id in absent {
        let url = expected.get(&id).map(String::as_str).unwrap_or_default();
        listed.extend(read(account, linktree, &id, url).await?);
    }
    Ok(listed)
}

/// The subscriptions, id to url, that a list should contain: those in the webhooks' statuses, and the account's
/// unverified ones.
fn expected(
    unverified: BTreeMap<SubscriptionId, String>,
    webhooks: &[Arc<IndexEntry>],
) -> BTreeMap<SubscriptionId, String> {
    unverified.into_iter().chain(webhooks.iter().filter_map(|webhook| registered(webhook))).collect()
}

/// The expected subscriptions that `listed` lacks.
fn missing<'a>(
    listed: &'a [Subscription],
    expected: &'a BTreeMap<SubscriptionId, String>,
) -> impl Iterator<Item = &'a SubscriptionId> {
    let listed: HashSet<&SubscriptionId> = listed.iter().map(|known| &known.id).collect();
    expected.keys().filter(move |id| !listed.contains(id))
}

/// The union of two lists by id; the second list takes precedence.
fn merge(mut first: Vec<Subscription>, second: Vec<Subscription>) -> Vec<Subscription> {
    first.retain(|known| second.iter().all(|newer| newer.id != known.id));
    first.extend(second);
    first
}

/// GETs one subscription by its id; `None` if it does not exist. A 404 is trusted only if GET is known to be supported:
/// otherwise the endpoint itself may not exist, and registering again would create a second subscription.
async fn read(
    account: &Account,
    linktree: &dyn Linktree,
    id: &SubscriptionId,
    url: &str,
) -> Result<Option<Subscription>, ApiError> {
    match linktree.get(id).await {
        Ok(found) => Ok(Some(found)),
        Err(ApiError::NotFound) if account.capabilities().has_get() => Ok(None),
        Err(ApiError::NotFound | ApiError::Unsupported { .. }) => Ok(Some(assumed(id, url))),
        Err(error) => Err(error),
    }
}

/// Stands for a subscription that was created and cannot be read: everything except its id and url is unknown.
fn assumed(id: &SubscriptionId, url: &str) -> Subscription {
    Subscription {
        id: id.clone(),
        url: url.to_owned(),
        events: Vec::new(),
        status: None,
        created_at: None,
        failing_since: None,
        disabled_at: None,
        disabled_reason: None,
        signing_secret: None,
    }
}

/// The id and url of the subscription in a webhook's status, if both are known.
fn registered(webhook: &IndexEntry) -> Option<(SubscriptionId, String)> {
    Some((webhook.subscription.clone()?, webhook.url.clone()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use std::{sync::atomic::Ordering, time::Duration};

    use super::*;
    use crate::operator::{
        account::tests::{account_and_pages, connection},
        webhook::spec::tests::webhook,
    };

    fn subscription(id: &str, url: &str) -> Subscription {
        serde_json::from_value(json!({"id": id, "url": url})).unwrap()
    }

    #[tokio::test]
    async fn a_list_that_was_interrupted_goes_on_with_its_next_page() {
        let (account, pages) = account_and_pages(2);
        let account = Arc::new(account);
        let linktree = RateLimitedClient::new(&account, &connection());
        let expected = BTreeMap::new();
        let list = || list_all(&account, &linktree, &expected);
        let listed = tokio::time::timeout(Duration::from_millis(100), list()).await;
        assert!(listed.is_err(), "its last page waits for the budget");
        account.add_connection(&connection(), 600);
        let listed: Vec<_> = list().await.unwrap().into_iter().map(|known| known.id.0).collect();
        assert_eq!((listed, pages.load(Ordering::Relaxed)), (vec!["0".into(), "1".into(), "2".into()], 3));
        assert_eq!(list().await.unwrap().len(), 3, "the next list begins with the first page");
    }

    #[tokio::test]
    async fn a_list_that_lacks_an_expected_subscription_is_confirmed_by_a_second_one() {
        let (account, pages) = account_and_pages(600);
        let account = Arc::new(account);
        let linktree = RateLimitedClient::new(&account, &connection());
        let expected = BTreeMap::from([(SubscriptionId("other".into()), "u".to_owned())]);
        let listed = list_all(&account, &linktree, &expected).await.unwrap();
        assert_eq!((listed.len(), pages.load(Ordering::Relaxed)), (3, 6));
    }

    #[test]
    fn an_expected_subscription_is_missing_only_if_two_lists_lack_it() {
        let known = Arc::new(IndexEntry::of(&webhook(|object| {
            object["status"] = json!({"address": {"url": "u"}, "subscription": {"state": "Enabled", "id": "a"}});
        })));
        let (a, b) = (subscription("a", "u"), subscription("b", "v"));
        let unverified = BTreeMap::from([(SubscriptionId("c".into()), "x".into())]);
        let expected = expected(unverified, &[known]);
        let missing = |listed: &[Subscription]| missing(listed, &expected).map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(missing(&[a.clone(), b.clone()]), ["c"]);
        assert_eq!(missing(std::slice::from_ref(&b)), ["a", "c"]);
        let newer = subscription("b", "w");
        assert_eq!(merge(vec![a.clone(), b], vec![newer.clone()]), [a, newer]);
    }
}
