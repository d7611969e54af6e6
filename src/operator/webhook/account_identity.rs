//! Whether a webhook's subscription is still in the account that its connection's token belongs to. Pure.
//!
//! Linktree's id of the account decides, if both the earlier and the present one are known. Otherwise a changed token
//! alone means nothing: it may be a new one of the same account. But if two lists with it lack the subscription, then
//! registering it again could leave the first one active in another account.

use super::{observed::Connection, subscription_record};
use crate::{
    api::webhook_status::{LinktreeWebhookStatus, SubscriptionAccount},
    linktree::wire::SubscriptionId,
    operator::account::Snapshot,
};

/// The account with this snapshot and this digest of its token.
#[must_use]
pub fn of(snapshot: &Snapshot, token: &str) -> SubscriptionAccount {
    SubscriptionAccount {
        id: snapshot.account.as_ref().map(|account| account.id.clone()),
        token_digest: token.to_owned(),
    }
}

/// Whether the webhook's subscription is in another account than the connection's.
#[must_use]
pub fn has_changed(status: &LinktreeWebhookStatus, connection: &Connection) -> bool {
    let Connection::Listed { snapshot, token, .. } = connection else { return false };
    let (Some(remembered), Some(subscription)) = (&status.account, &status.subscription) else { return false };
    if subscription.id.is_none() && subscription_record::intent(subscription).is_none() {
        return false;
    }
    match (&remembered.id, &snapshot.account) {
        (Some(before), Some(now)) => *before != now.id,
        (Some(_) | None, _) => {
            let id = subscription.id.clone().map(SubscriptionId);
            remembered.token_digest != **token && id.is_some_and(|id| snapshot.absent.contains(&id))
        }
    }
}

/// `status.account` for a webhook with this subscription id: the present account, once a list has shown the
/// subscription in it; otherwise the earlier one.
#[must_use]
pub fn remembered(
    status: &LinktreeWebhookStatus,
    connection: &Connection,
    subscription: Option<&SubscriptionId>,
) -> Option<SubscriptionAccount> {
    let earlier = status.account.clone();
    let Connection::Listed { snapshot, token, .. } = connection else { return earlier };
    let Some(id) = subscription else { return earlier };
    if has_changed(status, connection) || snapshot.subscriptions.iter().all(|known| known.id != *id) {
        return earlier;
    }
    let present = of(snapshot, token);
    Some(SubscriptionAccount { id: present.id.or_else(|| earlier.and_then(|earlier| earlier.id)), ..present })
}
