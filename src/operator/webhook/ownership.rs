//! Which subscription of the account belongs to a webhook.

use std::sync::Arc;

use super::{
    observed::{Connection, Observed},
    spec::{Adoption, Spec},
};
use crate::{
    linktree::wire,
    operator::{account::Snapshot, kubernetes::object_key::ObjectKey},
};

/// What the account has for a webhook.
pub enum Ownership<'a> {
    /// The subscription we made, or may take over.
    Ours(&'a wire::Subscription),
    /// One with our url that we neither made nor may take over.
    Foreign(&'a wire::Subscription),
    /// One that another webhook has.
    OtherWebhook(&'a ObjectKey),
    Absent,
}

/// Whether Linktree does not send to the webhook's subscription.
#[must_use]
pub fn is_disabled(spec: &Spec, observed: &Observed) -> bool {
    let Connection::Listed { snapshot, .. } = &observed.connection else { return false };
    match find(spec, observed, snapshot) {
        Ownership::Ours(known) => known.status == Some(wire::SubscriptionStatus::Disabled),
        Ownership::Foreign(_) | Ownership::OtherWebhook(_) | Ownership::Absent => false,
    }
}

/// By its id where we know one, else by url: the url is the webhook's identity at Linktree.
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
    // A registration of ours may have taken effect without our seeing its answer.
    let begun = status.is_some_and(|status| status.registration_time.is_some());
    match (&spec.policies.adoption, by_url()) {
        (Adoption::ById(id), _) => by_id(&id.0).map_or(Ownership::Absent, Ownership::Ours),
        (Adoption::IfUrlMatches | Adoption::Never, None) => Ownership::Absent,
        (Adoption::IfUrlMatches, Some(known)) => Ownership::Ours(known),
        (Adoption::Never, Some(known)) if begun => Ownership::Ours(known),
        (Adoption::Never, Some(known)) => Ownership::Foreign(known),
    }
}
