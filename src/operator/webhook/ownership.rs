//! Finds the subscription of the account that belongs to a webhook.

use std::sync::Arc;

use super::{
    observed::{Connection, Observed},
    spec::{Adoption, Spec},
};
use crate::{
    linktree::wire,
    operator::{account::Snapshot, kubernetes::object_key::ObjectKey},
};

/// The owner of the account's subscription for a webhook.
pub enum Ownership<'a> {
    /// A subscription that this webhook created or may adopt.
    Ours(&'a wire::Subscription),
    /// A subscription with this webhook's URL that it neither created nor may adopt.
    Foreign(&'a wire::Subscription),
    /// Another webhook has the subscription.
    OtherWebhook(&'a ObjectKey),
    /// The account has no such subscription.
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

/// Finds the subscription of a webhook: by the id in its status if there is one, otherwise by URL, which identifies the
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
    // A registration may have taken effect although its response was lost.
    let begun = status.is_some_and(|status| status.registration_time.is_some());
    match (&spec.policies.adoption, by_url()) {
        (Adoption::ById(id), _) => by_id(&id.0).map_or(Ownership::Absent, Ownership::Ours),
        (Adoption::IfUrlMatches | Adoption::Never, None) => Ownership::Absent,
        (Adoption::IfUrlMatches, Some(known)) => Ownership::Ours(known),
        (Adoption::Never, Some(known)) if begun => Ownership::Ours(known),
        (Adoption::Never, Some(known)) => Ownership::Foreign(known),
    }
}
