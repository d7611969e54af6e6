//! Finds out where the objects are that sinks refer to: anything with `status.address.url`, as Knative has it. Reads
//! only. What is found is checked by the receiver at each connection, as any other URL.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use kube::{
    Api, Client, Error,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    discovery::{self, Scope},
};
use url::Url;

use crate::{
    api::sink::AddressableReference,
    operator::webhook::spec::{
        Spec,
        sink::{Address, web_address},
    },
};

/// For each object that a spec refers to its URL, or why there is none.
pub type Addresses = BTreeMap<AddressableReference, Result<Url, String>>;

/// Asks for addresses, and remembers which kinds the cluster has.
#[derive(Clone, Default)]
pub struct Resolver {
    kinds: Arc<Mutex<HashMap<GroupVersionKind, ApiResource>>>,
}

impl Resolver {
    /// The addresses of all that `spec` refers to.
    ///
    /// # Errors
    /// When Kubernetes does not answer. That something is not there, or may not be read, is an answer.
    pub async fn resolve(&self, client: &Client, spec: &Spec) -> Result<Addresses, Error> {
        let mut addresses = Addresses::new();
        for sink in &spec.sinks {
            let Address::Addressable(reference) = &sink.address else { continue };
            if !addresses.contains_key(reference) {
                let address = self.address(client, &spec.name.namespace, reference).await?;
                addresses.insert(reference.clone(), address);
            }
        }
        Ok(addresses)
    }

    async fn address(
        &self,
        client: &Client,
        namespace: &str,
        reference: &AddressableReference,
    ) -> Result<Result<Url, String>, Error> {
        let AddressableReference { api_version, kind, name } = reference;
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let resource = match self.resource(client, GroupVersionKind::gvk(group, version, kind)).await? {
            Ok(resource) => resource,
            Err(problem) => return Ok(Err(problem)),
        };
        match Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource).get_opt(name).await {
            Ok(Some(object)) => Ok(url(&object.data).map_err(|problem| format!("{kind} {name} {problem}"))),
            Ok(None) => Ok(Err(format!("there is no {kind} {name} in this namespace"))),
            Err(Error::Api(status)) if status.is_forbidden() => {
                let plural = &resource.plural;
                Ok(Err(format!("the operator may not read {plural}.{group}: add it to the chart's addressables")))
            }
            Err(error) => Err(error),
        }
    }

    /// How the API server calls a kind.
    async fn resource(&self, client: &Client, kind: GroupVersionKind) -> Result<Result<ApiResource, String>, Error> {
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned();
        if let Some(known) = known {
            return Ok(Ok(known));
        }
        match discovery::pinned_kind(client, &kind).await {
            Ok((resource, capabilities)) if capabilities.scope == Scope::Namespaced => {
                self.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, resource.clone());
                Ok(Ok(resource))
            }
            Ok(_) => Ok(Err(format!("{} is not in a namespace: only an object of this one can be a sink", kind.kind))),
            Err(Error::Discovery(_)) => Ok(Err(missing(&kind))),
            Err(Error::Api(status)) if status.is_not_found() => Ok(Err(missing(&kind))),
            Err(error) => Err(error),
        }
    }
}

fn missing(kind: &GroupVersionKind) -> String {
    format!("the cluster has no {} in {}", kind.kind, kind.api_version())
}

/// The address that an object says it has.
fn url(object: &serde_json::Value) -> Result<Url, &'static str> {
    let address = object.pointer("/status/address/url").and_then(serde_json::Value::as_str);
    let address = address.filter(|address| !address.is_empty()).ok_or("has no status.address.url yet")?;
    web_address(address).ok_or("has a status.address.url that is no http:// or https:// URL")
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, http::StatusCode, routing::get};
    use serde_json::json;

    use super::*;
    use crate::operator::kubernetes::apply::tests::served;

    #[test]
    fn an_address_is_a_web_address_or_there_is_none_yet() {
        let of = |address| url(&json!({"status": {"address": address}}));
        let broker = "http://broker-ingress.knative-eventing.svc.cluster.local/marketing/default";
        assert_eq!(of(json!({"url": broker})).unwrap().as_str(), broker);
        for none in [json!({}), json!({"url": ""}), json!({"url": 7}), json!(null)] {
            assert_eq!(of(none), Err("has no status.address.url yet"));
        }
        for bad in ["ftp://a/", "broker", "http://"] {
            assert_eq!(of(json!({"url": bad})), Err("has a status.address.url that is no http:// or https:// URL"));
        }
        assert_eq!(url(&json!({})), Err("has no status.address.url yet"));
    }

    /// An API server that knows Brokers, and one of each sort of trouble.
    async fn api_server() -> Client {
        let refusal = |code: u16, reason: &str| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": ""});
            (StatusCode::from_u16(code).unwrap(), Json(status))
        };
        let broker = |name: &str, status: serde_json::Value| {
            Json(
                json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": name}, "status": status}),
            )
        };
        let kind = |name: &str, kind: &str, namespaced: bool| json!({"name": name, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": ["get", "list"]});
        let kinds = json!({
            "kind": "APIResourceList", "groupVersion": "eventing.knative.dev/v1",
            "resources": [kind("brokers", "Broker", true), kind("worlds", "World", false)],
        });
        let group = "/apis/eventing.knative.dev/v1";
        let of = |name: &str| format!("{group}/namespaces/marketing/brokers/{name}");
        let found = broker("found", json!({"address": {"url": "http://broker.knative.svc/a"}}));
        let young = broker("young", json!({}));
        let router = Router::new()
            .route(group, get(move || async move { Json(kinds) }))
            .route(&of("found"), get(move || async move { found }))
            .route(&of("young"), get(move || async move { young }))
            .route(&of("hidden"), get(move || async move { refusal(403, "Forbidden") }))
            .route(&of("sick"), get(move || async move { refusal(500, "InternalError") }))
            .fallback(move || async move { refusal(404, "NotFound") });
        served(router).await
    }

    #[tokio::test]
    async fn what_is_there_has_an_address_and_all_else_a_reason() {
        let (client, resolver) = (api_server().await, Resolver::default());
        let resolve = async |api_version: &str, kind: &str, name: &str| {
            let reference =
                AddressableReference { api_version: api_version.into(), kind: kind.into(), name: name.into() };
            resolver.address(&client, "marketing", &reference).await.map_err(|_| ())
        };
        let knative = "eventing.knative.dev/v1";
        for _ in 0..2 {
            let found = resolve(knative, "Broker", "found").await.unwrap().unwrap();
            assert_eq!(found.as_str(), "http://broker.knative.svc/a", "asked for the first time or again");
        }
        for (api_version, kind, name, expected) in [
            (knative, "Broker", "young", "Broker young has no status.address.url yet"),
            (knative, "Broker", "gone", "there is no Broker gone in this namespace"),
            (knative, "Broker", "hidden", "the operator may not read brokers.eventing.knative.dev"),
            (knative, "World", "w", "World is not in a namespace"),
            (knative, "Channel", "c", "the cluster has no Channel in eventing.knative.dev/v1"),
            ("other.example/v1", "Broker", "b", "the cluster has no Broker in other.example/v1"),
        ] {
            let problem = resolve(api_version, kind, name).await.unwrap().unwrap_err();
            assert!(problem.starts_with(expected), "{problem}");
        }
        assert!(resolve(knative, "Broker", "sick").await.is_err(), "nothing is known, so nothing changes");
    }
}
