//! Inventory of an account: classifies each subscription as managed, unmanaged, duplicate or orphaned. Pure.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use url::Url;

use crate::{
    api::connection::{SubscriptionCounts, UnmanagedState, UnmanagedSubscription},
    linktree::wire::{Subscription, SubscriptionStatus},
    operator::{kubernetes::names, watch::index::IndexEntry},
};

/// Maximum number of unmanaged subscriptions in the connection's status.
const LISTED_MAX: usize = 20;

/// The counts of an account's subscriptions by class, and a list of the unmanaged ones.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Inventory {
    pub(super) counts: SubscriptionCounts,
    pub(super) unmanaged: Vec<UnmanagedSubscription>,
}

/// The owner of a subscription, or the class of one without an owner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Webhook,
    /// A webhook of another connection with the same account.
    OtherConnection,
    /// No owner: its url is that of a webhook that has another subscription.
    Duplicate,
    /// No owner: its url has the form of a bundled receiver's, but no webhook has it.
    Orphan,
    /// No owner: its url is not one of the operator's.
    External,
}

impl Inventory {
    /// Classifies the subscriptions. `sharing` are the webhooks of other connections to the same account; their
    /// subscriptions are counted by those connections.
    pub(super) fn of(
        subscriptions: &[Subscription],
        webhooks: &[Arc<IndexEntry>],
        sharing: &[Arc<IndexEntry>],
    ) -> Self {
        let claims = Claims::of(subscriptions, webhooks, sharing);
        let owners: Vec<(Owner, &Subscription)> =
            subscriptions.iter().map(|known| (claims.owner(known), known)).collect();
        let count = |counted: &[Owner]| {
            let number = owners.iter().filter(|(owner, _)| counted.contains(owner)).count();
            i64::try_from(number).unwrap_or(i64::MAX)
        };
        let without_webhook = [Owner::Duplicate, Owner::Orphan, Owner::External];
        let listed = owners.iter().filter(|(owner, _)| without_webhook.contains(owner));
        Inventory {
            counts: SubscriptionCounts {
                managed: count(&[Owner::Webhook]),
                unmanaged: count(&without_webhook),
                duplicate: count(&[Owner::Duplicate]),
                orphaned: count(&[Owner::Orphan]),
            },
            unmanaged: listed.take(LISTED_MAX).map(|(_, known)| unmanaged(known)).collect(),
        }
    }
}

/// The ids and urls of the subscriptions that webhooks own.
struct Claims<'a> {
    by_id: HashMap<&'a str, Owner>,
    /// Per url: the owner, and whether the account lists the subscription whose id is in the status of the webhook with
    /// that url.
    by_url: HashMap<&'a str, (Owner, bool)>,
}

impl<'a> Claims<'a> {
    fn of(all: &'a [Subscription], webhooks: &'a [Arc<IndexEntry>], sharing: &'a [Arc<IndexEntry>]) -> Self {
        let listed: HashSet<&str> = all.iter().map(|known| known.id.0.as_str()).collect();
        let mut claims = Claims { by_id: HashMap::new(), by_url: HashMap::new() };
        let ours = webhooks.iter().map(|webhook| (Owner::Webhook, webhook));
        for (owner, webhook) in sharing.iter().map(|webhook| (Owner::OtherConnection, webhook)).chain(ours) {
            let id = webhook.subscription.as_ref().map(|id| id.0.as_str());
            claims.by_id.extend(id.map(|id| (id, owner)));
            let found = id.is_some_and(|id| listed.contains(id));
            claims.by_url.extend(webhook.url.as_deref().map(|url| (url, (owner, found))));
        }
        claims
    }

    /// Finds the owner by id, or else by url, since the id of a new subscription may not be in its webhook's status
    /// yet.
    fn owner(&self, known: &Subscription) -> Owner {
        if let Some(owner) = self.by_id.get(known.id.0.as_str()) {
            return *owner;
        }
        match self.by_url.get(known.url.as_str()) {
            Some((Owner::Webhook, true)) => Owner::Duplicate,
            Some((owner, _)) => *owner,
            None if Url::parse(&known.url).is_ok_and(|url| names::is_delivery_path(url.path())) => Owner::Orphan,
            None => Owner::External,
        }
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

    fn owned(id: Option<&str>) -> Arc<IndexEntry> {
        Arc::new(IndexEntry::of(&webhook(|object| {
            object["status"] = json!({"address": {"url": OURS}, "subscription": {"state": "Enabled", "id": id}});
        })))
    }

    #[test]
    fn each_subscription_is_classified_by_its_owner() {
        let account = [
            subscription("a", OURS),
            subscription("b", OURS),
            subscription("c", LEFT_BEHIND),
            subscription("d", "https://old.example/hook"),
        ];
        let inventory = Inventory::of(&account, &[owned(Some("a"))], &[]);
        let counts = SubscriptionCounts { managed: 1, unmanaged: 3, duplicate: 1, orphaned: 1 };
        assert_eq!(inventory.counts, counts);
        let ids: Vec<_> = inventory.unmanaged.iter().map(|unmanaged| unmanaged.id.as_str()).collect();
        assert_eq!(ids, ["b", "c", "d"]);
    }

    #[test]
    fn a_new_subscription_is_managed_before_its_id_is_recorded() {
        let inventory = Inventory::of(&[subscription("a", OURS)], &[owned(None)], &[]);
        assert_eq!((inventory.counts.managed, inventory.counts.unmanaged), (1, 0));
    }

    #[test]
    fn a_subscription_of_another_connection_is_counted_there() {
        let account = [subscription("a", OURS), subscription("b", OURS), subscription("c", "https://old.example/hook")];
        let inventory = Inventory::of(&account, &[], &[owned(Some("a"))]);
        let counts = SubscriptionCounts { managed: 0, unmanaged: 1, duplicate: 0, orphaned: 0 };
        assert_eq!(inventory.counts, counts);
    }

    #[test]
    fn the_list_of_unmanaged_subscriptions_is_bounded_and_the_count_is_not() {
        let account: Vec<_> = (0..50).map(|n| subscription(&n.to_string(), "https://old.example/hook")).collect();
        let inventory = Inventory::of(&account, &[], &[]);
        assert_eq!((inventory.counts.unmanaged, inventory.unmanaged.len()), (50, LISTED_MAX));
    }
}
