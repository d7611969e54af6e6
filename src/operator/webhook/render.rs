//! Renders the desired state from a webhook's spec: the receiver's objects, the Ingress or HTTPRoute, and the route
//! file.

use jiff::Timestamp;

use self::{children::Children, pod_config::ReceiverPodConfig};
use super::{
    addressable::Addresses,
    observed::{self, Secrets},
    spec::Spec,
};
use crate::{
    linktree::{secret::Secret, wire::SubscriptionId},
    operator::kubernetes::apply::Desired,
    route::Route,
};

pub mod children;
pub mod exposure;
pub mod key_digests;
pub mod metadata;
pub mod pod_config;
pub mod route;

/// The desired state of a webhook, rendered from its spec and the Secret values that the spec refers to.
pub struct Rendered {
    pub children: Children,
    pub route: Route,
    pub route_secret: Desired,
    pub route_digest: String,
    pub admin_token: Secret,
    pub keys: observed::Keys,
    pub secret_kept_for: Option<SubscriptionId>,
    pub next_key_end: Option<Timestamp>,
    pub sinks_unresolved: Vec<observed::Unresolved>,
}

/// Renders the desired state of a webhook.
///
/// # Errors
/// When an object cannot be serialized to JSON, which these types always can.
pub fn render(
    spec: &Spec,
    secrets: &Secrets,
    addresses: &Addresses,
    pod: &ReceiverPodConfig,
    now: Timestamp,
) -> Result<Rendered, serde_json::Error> {
    let route = route::route(spec, secrets, addresses, now);
    let file = route.render()?;
    let route_digest = Route::digest(&file);
    let route_secret = children::route_secret(spec, file, &route)?;
    Ok(Rendered {
        children: children::render(spec, pod)?,
        route_digest,
        route_secret,
        route,
        admin_token: secrets.admin_token.clone(),
        keys: route::keys(spec, secrets, now),
        next_key_end: route::next_key_end(spec, secrets, now),
        secret_kept_for: secrets.kept_for.clone(),
        sinks_unresolved: route::unresolved(spec, secrets, addresses),
    })
}
