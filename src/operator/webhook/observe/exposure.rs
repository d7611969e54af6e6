//! What stands between the URL and the receiver's Service, as the cluster has it.

use k8s_openapi::{api::networking::v1::Ingress, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Api, ResourceExt};

use super::read::{api, key, read};
use crate::operator::{
    kubernetes::gateway::{HTTPRoute, ParentStatus},
    watch::observed_versions::{Kind, Object, Version},
    webhook::{
        context::Context,
        observed::{Child, Exposure, RouteState},
        render::exposure::ExposureObject,
        spec::{self, Spec, exposure::Gateway},
    },
};

/// How the exposure stands, and [`Child::Exposure`] if its object is missing or not as it should be.
pub async fn observe(
    context: &Context,
    spec: &Spec,
    desired: Option<&ExposureObject>,
) -> Result<(Exposure, Option<Child>), kube::Error> {
    match (desired, spec.exposure()) {
        (Some(ExposureObject::Ingress(desired)), _) => {
            let Some(live) = read::<Ingress>(context, spec, Kind::Ingress, &desired.name).await? else {
                return Ok((Exposure::Absent, Some(Child::Exposure)));
            };
            Ok((ingress(&live), (!desired.is_met_by(&live)).then_some(Child::Exposure)))
        }
        (Some(ExposureObject::HttpRoute(desired)), Some(spec::Exposure::HttpRoute(wanted))) => {
            let (webhook, object) = (key(spec), Object::new(Kind::HttpRoute, &spec.name.namespace, &desired.name));
            context.versions.begin_read(&webhook, object);
            let live = match find_route(&api(context, spec), &desired.name).await? {
                Found::Route(live) => *live,
                Found::Absent => return Ok((Exposure::Absent, Some(Child::Exposure))),
                Found::NoGatewayApi => return Ok((Exposure::GatewayApiMissing, None)),
            };
            context.versions.record_read(&webhook, object, Version::of(&live), 0);
            let gateway = wanted.gateway.clone();
            let state = Exposure::Route { state: route(&live, &gateway), gateway };
            Ok((state, (!desired.is_met_by(&live)).then_some(Child::Exposure)))
        }
        (Some(ExposureObject::HttpRoute(_)) | None, _) => Ok((Exposure::NotOurs, None)),
    }
}

/// The route of this name. An object that is not there is answered in the API's own words; a kind that is not there by
/// a bare 404, which says nothing of any object.
pub(super) async fn find_route(routes: &Api<HTTPRoute>, name: &str) -> Result<Found, kube::Error> {
    match routes.get_opt(name).await {
        Ok(Some(route)) => Ok(Found::Route(Box::new(route))),
        Ok(None) => Ok(Found::Absent),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Found::NoGatewayApi),
        Err(error) => Err(error),
    }
}

pub(super) enum Found {
    Route(Box<HTTPRoute>),
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

/// What controllers say of the route at its Gateway; what they said of an earlier generation of it does not count.
fn route(live: &HTTPRoute, gateway: &Gateway) -> RouteState {
    let parents = live.status.as_ref().map(|status| status.parents.as_slice()).unwrap_or_default();
    let states = parents.iter().filter(|parent| is_of(parent, live, gateway)).map(|parent| state(parent, live));
    // More than one controller may speak of it: one that has it in place is enough.
    states.max_by_key(|state| matches!(state, RouteState::InPlace)).unwrap_or(RouteState::Unseen)
}

fn is_of(parent: &ParentStatus, live: &HTTPRoute, gateway: &Gateway) -> bool {
    let reference = &parent.parent_ref;
    let namespace = reference.namespace.clone().or_else(|| live.namespace());
    reference.name == gateway.name
        && namespace.as_ref() == Some(&gateway.namespace)
        && reference.section_name == gateway.section_name
}

fn state(parent: &ParentStatus, live: &HTTPRoute) -> RouteState {
    let current = |of: &str| {
        let is_current = |condition: &&Condition| {
            condition.observed_generation.is_none_or(|seen| Some(seen) >= live.metadata.generation)
        };
        parent.conditions.iter().filter(is_current).find(|condition| condition.type_ == of)
    };
    let told = |condition: &Condition| format!("{}: {}", condition.reason, condition.message);
    match (current("Accepted"), current("ResolvedRefs")) {
        (None, _) => RouteState::Unseen,
        (Some(accepted), _) if accepted.status != "True" => RouteState::NotAccepted { problem: told(accepted) },
        (Some(_), None) => RouteState::Unseen,
        (Some(_), Some(resolved)) if resolved.status != "True" => RouteState::NotResolved { problem: told(resolved) },
        (Some(_), Some(_)) => RouteState::InPlace,
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
        let condition = |of: &str, status: &str| {
            json!({
                "type": of, "status": status, "reason": "Why", "message": format!("{of} is {status}"),
                "observedGeneration": generation, "lastTransitionTime": "2026-11-24T00:00:00Z",
            })
        };
        json!({
            "controllerName": "example.com/gateway", "parentRef": reference,
            "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", resolved)],
        })
    }

    #[test]
    fn a_route_is_in_place_once_its_own_gateway_says_so_of_this_generation() {
        let ours = json!({"name": "public", "namespace": "infra"});
        let other = json!({"name": "private", "namespace": "infra"});
        let section = json!({"name": "public", "namespace": "infra", "sectionName": "http"});
        let not_accepted = || RouteState::NotAccepted { problem: "Why: Accepted is False".into() };
        let not_resolved = || RouteState::NotResolved { problem: "Why: ResolvedRefs is False".into() };
        let cases = [
            ("nobody has spoken", json!([]), RouteState::Unseen),
            ("it is in place", json!([parent(&ours, "True", "True", 2)]), RouteState::InPlace),
            ("an earlier one was", json!([parent(&ours, "True", "True", 1)]), RouteState::Unseen),
            ("at another gateway", json!([parent(&other, "True", "True", 2)]), RouteState::Unseen),
            ("at one listener only", json!([parent(&section, "True", "True", 2)]), RouteState::Unseen),
            ("it is not accepted", json!([parent(&ours, "False", "False", 2)]), not_accepted()),
            ("its Service is not found", json!([parent(&ours, "True", "False", 2)]), not_resolved()),
            (
                "two controllers speak, and one has it",
                json!([parent(&ours, "False", "True", 2), parent(&ours, "True", "True", 2)]),
                RouteState::InPlace,
            ),
        ];
        for (sentence, parents, expected) in cases {
            assert_eq!(route(&live(&parents), &gateway()), expected, "{sentence}");
        }
    }

    #[test]
    fn an_ingress_has_an_address_or_not() {
        let seen = |status: Value| {
            let live = json!({"metadata": {}, "spec": {"ingressClassName": "nginx"}, "status": status});
            ingress(&serde_json::from_value(live).unwrap())
        };
        let expected = |has_address| Exposure::Ingress { class: Some("nginx".into()), has_address };
        assert_eq!(seen(json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}})), expected(true));
        for none in [json!({}), json!({"loadBalancer": {}}), json!({"loadBalancer": {"ingress": []}})] {
            assert_eq!(seen(none), expected(false));
        }
    }
}
