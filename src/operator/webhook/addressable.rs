//! Resolves the addresses of objects that sinks refer to: any object with `status.address.url`, as Knative's
//! Addressable duck type defines it. Read-only. The receiver checks such a URL at each connection, as any other URL.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use kube::{
    Client, Error,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    discovery::{self, Scope},
};
use url::Url;

use crate::{
    api::sink::AddressableReference,
    operator::kubernetes::guarded::GuardedApi,
    operator::webhook::spec::{
        Spec,
        sink::{Address, web_address},
    },
    route::Route,
};

/// Timeout of resolving one address. An aggregated API server may hang while the cluster's own answers.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Per object that a spec's sinks refer to, its URL or the reason why it has none.
pub type Addresses = BTreeMap<AddressableReference, Result<Url, String>>;

/// Resolves addresses, and caches the cluster's kinds that API discovery has found.
#[derive(Clone, Default)]
pub struct Resolver {
    kinds: Arc<Mutex<HashMap<GroupVersionKind, ApiResource>>>,
}

impl Resolver {
    /// Resolves the addresses of all objects that the sinks of `spec` refer to.
    ///
    /// An object that cannot be read now keeps the address in `current`, the route that the receiver has of this spec:
    /// a failure of one API must not stop the reconciliation of the webhook. Without one, the result has a reason.
    pub async fn resolve(&self, client: &Client, spec: &Spec, current: impl Fn() -> Option<Route>) -> Addresses {
        let mut references = BTreeMap::new();
        for sink in &spec.sinks {
            if let Address::Addressable(reference) = &sink.address {
                references.entry(reference).or_insert(sink.name.as_str());
            }
        }
        let resolve = async |(reference, sink): (&AddressableReference, &str)| {
            let address = self.address(client, &spec.name.namespace, reference);
            let problem = match tokio::time::timeout(TIMEOUT, address).await {
                Ok(Ok(address)) => return (reference.clone(), address),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
            };
            let (kind, name) = (&reference.kind, &reference.name);
            tracing::warn!(sink, kind, name, problem, "address not read");
            let known = current().and_then(|route| route.sinks.into_iter().find(|known| known.name == sink)?.url);
            let unknown = || format!("the API server does not return {kind} {name}, the operator tries again");
            (reference.clone(), known.map(|url| url.expose().clone()).ok_or_else(unknown))
        };
        join_all(references.into_iter().map(resolve)).await.into_iter().collect()
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
        match GuardedApi::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource).get_opt(name).await {
            Ok(Some(object)) => Ok(url(&object.data).map_err(|problem| format!("{kind} {name} {problem}"))),
            Ok(None) => Ok(Err(format!("there is no {kind} {name} in this namespace"))),
            Err(Error::Api(status)) if status.is_forbidden() => {
                let plural = &resource.plural;
                Ok(Err(format!(
                    "the operator is not allowed to read {plural}.{group}: add it to the chart's addressables"
                )))
            }
            Err(error) => Err(error),
        }
    }

    /// The API resource of a kind, from API discovery or the cache; or the reason why it cannot be used.
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
            Ok(_) => Ok(Err(format!("{} is cluster-scoped: refer to an object in this namespace", kind.kind))),
            Err(Error::Discovery(_)) => Ok(Err(missing(&kind))),
            Err(Error::Api(status)) if status.is_not_found() => Ok(Err(missing(&kind))),
            Err(error) => Err(error),
        }
    }
}

fn missing(kind: &GroupVersionKind) -> String {
    format!("the cluster has no kind {} in {}", kind.kind, kind.api_version())
}

