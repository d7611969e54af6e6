//! Whether the registered URL leads to our receiver, by what an unsigned request to it got. That is the proof: an Ingress
//! without an address, or a route no gateway speaks of, is only what explains a failure. Until there is proof, the
//! explanation is what the condition says. Of a receiver of the user's own less is known: that it answers, and how.

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
            Finding { message: format!("{}; yet {}", probed.message, pending.message), ..probed }
        }
        Some(pending) => pending,
    }
}

/// What exposed the receiver before goes once what is to expose it now is in place; all of a receiver goes once Linktree
/// sends to the one that follows it, or to none.
pub(super) fn remove(spec: &Spec, observed: &Observed, subscription: &Subscription) -> impl Iterator<Item = Step> {
    let in_place = match &spec.endpoint {
        Endpoint::Managed(_) => pending(&spec.receiver_name(), &observed.exposure).is_none(),
        Endpoint::External => matches!(observed.connection, Connection::Listed { .. }) && !subscription.moves(),
    };
    observed.stale_objects.iter().filter(move |_| in_place).cloned().map(Step::Remove)
}

/// What the exposure still waits for.
fn pending(name: &str, exposure: &Exposure) -> Option<Finding> {
    let (reason, message) = match exposure {
        Exposure::NotOurs
        | Exposure::Ingress { has_address: true, .. }
        | Exposure::Route { state: RouteState::InPlace, .. } => return None,
        Exposure::Absent => (Reason::Pending, format!("what exposes the receiver, {name}, is being made")),
        Exposure::Ingress { class: Some(class), has_address: false } => (
            Reason::AddressPending,
            format!("Ingress {name} has no address: is there an ingress controller for IngressClass {class}?"),
        ),
        Exposure::Ingress { class: None, has_address: false } => (
            Reason::AddressPending,
            format!("Ingress {name} has no address and no IngressClass is the default: write exposure.className"),
        ),
        Exposure::GatewayApiMissing => (Reason::GatewayApiMissing, GATEWAY_API_MISSING.to_owned()),
        Exposure::Route { gateway, state: RouteState::Unseen } => (
            Reason::RoutePending,
            format!("{gateway} says nothing of HTTPRoute {name}: is it there, and does a controller serve its class?"),
        ),
        Exposure::Route { gateway, state: RouteState::NotAccepted { problem } } => {
            (Reason::RouteNotAccepted, format!("{gateway} does not accept HTTPRoute {name}: {problem}"))
        }
        Exposure::Route { gateway, state: RouteState::NotResolved { problem } } => {
            (Reason::RouteNotResolved, format!("{gateway} cannot follow HTTPRoute {name} to its Service: {problem}"))
        }
    };
    Some(Finding::new(false, reason, message))
}

const GATEWAY_API_MISSING: &str = "this cluster knows no HTTPRoute (gateway.networking.k8s.io/v1): install the custom \
    resource definitions of the Gateway API and a controller for it, or write exposure.type Ingress";
