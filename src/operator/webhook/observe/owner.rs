//! Finds the webhook that owns a subscription or a URL if several of one account claim it: each has one owner.

use crate::{
    api::webhook::LinktreeWebhook,
    operator::{kubernetes::object_key::ObjectKey, watch::index::IndexEntry, webhook::context::Context},
};

/// The other webhook that owns the subscription which this one claims, in its status or by `ByID`.
pub(super) fn id_taken_by(context: &Context, webhook: &LinktreeWebhook) -> Option<ObjectKey> {
    let own = IndexEntry::of(webhook);
    let own_claim = own.claim()?;
    let claimants = context.connections.indexes.by_claim(own_claim.id);
    let others: Vec<_> = claimants.iter().filter(|other| other.key != own.key).collect();
    if others.is_empty() {
        return None;
    }
    let connections = with_same_account(context, webhook);
    let uses = |entry: &IndexEntry| ObjectKey::new(&entry.key.namespace, &entry.connection);
    let rivals = others.into_iter().filter(|other| connections.contains(&uses(other)));
    let rival = rivals.filter_map(|other| other.claim()).min()?;
    (rival < own_claim).then(|| rival.webhook.clone())
}

/// Another webhook of the account that has a subscription with the URL in this one's status.
///
/// Only an external receiver's URL can be used twice, and only a webhook without a subscription needs to know.
pub(super) fn url_taken_by(context: &Context, webhook: &LinktreeWebhook, url: &str) -> Option<ObjectKey> {
    let own = IndexEntry::of(webhook);
    if webhook.spec.endpoint.external.is_none() || own.subscription.is_some() {
        return None;
    }
    let webhooks = context.connections.indexes.by_connections(&with_same_account(context, webhook));
    let has_url = |other: &IndexEntry| other.url.as_deref() == Some(url) && other.subscription.is_some();
    webhooks.iter().find(|other| other.key != own.key && has_url(other)).map(|other| (*other.key).clone())
}

fn with_same_account(context: &Context, webhook: &LinktreeWebhook) -> Vec<ObjectKey> {
    let connection = ObjectKey::connection_of(webhook);
    [context.connections.accounts.sharing_with(&connection), vec![connection]].concat()
}