/// The URL in `status.address` of an object, or the problem with it.
fn url(object: &serde_json::Value) -> Result<Url, &'static str> {
    let address = object.pointer("/status/address/url").and_then(serde_json::Value::as_str);
    let address = address.filter(|address| !address.is_empty()).ok_or("has no status.address.url yet")?;
    web_address(address).ok_or("has a status.address.url that is not an http:// or https:// URL")
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, http::StatusCode, routing::get};
    use serde_json::json;

    use super::*;
    use crate::{
        linktree::secret::Secret,
        operator::{
            kubernetes::apply::status_write::tests::served,
            webhook::{observed::Secrets, render::route::route, spec::tests::webhook},
        },
    };

    #[test]
    fn an_address_must_be_an_http_url() {
        let parse = |address| url(&json!({"status": {"address": address}}));
        let broker = "http://broker-ingress.knative-eventing.svc.cluster.local/marketing/default";
        assert_eq!(parse(json!({"url": broker})).unwrap().as_str(), broker);
        for none in [json!({}), json!({"url": ""}), json!({"url": 7}), json!(null)] {
            assert_eq!(parse(none), Err("has no status.address.url yet"));
        }
        for bad in ["ftp://a/", "broker", "http://"] {
            let problem = "has a status.address.url that is not an http:// or https:// URL";
            assert_eq!(parse(json!({"url": bad})), Err(problem));
        }
        assert_eq!(url(&json!({})), Err("has no status.address.url yet"));
    }

    /// An API server that serves Brokers, one for each kind of error.
    async fn api_server() -> Client {
        let failure = |code: u16, reason: &str| {
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
        let path = |name: &str| format!("{group}/namespaces/marketing/brokers/{name}");
        let found = broker("found", json!({"address": {"url": "http://broker.knative.svc/a"}}));
        let pending = broker("pending", json!({}));
        let router = Router::new()
            .route(group, get(move || async move { Json(kinds) }))
            .route(&path("found"), get(move || async move { found }))
            .route(&path("pending"), get(move || async move { pending }))
            .route(&path("forbidden"), get(move || async move { failure(403, "Forbidden") }))
            .route(&path("failing"), get(move || async move { failure(500, "InternalError") }))
            .fallback(move || async move { failure(404, "NotFound") });
        served(router).await
    }

    #[tokio::test]
    async fn an_object_has_an_address_or_a_reason_why_not() {
        let (client, resolver) = (api_server().await, Resolver::default());
        let resolve = async |api_version: &str, kind: &str, name: &str| {
            let reference =
                AddressableReference { api_version: api_version.into(), kind: kind.into(), name: name.into() };
            resolver.address(&client, "marketing", &reference).await.map_err(|_| ())
        };
        let knative = "eventing.knative.dev/v1";
        for _ in 0..2 {
            let found = resolve(knative, "Broker", "found").await.unwrap().unwrap();
            assert_eq!(found.as_str(), "http://broker.knative.svc/a", "discovered or cached");
        }
        for (api_version, kind, name, expected) in [
            (knative, "Broker", "pending", "Broker pending has no status.address.url yet"),
            (knative, "Broker", "absent", "there is no Broker absent in this namespace"),
            (knative, "Broker", "forbidden", "the operator is not allowed to read brokers.eventing.knative.dev"),
            (knative, "World", "w", "World is cluster-scoped"),
            (knative, "Channel", "c", "the cluster has no kind Channel in eventing.knative.dev/v1"),
            ("other.example/v1", "Broker", "b", "the cluster has no kind Broker in other.example/v1"),
        ] {
            let problem = resolve(api_version, kind, name).await.unwrap().unwrap_err();
            assert!(problem.starts_with(expected), "{problem}");
        }
        assert!(resolve(knative, "Broker", "failing").await.is_err());
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_read_keeps_its_address_and_hinders_no_other() {
        let (client, resolver) = (api_server().await, Resolver::default());
        let sink = |name: &str| {
            let reference = json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": name});
            json!({"name": name, "addressable": {"ref": reference}})
        };
        let spec = Spec::parse(&webhook(|object| object["spec"]["sinks"] = json!([sink("failing"), sink("found")])));
        let spec = spec.unwrap();
        let resolve = async |current: Option<&Route>| -> Vec<Result<String, String>> {
            let addresses = resolver.resolve(&client, &spec, || current.cloned()).await;
            addresses.into_values().map(|address| address.map(|url| url.to_string())).collect()
        };
        let found = Ok("http://broker.knative.svc/a".to_owned());
        let unknown = Err("the API server does not return Broker failing, the operator tries again".to_owned());
        assert_eq!(resolve(None).await, [unknown, found.clone()]);

        let addresses = Addresses::from_iter(spec.sinks.iter().filter_map(|sink| match &sink.address {
            Address::Addressable(reference) => Some((reference.clone(), Ok(Url::parse("http://old.svc/").unwrap()))),
            Address::Url(_) | Address::Secret(_) => None,
        }));
        let secrets = Secrets {
            values: BTreeMap::new(),
            kept_for: None,
            previous_not_after: None,
            admin_token: Secret::new("admin"),
            probe_key: Secret::new("probe"),
        };
        let current = route(&spec, &secrets, &addresses, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(resolve(Some(&current)).await, [Ok("http://old.svc/".to_owned()), found]);
    }
}
