//! Sorts an account's subscriptions: whose they are. Pure.

use std::{collections::HashSet, sync::Arc};

use url::Url;

use crate::{
    api::{
        connection::{SubscriptionCounts, UnmanagedState, UnmanagedSubscription},
        webhook::LinktreeWebhook,
        webhook_status::LinktreeWebhookStatus,
    },
    linktree::wire::{Subscription, SubscriptionStatus},
    operator::webhook::spec,
};

/// So many unmanaged subscriptions are listed.
const LISTED_MAX: usize = 20;

/// What an account holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Inventory {
    pub(super) counts: SubscriptionCounts,
    pub(super) unmanaged: Vec<UnmanagedSubscription>,
}

/// Whose a subscription is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Webhook,
    /// It has the url of a webhook that has another subscription.
    Duplicate,
    /// An operator made it, but no webhook of this connection has it.
    Orphan,
    Stranger,
}

impl Inventory {
    pub(super) fn of(subscriptions: &[Subscription], webhooks: &[Arc<LinktreeWebhook>]) -> Self {
        let statuses: Vec<&LinktreeWebhookStatus> =
            webhooks.iter().filter_map(|webhook| webhook.status.as_ref()).collect();
        let owners: Vec<(Owner, &Subscription)> =
            subscriptions.iter().map(|known| (owner(known, &statuses, subscriptions), known)).collect();
        let count = |which: &[Owner]| {
            let number = owners.iter().filter(|(owner, _)| which.contains(owner)).count();
            i64::try_from(number).unwrap_or(i64::MAX)
        };
        let foreign = owners.iter().filter(|(owner, _)| *owner != Owner::Webhook);
        Inventory {
            counts: SubscriptionCounts {
                managed: count(&[Owner::Webhook]),
                unmanaged: count(&[Owner::Duplicate, Owner::Orphan, Owner::Stranger]),
                duplicate: count(&[Owner::Duplicate]),
                orphaned: count(&[Owner::Orphan]),
            },
            unmanaged: foreign.take(LISTED_MAX).map(|(_, known)| unmanaged(known)).collect(),
        }
    }
}

/// By id where a webhook knows one, else by url, since the id may not be written down yet.
fn owner(known: &Subscription, statuses: &[&LinktreeWebhookStatus], all: &[Subscription]) -> Owner {
    let id =
        |status: &LinktreeWebhookStatus| status.subscription.as_ref().and_then(|subscription| subscription.id.clone());
    if statuses.iter().any(|status| id(status).as_deref() == Some(known.id.0.as_str())) {
        return Owner::Webhook;
    }
    let of_url = statuses.iter().find(|status| status.address.as_ref().is_some_and(|address| address.url == known.url));
    let listed: HashSet<&str> = all.iter().map(|subscription| subscription.id.0.as_str()).collect();
    match of_url {
        Some(status) if id(status).is_some_and(|id| listed.contains(id.as_str())) => Owner::Duplicate,
        Some(_) => Owner::Webhook,
        None if Url::parse(&known.url).is_ok_and(|url| spec::is_delivery_path(url.path())) => Owner::Orphan,
        None => Owner::Stranger,
    }
}

fn unmanaged(known: &Subscription) -> UnmanagedSubscription {
    UnmanagedSubscription {
        id: known.id.0.clone(),
        url: known.url.clone(),
        state: known.status.map(|status| match status {
            SubscriptionStatus::Active => UnmanagedState::Enabled,
            SubscriptionStatus::Disabled => UnmanagedState::Disabled,
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operator::webhook::spec::tests::webhook;

    const OURS: &str = "https://hooks.example.com/h/00112233445566778899aabbccddeeff";
    const LEFT_BEHIND: &str = "https://hooks.example.com/h/ffeeddccbbaa99887766554433221100";

    fn subscription(id: &str, url: &str) -> Subscription {
        serde_json::from_value(json!({"id": id, "url": url, "status": "active"})).unwrap()
    }

    fn owned(id: Option<&str>) -> Arc<LinktreeWebhook> {
        Arc::new(webhook(|object| {
            object["status"] = json!({"address": {"url": OURS}, "subscription": {"state": "Enabled", "id": id}});
        }))
    }

    #[test]
    fn each_subscription_is_sorted_by_whose_it_is() {
        let account = [
            subscription("a", OURS),
            subscription("b", OURS),
            subscription("c", LEFT_BEHIND),
            subscription("d", "https://old.example/hook"),
        ];
        let inventory = Inventory::of(&account, &[owned(Some("a"))]);
        let counts = SubscriptionCounts { managed: 1, unmanaged: 3, duplicate: 1, orphaned: 1 };
        assert_eq!(inventory.counts, counts);
        let ids: Vec<_> = inventory.unmanaged.iter().map(|unmanaged| unmanaged.id.as_str()).collect();
        assert_eq!(ids, ["b", "c", "d"]);
    }

    #[test]
    fn one_that_was_just_registered_is_managed_before_its_id_is_written_down() {
        let inventory = Inventory::of(&[subscription("a", OURS)], &[owned(None)]);
        assert_eq!((inventory.counts.managed, inventory.counts.unmanaged), (1, 0));
    }

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let account: Vec<_> = (0..50).map(|n| subscription(&n.to_string(), "https://old.example/hook")).collect();
        let inventory = Inventory::of(&account, &[]);
        assert_eq!((inventory.counts.unmanaged, inventory.unmanaged.len()), (50, LISTED_MAX));
    }
}
