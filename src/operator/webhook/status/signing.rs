//! Computes `status.signing`.

use crate::{
    api::webhook_status::SigningStatus,
    operator::{
        kubernetes::apply::standing::Standing,
        webhook::{
            observed::{Child, Keys, Observed},
            outcome::{Failure, Outcome},
            plan::Step,
            render::key_digests::key_digests,
        },
    },
    route::Route,
};

/// The signing keys in the route, and the key that verified the last delivery.
pub(super) fn status(route: &Route, observed: &Observed) -> SigningStatus {
    let active_key = match &observed.keys {
        Keys::Found { active, .. } => Some(active.clone()),
        Keys::CurrentMissing(_) | Keys::ProviderMissing(_) | Keys::Expired => None,
    };
    let last = observed.receiver.status.as_ref().map(|status| status.last_verified_key.clone());
    let known = observed.status.signing.as_ref().and_then(|signing| signing.last_verified_key.clone());
    SigningStatus { active_key, last_verified_key: last.unwrap_or(known), key_digests: key_digests(route) }
}

/// Whether the route Secret, which contains the admin token, exists after the steps.
///
/// Until it does, each process generates a new token, and the key digests, which depend on the token, would change with
/// every restart.
pub(super) fn has_admin_token(observed: &Observed, steps: &[Step], outcome: &Outcome) -> bool {
    let failed = outcome.failures.iter().any(|failure| matches!(failure, Failure::Kubernetes { .. }));
    match observed.children.get(&Child::RouteSecret) {
        None | Some(Standing::Met | Standing::Kept(_)) => true,
        Some(Standing::Apply { .. }) => {
            !failed && steps.iter().any(|step| matches!(step, Step::Apply(Child::RouteSecret, _)))
        }
        Some(Standing::Foreign(_) | Standing::AnotherOperator { .. }) => false,
    }
}
