//! The receiver's exposure, and stale objects of an earlier one.

use super::*;
use crate::operator::webhook::spec::exposure::Gateway;

pub(super) fn ingress(has_address: bool) -> Exposure {
    Exposure::Ingress { class: Some("nginx".into()), has_address }
}

pub(super) fn route(state: RouteState) -> Exposure {
    let gateway = Gateway { name: "public".into(), namespace: "infra".into(), section_name: None };
    Exposure::Route { gateway, state }
}

#[test]
fn a_stale_exposure_is_deleted_once_its_successor_is_ready() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let stale = || StaleObject { part: Part::Ingress, uid: "u-9".into() };
    for (sentence, exposure, is_deleted) in [
        ("no successor", Exposure::NotOurs, true),
        ("the route does not exist yet", Exposure::Absent, false),
        ("the route has no status yet", route(RouteState::Pending), false),
        ("the cluster has no HTTPRoute kind", Exposure::GatewayApiMissing, false),
        ("the route is ready", route(RouteState::Ready), true),
    ] {
        let mut observed = settled();
        (observed.exposure, observed.stale_objects) = (exposure, vec![stale()]);
        let steps = decide(&spec, &observed, at(NOW)).steps;
        let expected: &[Step] = if is_deleted { &[Step::Remove(stale())] } else { &[] };
        assert_eq!(steps, expected, "{sentence}");
    }
}

#[test]
fn a_rejected_object_is_the_reason_unless_the_url_leads_to_the_receiver() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let rejection = || Failure::Exposure { problem: "host is taken".into() };
    let mut observed = settled();
    observed.exposure = Exposure::Absent;
    for (probe, expected) in [
        (ProbeResult::DnsFailed { problem: "no such host".into() }, ("False", "ExposureRefused")),
        (settled().probe, ("True", "ProbeSucceeded")),
    ] {
        observed.probe = probe;
        let conditions = status_after(&spec, &observed, Some(rejection()), at(NOW)).conditions;
        assert_eq!(find(&conditions, ConditionType::EndpointReachable), Some(expected));
        let endpoint = conditions::find(&conditions, ConditionType::EndpointReachable).unwrap();
        assert!(endpoint.message.contains("host is taken"), "{}", endpoint.message);
    }
}
