//! Finds the subscription in the account that belongs to a webhook. Without a proof, none does.
//!
//! Two facts prove it. *Made here*: the status holds its id, or it holds an intent to register, recorded after a list
//! without this URL. *Leads here*: the URL provably leads to this webhook's receiver. Another cluster with the same
//! manifest has neither. Otherwise only the user can say so, by its id.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::{
    account_identity,
    observed::{Connection, Observed},
    spec::{Adoption, Spec},
    subscription_record,
};
use crate::{
    linktree::wire,
    operator::{account::Snapshot, kubernetes::object_key::ObjectKey},
};

/// Largest difference between the clocks of Linktree and the operator that is allowed for. A subscription that is older
/// than the intent was not created by it. With a larger difference, the other proof is needed.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// Longest time from an intent to the creation by its request. A later subscription is another cluster's.
const SERVED_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// Whether the account has a subscription for a webhook, and whose it is.
pub enum Ownership<'a> {
    /// A subscription that this webhook created or may adopt.
    Ours(&'a wire::Subscription),
    /// A subscription with this webhook's URL that the webhook neither created nor may adopt.
    Foreign(&'a wire::Subscription),
    /// A subscription with this webhook's URL that may belong to another cluster.
    Unproven(&'a wire::Subscription),
    /// Another webhook has a subscription with this webhook's URL.
    OtherWebhook(&'a ObjectKey),
    /// Another webhook owns the subscription that this webhook claims by its id.
    OtherOwner(&'a ObjectKey),
    /// The webhook's subscription is in another account than the one that the connection's token belongs to.
    OtherAccount,
    /// The account has no subscription for this webhook.
    Absent,
}

/// Whether Linktree has disabled the webhook's subscription.
#[must_use]
pub fn is_disabled(spec: &Spec, observed: &Observed) -> bool {
    let Connection::Listed { snapshot, .. } = &observed.connection else { return false };
    match find(spec, observed, snapshot) {
        Ownership::Ours(known) => known.status == Some(wire::SubscriptionStatus::Disabled),
        Ownership::Foreign(_)
        | Ownership::Unproven(_)
        | Ownership::OtherWebhook(_)
        | Ownership::OtherOwner(_)
        | Ownership::OtherAccount
        | Ownership::Absent => false,
    }
}

/// Whether there is a subscription that the webhook may adopt only if its URL leads to its receiver.
#[must_use]
pub fn needs_proof(spec: &Spec, observed: &Observed) -> bool {
    let Connection::Listed { snapshot, .. } = &observed.connection else { return false };
    !spec.is_external() && matches!(find(spec, observed, snapshot), Ownership::Unproven(_))
}

/// Finds a webhook's subscription: by the id in its status or spec, otherwise by its URL, for which it needs a proof.
#[must_use]
pub fn find<'a>(spec: &Spec, observed: &'a Observed, snapshot: &'a Arc<Snapshot>) -> Ownership<'a> {
    let by_id = |id: &str| snapshot.subscriptions.iter().find(|known| known.id.0 == id);
    let by_url = || snapshot.subscriptions.iter().find(|known| is_same_url(&known.url, &spec.url));
    if account_identity::has_changed(&observed.status, &observed.connection) {
        return Ownership::OtherAccount;
    }
    if let Some(owner) = &observed.id_taken_by {
        return Ownership::OtherOwner(owner);
    }
    let own_id = observed.status.subscription.as_ref().and_then(|subscription| subscription.id.as_deref());
    if let Some(known) = own_id.and_then(by_id) {
        return Ownership::Ours(known);
    }
    if let Some(other) = &observed.url_taken_by {
        return Ownership::OtherWebhook(other);
    }
    match (&spec.policies.adoption, by_url()) {
        (Adoption::ById(id), _) => by_id(&id.0).map_or(Ownership::Absent, Ownership::Ours),
        (Adoption::IfUrlMatches | Adoption::Never, None) => Ownership::Absent,
        (Adoption::IfUrlMatches | Adoption::Never, Some(known)) if is_made_here(observed, known) => {
            Ownership::Ours(known)
        }
        (Adoption::IfUrlMatches, Some(known)) if observed.leads_here => Ownership::Ours(known),
        (Adoption::IfUrlMatches, Some(known)) => Ownership::Unproven(known),
        (Adoption::Never, Some(known)) => Ownership::Foreign(known),
    }
}

/// Whether a URL of the account is this one, possibly written in another way.
#[must_use]
pub fn is_same_url(known: &str, url: &Url) -> bool {
    known == url.as_str() || Url::parse(known).is_ok_and(|known| known == *url)
}

/// Whether the registration in the status has created this subscription: the response was lost, or not recorded.
///
/// The registration was recorded after a list without the URL, and its request was not answered with a rejection.
#[must_use]
pub fn is_made_here(observed: &Observed, known: &wire::Subscription) -> bool {
    let Some(intent) = observed.status.subscription.as_ref().and_then(subscription_record::intent) else {
        return false;
    };
    let created = known.created_at.and_then(|second| Timestamp::from_second(second).ok());
    created.is_none_or(|created| {
        let before = intent.duration_since(created);
        before <= CLOCK_TOLERANCE && before >= -SERVED_WITHIN
    })
}
