//! Finds the subscription in the account that belongs to a webhook.

use std::sync::Arc;

use super::{
    observed::{Connection, Observed},
    spec::{Adoption, Spec},
};
use crate::{
    linktree::wire,
    operator::{account::Snapshot, kubernetes::object_key::ObjectKey},
};

/// Whether the account has a subscription for a webhook, and whose it is.
pub enum Ownership<'a> {
    /// A subscription that this webhook created or may adopt.
    Ours(&'a wire::Subscription),
    /// A subscription with this webhook's URL that the webhook neither created nor may adopt.
    Foreign(&'a wire::Subscription),
    /// Another webhook has a subscription with this webhook's URL.
    OtherWebhook(&'a ObjectKey),
    /// The account has no subscription for this webhook.
    Absent,
}

/// Whether Linktree has disabled the webhook's subscription.
#[must_use]
pub fn is_disabled(spec: &Spec, observed: &Observed) -> bool {
    let Connection::Listed { snapshot, .. } = &observed.connection else { return false };
    match find(spec, observed, snapshot) {
        Ownership::Ours(known) => known.status == Some(wire::SubscriptionStatus::Disabled),
        Ownership::Foreign(_) | Ownership::OtherWebhook(_) | Ownership::Absent => false,
    }
}

/// Finds a webhook's subscription: by the id in its status if it has one, otherwise by its URL, which identifies the
/// webhook at Linktree.
#[must_use]
pub fn find<'a>(spec: &Spec, observed: &'a Observed, snapshot: &'a Arc<Snapshot>) -> Ownership<'a> {
    let status = observed.status.subscription.as_ref();
    let by_id = |id: &str| snapshot.subscriptions.iter().find(|known| known.id.0 == id);
    let by_url = || snapshot.subscriptions.iter().find(|known| known.url == spec.url.as_str());
    if let Some(known) = status.and_then(|status| status.id.as_deref()).and_then(by_id) {
        return Ownership::Ours(known);
    }
    if let Some(other) = &observed.url_taken_by {
        return Ownership::OtherWebhook(other);
    }
    // A recorded registration may have succeeded although its response was lost: then the subscription is ours.
    let begun = status.is_some_and(|status| status.registration_time.is_some());
    match (&spec.policies.adoption, by_url()) {
        (Adoption::ById(id), _) => by_id(&id.0).map_or(Ownership::Absent, Ownership::Ours),
        (Adoption::IfUrlMatches | Adoption::Never, None) => Ownership::Absent,
        (Adoption::IfUrlMatches, Some(known)) => Ownership::Ours(known),
        (Adoption::Never, Some(known)) if begun => Ownership::Ours(known),
        (Adoption::Never, Some(known)) => Ownership::Foreign(known),
    }
}
