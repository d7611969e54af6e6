//! The finding for `EndpointReachable`: whether the registered URL leads to the receiver.
//!
//! The result of the probe, an unsigned request, decides. The state of the Ingress or HTTPRoute only explains why the
//! probe fails: the condition has that explanation until a probe succeeds. For an external receiver there is only the
//! probe.

use jiff::Timestamp;

use super::subscription::outcome::Subscription;
use crate::{
    api::condition::Reason,
    operator::{
        kubernetes::conditions::Finding,
        webhook::{
            observed::{Connection, Exposure, Observed, RouteState},
            plan::Step,
            probe::finding::probe_finding,
            spec::{Endpoint, Spec},
        },
    },
};

pub(super) fn decide(spec: &Spec, observed: &Observed, now: Timestamp) -> Finding {
    let probed = probe_finding(spec, &observed.probe, now);
    match pending(&spec.receiver_name(), &observed.exposure) {
        None => probed,
        Some(pending) if probed.holds() => {
            Finding { message: format!("{}; however, {}", probed.message, pending.message), ..probed }
        }
        Some(pending) => pending,
    }
}

/// The steps that delete stale objects, once they are no longer needed.
///
/// A previous Ingress or HTTPRoute is deleted once its replacement is ready. A previous bundled receiver is deleted
/// once Linktree no longer sends to its URL.
pub(super) fn remove(spec: &Spec, observed: &Observed, subscription: &Subscription) -> impl Iterator<Item = Step> {
    let is_replaced = match &spec.endpoint {
        Endpoint::Managed(_) => pending(&spec.receiver_name(), &observed.exposure).is_none(),
        Endpoint::External => matches!(observed.connection, Connection::Listed { .. }) && !subscription.moves(),
    };
    observed.stale_objects.iter().filter(move |_| is_replaced).cloned().map(Step::Remove)
}

/// The finding that explains why the Ingress or HTTPRoute is not ready; `None` if it is ready or the spec requests
/// none.
fn pending(name: &str, exposure: &Exposure) -> Option<Finding> {
    let (reason, message) = match exposure {
        Exposure::NotOurs
        | Exposure::Ingress { has_address: true, .. }
        | Exposure::Route { state: RouteState::Ready, .. } => return None,
        Exposure::Absent => (Reason::Pending, format!("the Ingress or HTTPRoute {name} is being created")),
        Exposure::Ingress { class: Some(class), has_address: false } => (
            Reason::AddressPending,
            format!("Ingress {name} has no address: check that a controller serves IngressClass {class}"),
        ),
        Exposure::Ingress { class: None, has_address: false } => (
            Reason::AddressPending,
            format!("Ingress {name} has no address, and no IngressClass is the default: set exposure.className"),
        ),
        Exposure::GatewayApiMissing => (Reason::GatewayApiMissing, GATEWAY_API_MISSING.to_owned()),
        Exposure::Route { gateway, state: RouteState::Pending } => (
            Reason::RoutePending,
            format!(
                "HTTPRoute {name} has no status from {gateway}: check that the Gateway exists and a controller serves its class"
            ),
        ),
        Exposure::Route { gateway, state: RouteState::NotAccepted { problem } } => {
            (Reason::RouteNotAccepted, format!("{gateway} does not accept HTTPRoute {name}: {problem}"))
        }
        Exposure::Route { gateway, state: RouteState::NotResolved { problem } } => {
            (Reason::RouteNotResolved, format!("{gateway} cannot resolve the Service of HTTPRoute {name}: {problem}"))
        }
    };
    Some(Finding::new(false, reason, message))
}

const GATEWAY_API_MISSING: &str = "the cluster has no HTTPRoute kind (gateway.networking.k8s.io/v1): install the custom \
    resource definitions of the Gateway API and a controller, or set exposure.type to Ingress";
