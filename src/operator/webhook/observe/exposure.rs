//! The state of the Ingress or HTTPRoute between the URL and the receiver's Service.

use k8s_openapi::{api::networking::v1::Ingress, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Api, ResourceExt};

use super::{
    children::Family,
    read::{key, live_api, read_live},
};
use crate::operator::{
    kubernetes::{
        apply::{live::LiveObject, standing::Standing},
        gateway::{HTTPRoute, ParentStatus},
    },
    watch::observed_versions::{Kind, Object, Version},
    webhook::{
        observed::{Child, Exposure, RouteState},
        render::exposure::ExposureObject,
        spec::{self, exposure::Gateway},
    },
};

/// The state of the Ingress or HTTPRoute, and the relation of the object to its desired state; `None` if the spec
/// requests neither.
pub async fn observe(
    family: Family<'_>,
    desired: Option<&ExposureObject>,
) -> Result<(Exposure, Option<Standing>), kube::Error> {
    let Family { context, spec, .. } = family;
    match (desired, spec.exposure()) {
        (Some(ExposureObject::Ingress(desired)), _) => {
            let live = read_live::<Ingress>(context, spec, Kind::Ingress, &desired.name).await?;
            let standing = family.decide(Child::Exposure, desired, live.as_ref());
            let parsed = live.as_ref().filter(|_| standing.is_ours()).and_then(|live| live.parse().ok());
            Ok((parsed.as_ref().map_or(Exposure::Absent, ingress), Some(standing)))
        }
        (Some(ExposureObject::HttpRoute(desired)), Some(spec::Exposure::HttpRoute(wanted))) => {
            let (webhook, object) = (key(spec), Object::new(Kind::HttpRoute, &spec.name.namespace, &desired.name));
            context.versions.begin_read(&webhook, object);
            let live = match find_route(&live_api(context, spec), &desired.name).await? {
                Found::Route(live) => Some(*live),
                Found::Absent => None,
                Found::NoGatewayApi => return Ok((Exposure::GatewayApiMissing, None)),
            };
            if live.is_some() {
                context.versions.record_read(&webhook, object, Version::of_found(live.as_ref()), 0);
            }
            let standing = family.decide(Child::Exposure, desired, live.as_ref());
            let parsed = live.as_ref().filter(|_| standing.is_ours()).and_then(|live| live.parse().ok());
            let gateway = wanted.gateway.clone();
            let state = |live: &HTTPRoute| Exposure::Route { state: route(live, &gateway), gateway };
            Ok((parsed.as_ref().map_or(Exposure::Absent, state), Some(standing)))
        }
        (Some(ExposureObject::HttpRoute(_)) | None, _) => Ok((Exposure::NotOurs, None)),
    }
}

/// Reads the HTTPRoute with this name.
///
/// The API server answers 404 with a `Status` for a missing object, and with plain text for a missing kind.
pub(super) async fn find_route(routes: &Api<LiveObject<HTTPRoute>>, name: &str) -> Result<Found, kube::Error> {
    match routes.get_opt(name).await {
        Ok(Some(route)) => Ok(Found::Route(Box::new(route))),
        Ok(None) => Ok(Found::Absent),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Found::NoGatewayApi),
        Err(error) => Err(error),
    }
}

/// The result of [`find_route`]. `NoGatewayApi`: the cluster lacks the kind.
pub(super) enum Found {
    Route(Box<LiveObject<HTTPRoute>>),
    Absent,
    NoGatewayApi,
}

fn ingress(live: &Ingress) -> Exposure {
    let addresses = live.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    Exposure::Ingress {
        class: live.spec.as_ref().and_then(|spec| spec.ingress_class_name.clone()),
        has_address: addresses.is_some_and(|addresses| !addresses.is_empty()),
    }
}

/// The state of an HTTPRoute at its Gateway.
///
/// Conditions of an earlier generation of the route are ignored.
fn route(live: &HTTPRoute, gateway: &Gateway) -> RouteState {
    let parents = live.status.as_ref().map(|status| status.parents.as_slice()).unwrap_or_default();
    let states = parents.iter().filter(|parent| is_of(parent, live, gateway)).map(|parent| state(parent, live));
    // Several controllers may report a status for this Gateway; one that reports ready is enough.
    states.max_by_key(|state| matches!(state, RouteState::Ready)).unwrap_or(RouteState::Pending)
}

