//! Whether the registered URL leads to our receiver, by what an unsigned request to it got. That is the proof: an Ingress
//! without an address, or a route no gateway speaks of, is only what explains a failure. Until there is proof, the
//! explanation is what the condition says.

use jiff::{SignedDuration, Timestamp};
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

/// A certificate that ends sooner is told of. What renews certificates does so a month ahead.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

pub(super) fn decide(spec: &Spec, observed: &Observed, now: Timestamp) -> Finding {
    let probed = by_probe(&observed.probe, &spec.url, now);
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

fn by_probe(probe: &ProbeResult, url: &Url, now: Timestamp) -> Finding {
    let fails = |reason, message: String| Finding::new(false, reason, message);
    match probe {
        ProbeResult::NotProbed => Finding::new(Status::Unknown, Reason::NotProbed, format!("{url} was not tried yet")),
        ProbeResult::Succeeded { certificate_expires: Some(end) } if end.duration_since(now) < EXPIRES_SOON => {
            let message = format!("{url} leads to the receiver, until the host's certificate ends at {end}: renew it");
            Finding::new(true, Reason::CertificateExpiring, message)
        }
        ProbeResult::Succeeded { .. } => {
            Finding::new(true, Reason::ProbeSucceeded, format!("{url} leads to the receiver"))
        }
        ProbeResult::DnsFailed { problem } => {
            fails(Reason::DNSFailed, format!("the host of {url} does not resolve: {problem}; create its DNS record"))
        }
        ProbeResult::ConnectionFailed { problem } => fails(
            Reason::ConnectionFailed,
            format!("no answer from {url}: {problem}; route it to the receiver's Service"),
        ),
        ProbeResult::CertificateExpired { at } => {
            let since = at.map(|at| format!(" at {at}")).unwrap_or_default();
            let message = format!("the certificate that the host of {url} shows has expired{since}: renew it");
            fails(Reason::CertificateExpired, message)
        }
        ProbeResult::CertificateNameMismatch => fails(
            Reason::CertificateNameMismatch,
            format!("the certificate that the host of {url} shows is for another name: have one made for this host"),
        ),
        ProbeResult::CertificateUntrusted => fails(
            Reason::CertificateUntrusted,
            format!(
                "the certificate that the host of {url} shows is of an authority that is not known here: Linktree needs one of a public authority, with the whole chain"
            ),
        ),
        ProbeResult::TlsFailed { problem } => fails(
            Reason::TLSFailed,
            format!("no TLS connection to {url}: {problem}; Linktree will not deliver to it either"),
        ),
        ProbeResult::Unexpected { problem } => fails(
            Reason::UnexpectedResponse,
            format!("something else than the receiver answers at {url}: {problem}; route it to the receiver's Service"),
        ),
    }
}
