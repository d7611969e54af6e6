//! Whether the registered URL leads to our receiver, by what an unsigned request to it got. That is the proof: an Ingress
//! without an address, or a route no gateway speaks of, is only what explains a failure. Until there is proof, the
//! explanation is what the condition says.

use url::Url;

use crate::{
    api::condition::Reason,
    operator::{
        conditions::{Finding, Status},
        webhook::{
            observed::{Exposure, Observed, ProbeResult, RouteState},
            plan::Step,
            spec::Spec,
        },
    },
};

pub(super) fn decide(spec: &Spec, observed: &Observed) -> Finding {
    let probed = by_probe(&observed.probe, &spec.url);
    match pending(&spec.receiver_name(), &observed.exposure) {
        None => probed,
        Some(pending) if probed.holds() => {
            Finding { message: format!("{}; yet {}", probed.message, pending.message), ..probed }
        }
        Some(pending) => pending,
    }
}

/// What exposed the receiver before goes once what is to expose it now is in place.
pub(super) fn remove(spec: &Spec, observed: &Observed) -> impl Iterator<Item = Step> {
    let in_place = pending(&spec.receiver_name(), &observed.exposure).is_none();
    observed.leftovers.iter().filter(move |_| in_place).cloned().map(Step::Remove)
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

fn by_probe(probe: &ProbeResult, url: &Url) -> Finding {
    match probe {
        ProbeResult::NotProbed => Finding::new(Status::Unknown, Reason::NotProbed, format!("{url} was not tried yet")),
        ProbeResult::Succeeded => Finding::new(true, Reason::ProbeSucceeded, format!("{url} leads to the receiver")),
        ProbeResult::DnsFailed { problem } => Finding::new(
            false,
            Reason::DNSFailed,
            format!("the host of {url} does not resolve: {problem}; create its DNS record"),
        ),
        ProbeResult::ConnectionFailed { problem } => Finding::new(
            false,
            Reason::ConnectionFailed,
            format!("no answer from {url}: {problem}; route it to the receiver's Service"),
        ),
        ProbeResult::TlsFailed { problem } => Finding::new(
            false,
            Reason::TLSFailed,
            format!("no trusted TLS connection to {url}: {problem}; Linktree will not deliver to it either"),
        ),
        ProbeResult::Unexpected { problem } => Finding::new(
            false,
            Reason::UnexpectedResponse,
            format!("something else than the receiver answers at {url}: {problem}; route it to the receiver's Service"),
        ),
    }
}