fn is_of(parent: &ParentStatus, live: &HTTPRoute, gateway: &Gateway) -> bool {
    let reference = &parent.parent_ref;
    let namespace = reference.namespace.clone().or_else(|| live.namespace());
    reference.name == gateway.name
        && namespace.as_ref() == Some(&gateway.namespace)
        && reference.section_name == gateway.section_name
}

fn state(parent: &ParentStatus, live: &HTTPRoute) -> RouteState {
    let current = |condition_type: &str| {
        let is_current = |condition: &&Condition| {
            condition.observed_generation.is_none_or(|seen| Some(seen) >= live.metadata.generation)
        };
        parent.conditions.iter().filter(is_current).find(|condition| condition.type_ == condition_type)
    };
    let problem = |condition: &Condition| format!("{}: {}", condition.reason, condition.message);
    match (current("Accepted"), current("ResolvedRefs")) {
        (None, _) => RouteState::Pending,
        (Some(accepted), _) if accepted.status != "True" => RouteState::NotAccepted { problem: problem(accepted) },
        (Some(_), None) => RouteState::Pending,
        (Some(_), Some(resolved)) if resolved.status != "True" => {
            RouteState::NotResolved { problem: problem(resolved) }
        }
        (Some(_), Some(_)) => RouteState::Ready,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn gateway() -> Gateway {
        Gateway { name: "public".into(), namespace: "infra".into(), section_name: None }
    }

    fn live(parents: &Value) -> HTTPRoute {
        let object = json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "links-receiver", "namespace": "marketing", "generation": 2},
            "spec": {},
            "status": {"parents": parents},
        });
        serde_json::from_value(object).unwrap()
    }

    fn parent(reference: &Value, accepted: &str, resolved: &str, generation: i64) -> Value {
        let condition = |condition_type: &str, status: &str| {
            json!({
                "type": condition_type, "status": status, "reason": "Why", "message": format!("{condition_type} is {status}"),
                "observedGeneration": generation, "lastTransitionTime": "2026-11-24T00:00:00Z",
            })
        };
        json!({
            "controllerName": "example.com/gateway", "parentRef": reference,
            "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", resolved)],
        })
    }

    #[test]
    fn a_route_is_ready_once_its_gateway_reports_the_current_generation() {
        let ours = json!({"name": "public", "namespace": "infra"});
        let other = json!({"name": "private", "namespace": "infra"});
        let section = json!({"name": "public", "namespace": "infra", "sectionName": "http"});
        let not_accepted = || RouteState::NotAccepted { problem: "Why: Accepted is False".into() };
        let not_resolved = || RouteState::NotResolved { problem: "Why: ResolvedRefs is False".into() };
        let cases = [
            ("no status", json!([]), RouteState::Pending),
            ("accepted and resolved", json!([parent(&ours, "True", "True", 2)]), RouteState::Ready),
            ("an earlier generation", json!([parent(&ours, "True", "True", 1)]), RouteState::Pending),
            ("another Gateway", json!([parent(&other, "True", "True", 2)]), RouteState::Pending),
            ("one listener only", json!([parent(&section, "True", "True", 2)]), RouteState::Pending),
            ("not accepted", json!([parent(&ours, "False", "False", 2)]), not_accepted()),
            ("its Service is not resolved", json!([parent(&ours, "True", "False", 2)]), not_resolved()),
            (
                "two controllers, one of which accepts it",
                json!([parent(&ours, "False", "True", 2), parent(&ours, "True", "True", 2)]),
                RouteState::Ready,
            ),
        ];
        for (sentence, parents, expected) in cases {
            assert_eq!(route(&live(&parents), &gateway()), expected, "{sentence}");
        }
    }

    #[test]
    fn an_ingress_has_an_address_once_a_controller_publishes_one() {
        let observed = |status: Value| {
            let live = json!({"metadata": {}, "spec": {"ingressClassName": "nginx"}, "status": status});
            ingress(&serde_json::from_value(live).unwrap())
        };
        let expected = |has_address| Exposure::Ingress { class: Some("nginx".into()), has_address };
        assert_eq!(observed(json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}})), expected(true));
        for none in [json!({}), json!({"loadBalancer": {}}), json!({"loadBalancer": {"ingress": []}})] {
            assert_eq!(observed(none), expected(false));
        }
    }
}
