//! Looks at an account: one paged list, or what comes closest to it where Linktree offers none.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use crate::{
    clock,
    linktree::{
        client::{Linktree, list_all},
        error::ApiError,
        wire::{Account as WireAccount, Subscription, SubscriptionId},
    },
    operator::{
        account::{Account, Snapshot, rate_limited_client::RateLimitedClient},
        kubernetes::object_key::ObjectKey,
        watch::index::IndexEntry,
    },
};

/// Lists the account and notes how it went. Whose account it is is asked once. Answers whether Linktree gave it a hearing: not
/// so where it was not our turn, or Linktree wants to be left alone.
///
/// `webhooks` are those of all connections that share the account.
pub(super) async fn list(account: &Arc<Account>, connection: &ObjectKey, webhooks: &[Arc<IndexEntry>]) -> bool {
    let begun = clock::now();
    let linktree = RateLimitedClient::new(account, connection);
    let listed = async {
        let whose = whose(account, &linktree).await?;
        let sought = sought(account.sought(), webhooks);
        let subscriptions = subscriptions(account, &linktree, &sought).await?;
        let absent = lacking(&subscriptions, &sought).cloned().collect();
        Ok(Snapshot { listed_at: begun, account: whose, subscriptions, absent })
    };
    match listed.await {
        Ok(snapshot) => {
            account.note_list_took(clock::now().duration_since(begun).try_into().unwrap_or_default());
            account.listed(snapshot);
            true
        }
        Err(error) => {
            let heard = !matches!(error, ApiError::Throttled { .. } | ApiError::TooManyRequests { .. });
            account.list_failed(error, clock::now());
            heard
        }
    }
}

/// Remembered apart from the list: with a budget of one request a minute there would else never be one left for that.
async fn whose(account: &Account, linktree: &dyn Linktree) -> Result<Option<WireAccount>, ApiError> {
    if let Some(known) = account.identity() {
        return Ok(Some(known));
    }
    if let Some(snapshot) = account.snapshot() {
        return Ok(snapshot.account.clone());
    }
    match linktree.account().await {
        Ok(whose) => {
            account.set_identity(whose.clone());
            Ok(Some(whose))
        }
        // It is only shown to people; nothing depends on it.
        Err(ApiError::Unsupported { .. } | ApiError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn subscriptions(
    account: &Account,
    linktree: &dyn Linktree,
    sought: &BTreeMap<SubscriptionId, String>,
) -> Result<Vec<Subscription>, ApiError> {
    if !account.capabilities().lacks_list() {
        match list_all(linktree).await {
            Err(ApiError::Unsupported { .. }) => {}
            // What is taken for gone is registered again, and a list may leave something out for a moment: look twice.
            Ok(listed) if lacking(&listed, sought).next().is_some() => {
                return Ok(either(listed, list_all(linktree).await?));
            }
            listed => return listed,
        }
    }
    let mut known = Vec::new();
    for (id, url) in sought {
        known.extend(read(account, linktree, id, url).await?);
    }
    Ok(known)
}

/// The subscriptions to look for, with their urls: those of the webhooks, and those that were asked for.
fn sought(asked: BTreeMap<SubscriptionId, String>, webhooks: &[Arc<IndexEntry>]) -> BTreeMap<SubscriptionId, String> {
    asked.into_iter().chain(webhooks.iter().filter_map(|webhook| registered(webhook))).collect()
}

/// Those that a list does not have.
fn lacking<'a>(
    listed: &'a [Subscription],
    sought: &'a BTreeMap<SubscriptionId, String>,
) -> impl Iterator<Item = &'a SubscriptionId> {
    let listed: HashSet<&SubscriptionId> = listed.iter().map(|known| &known.id).collect();
    sought.keys().filter(move |id| !listed.contains(id))
}

/// What at least one of two lists has; as the second has it, where both do.
fn either(mut first: Vec<Subscription>, second: Vec<Subscription>) -> Vec<Subscription> {
    first.retain(|known| second.iter().all(|newer| newer.id != known.id));
    first.extend(second);
    first
}

/// One subscription by its id. That it is not there is believed only of a Linktree that has shown that it can be asked:
/// another one answers 404 to the call itself, and registering again would make a second subscription.
async fn read(
    account: &Account,
    linktree: &dyn Linktree,
    id: &SubscriptionId,
    url: &str,
) -> Result<Option<Subscription>, ApiError> {
    match linktree.get(id).await {
        Ok(found) => Ok(Some(found)),
        Err(ApiError::NotFound) if account.capabilities().has_get() => Ok(None),
        Err(ApiError::NotFound | ApiError::Unsupported { .. }) => Ok(Some(trusted(id, url))),
        Err(error) => Err(error),
    }
}

/// What is known of a subscription that cannot be looked at: that it was made.
fn trusted(id: &SubscriptionId, url: &str) -> Subscription {
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

fn registered(webhook: &IndexEntry) -> Option<(SubscriptionId, String)> {
    Some((webhook.subscription.clone()?, webhook.url.clone()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operator::webhook::spec::tests::webhook;

    fn subscription(id: &str, url: &str) -> Subscription {
        serde_json::from_value(json!({"id": id, "url": url})).unwrap()
    }

    #[test]
    fn a_list_without_something_that_is_known_is_made_again_and_counts_with_the_second() {
        let known = Arc::new(IndexEntry::of(&webhook(|object| {
            object["status"] = json!({"address": {"url": "u"}, "subscription": {"state": "Enabled", "id": "a"}});
        })));
        let (a, b) = (subscription("a", "u"), subscription("b", "v"));
        let asked = BTreeMap::from([(SubscriptionId("c".into()), "x".into())]);
        let sought = sought(asked, &[known]);
        let lacking = |listed: &[Subscription]| lacking(listed, &sought).map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(lacking(&[a.clone(), b.clone()]), ["c"]);
        assert_eq!(lacking(std::slice::from_ref(&b)), ["a", "c"]);
        let newer = subscription("b", "w");
        assert_eq!(either(vec![a.clone(), b], vec![newer.clone()]), [a, newer]);
    }
}
