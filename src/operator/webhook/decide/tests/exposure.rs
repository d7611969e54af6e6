//! What exposes the receiver, and what exposed it before.

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
fn what_exposed_it_before_goes_once_its_successor_is_in_place() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let before = || StaleObject { part: Part::Ingress, uid: "u-9".into() };
    for (sentence, exposure, goes) in [
        ("nothing follows", Exposure::NotOurs, true),
        ("the route is not made yet", Exposure::Absent, false),
        ("the route is not seen yet", route(RouteState::Unseen), false),
        ("the cluster knows no routes", Exposure::GatewayApiMissing, false),
        ("the route is in place", route(RouteState::InPlace), true),
    ] {
        let mut observed = settled();
        (observed.exposure, observed.stale_objects) = (exposure, vec![before()]);
        let steps = decide(&spec, &observed, at(NOW)).steps;
        let expected: &[Step] = if goes { &[Step::Remove(before())] } else { &[] };
        assert_eq!(steps, expected, "{sentence}");
    }
}

#[test]
fn a_refused_object_is_the_reason_unless_the_url_leads_here_all_the_same() {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let refused = || Failure::Exposure { problem: "host is taken".into() };
    let mut observed = settled();
    observed.exposure = Exposure::Absent;
    for (probe, expected) in [
        (ProbeResult::DnsFailed { problem: "no such host".into() }, ("False", "ExposureRefused")),
        (settled().probe, ("True", "ProbeSucceeded")),
    ] {
        observed.probe = probe;
        let conditions = status_after(&spec, &observed, Some(refused()), at(NOW)).conditions;
        assert_eq!(find(&conditions, ConditionType::EndpointReachable), Some(expected));
        let endpoint = conditions::find(&conditions, ConditionType::EndpointReachable).unwrap();
        assert!(endpoint.message.contains("host is taken"), "{}", endpoint.message);
    }
}
