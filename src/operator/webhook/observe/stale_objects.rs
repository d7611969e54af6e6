//! Finds objects that an earlier spec of the webhook required and the current spec does not.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
};
use kube::Resource;
use serde_json::json;

use super::{
    exposure::{Found, find_route},
    read::{Kubernetes, live_api},
};
use crate::operator::{
    kubernetes::apply::{live::LiveObject, ownership::foreign},
    webhook::{
        context::Context,
        observed::{Part, StaleObject},
        render::metadata::owner,
        spec::{Exposure, Spec},
        state::WebhookState,
    },
};

/// The objects of the webhook that its spec no longer requires.
///
/// After each change of the spec they are searched for at every reconciliation, until none is left.
pub async fn stale_objects(
    context: &Context,
    spec: &Spec,
    state: &mut WebhookState,
) -> Result<Vec<StaleObject>, kube::Error> {
    if state.is_cleanup_done(spec.generation) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for part in unwanted(spec) {
        found.extend(uid(context, spec, *part).await?.map(|uid| StaleObject { part: *part, uid }));
    }
    if found.is_empty() {
        state.cleanup_done(spec.generation);
    }
    Ok(found)
}

/// The kinds that the spec does not require, in the order of deletion: the exposure first, and the objects that the pod
/// uses after the pod's StatefulSet.
fn unwanted(spec: &Spec) -> &'static [Part] {
    match spec.exposure() {
        Some(Exposure::None | Exposure::Service) => &[Part::Ingress, Part::HttpRoute],
        Some(Exposure::Ingress(_)) => &[Part::HttpRoute],
        Some(Exposure::HttpRoute(_)) => &[Part::Ingress],
        None => &[
            Part::Ingress,
            Part::HttpRoute,
            Part::StatefulSet,
            Part::Service,
            Part::NetworkPolicy,
            Part::ServiceAccount,
            Part::RouteSecret,
        ],
    }
}

/// The UID of the webhook's object of this kind; `None` if it does not exist or is not the operator's.
async fn uid(context: &Context, spec: &Spec, part: Part) -> Result<Option<String>, kube::Error> {
    match part {
        Part::Ingress => owned_uid::<Ingress>(context, spec, &spec.receiver_name()).await,
        Part::HttpRoute => Ok(match find_route(&live_api(context, spec), &spec.receiver_name()).await? {
            Found::Route(object) => ours(spec, &object),
            Found::Absent | Found::NoGatewayApi => None,
        }),
        Part::StatefulSet => owned_uid::<StatefulSet>(context, spec, &spec.receiver_name()).await,
        Part::Service => owned_uid::<Service>(context, spec, &spec.receiver_name()).await,
        Part::NetworkPolicy => owned_uid::<NetworkPolicy>(context, spec, &spec.receiver_name()).await,
        Part::ServiceAccount => owned_uid::<ServiceAccount>(context, spec, &spec.receiver_name()).await,
        Part::RouteSecret => owned_uid::<Secret>(context, spec, &spec.route_secret_name()).await,
    }
}

async fn owned_uid<K: Kubernetes>(context: &Context, spec: &Spec, name: &str) -> Result<Option<String>, kube::Error> {
    Ok(live_api::<K>(context, spec).get_opt(name).await?.and_then(|object| ours(spec, &object)))
}

fn ours<K: Resource>(spec: &Spec, object: &LiveObject<K>) -> Option<String> {
    let owner = json!({"metadata": {"ownerReferences": [owner(spec)]}});
    foreign(&owner, object.raw()).is_none().then(|| object.meta().uid.clone()).flatten()
}
