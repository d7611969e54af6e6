//! Server-side apply of the operator's objects, and the comparison that skips an apply that would be a no-op.

use std::{borrow::Cow, fmt::Debug};

use kube::{
    Resource,
    api::{Patch, PatchParams},
    core::object::HasStatus,
};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    annotations::DIGEST_ANNOTATION,
    digest::digest,
    guarded::{Guarded, GuardedApi, Parsed},
};

/// The field manager of all the operator's writes.
pub const FIELD_MANAGER: &str = "linktree-webhook-operator";

/// Number of attempts to write a status; if all are conflicts, the reconciliation starts over.
const ATTEMPTS: usize = 5;

/// A desired object with its digest annotation. It is compared with the live object, and applied if they differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    pub name: String,
    value: Value,
    digest: u64,
}

impl Desired {
    /// Wraps the desired object, which has no status and no metadata that the server sets.
    ///
    /// # Errors
    /// When the object cannot be serialized to JSON, which the types of the Kubernetes API always can.
    pub fn new<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Result<Self, serde_json::Error> {
        let mut value = serde_json::to_value(object)?;
        let sum = Sha256::digest(serde_json::to_vec(&value)?);
        let (annotation, digest) = (hex::encode(&sum[..16]), digest(&sum.as_slice()));
        value["apiVersion"] = K::api_version(&()).into();
        value["kind"] = K::kind(&()).into();
        value["metadata"]["annotations"][DIGEST_ANNOTATION] = annotation.into();
        Ok(Desired { name: object.meta().name.clone().unwrap_or_default(), value, digest })
    }

    /// A digest of the desired object, comparable only within one process.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The JSON object that is sent to the API server.
    #[cfg(test)]
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Whether `live` has every field of this desired object, so that applying it would be a no-op.
    #[must_use]
    pub fn is_met_by<K: Serialize>(&self, live: &K) -> bool {
        serde_json::to_value(live).is_ok_and(|live| {
            // A typed object is serialized without apiVersion and kind.
            let Value::Object(fields) = &self.value else { return false };
            fields
                .iter()
                .filter(|(name, _)| *name != "apiVersion" && *name != "kind")
                .all(|(name, wanted)| live.get(name).is_some_and(|live| contains(live, wanted)))
        })
    }

    /// Applies the object and takes over fields of other field managers (`force`).
    ///
    /// Server-side apply keeps list items that other field managers added, such as a port or a rule. If the result
    /// still differs, a merge patch, which replaces whole lists, removes them.
    ///
    /// # Errors
    /// The error of the API server.
    pub async fn apply<K>(&self, api: &GuardedApi<K>) -> Result<(), kube::Error>
    where
        K: Resource<DynamicType = ()> + Parsed + Serialize + Clone + Debug,
    {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let rejected = match api.patch(&self.name, &params, &Patch::Apply(&self.value)).await {
            Ok(applied) if self.is_met_by::<K>(&*applied) => return Ok(()),
            Ok(_) => None,
            // The object may be invalid only together with list items that others added: the merge patch removes those.
            Err(kube::Error::Api(status)) if status.code == 422 => Some(kube::Error::Api(status)),
            Err(error) => return Err(error),
        };
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let merged = api.patch(&self.name, &params, &Patch::Merge(&self.value)).await;
        merged.map(drop).map_err(|error| rejected.unwrap_or(error))
    }
}

/// Applies a whole status; fields of the previous one that it lacks are removed. Returns the object after the write.
///
/// # Errors
/// The error of the API server; 404 if the object does not exist.
pub async fn apply_status<K>(api: &GuardedApi<K>, name: &str, status: &impl Serialize) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Parsed + Clone + Debug,
{
    write_status(api, name, &json!({"name": name}), status).await
}

/// As [`apply_status`], but only if the object still has the resourceVersion of `seen`: of two concurrent writes, one
/// succeeds.
///
/// # Errors
/// The error of the API server; 409 if the object has changed since `seen` was read.
pub async fn apply_status_as_seen<K>(api: &GuardedApi<K>, seen: &K, status: &impl Serialize) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Parsed + Clone + Debug,
{
    let name = seen.meta().name.clone().unwrap_or_default();
    write_status(api, &name, &json!({"name": name, "resourceVersion": seen.meta().resource_version}), status).await
}

/// As [`apply_status_as_seen`], but it retries if only other parts of the object have changed: it never replaces a
/// status other than that of `seen`.
///
/// Returns the object after the write; `None` if another client has written the status, or if the object was deleted or
/// recreated.
///
/// # Errors
/// Any other error of the API server; 404 if the object did not exist at the first attempt.
pub async fn replace_status<K>(api: &GuardedApi<K>, seen: &K, status: &K::Status) -> Result<Option<K>, kube::Error>
where
    K: Resource<DynamicType = ()> + HasStatus + Parsed + Clone + Debug,
    K::Status: Serialize + PartialEq,
{
    let mut newest = Cow::Borrowed(seen);
    for _ in 0..ATTEMPTS {
        match apply_status_as_seen(api, &newest, status).await {
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            written => return written.map(Some),
        }
        let found = api.get_opt(seen.meta().name.as_deref().unwrap_or_default()).await?;
        let same = |found: &K| found.meta().uid == seen.meta().uid;
        let Some(found) = found.map(Guarded::into_inner).filter(same) else { return Ok(None) };
        // The first write succeeded, but its response was lost and the HTTP client sent it again.
        if found.status() == Some(status) {
            return Ok(Some(found));
        }
        if found.status() != seen.status() {
            return Ok(None);
        }
        newest = Cow::Owned(found);
    }
    Ok(None)
}

async fn write_status<K>(
    api: &GuardedApi<K>,
    name: &str,
    metadata: &Value,
    status: &impl Serialize,
) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Parsed + Clone + Debug,
{
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": metadata,
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch_status(name, &params, &Patch::Apply(patch)).await.map(Guarded::into_inner)
}

/// Sorts the items of a map-type list into the order in which the API server stores them: items of the live list
/// (`before`) keep their order, whatever order is sent, and new items come last. Any other order would differ at every
/// comparison.
#[must_use]
pub fn in_order_kept<T>(mut list: Vec<T>, before: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    list.sort_by_key(|item| before.iter().position(|known| same(known, item)).unwrap_or(usize::MAX));
    list
}

/// Whether `live` has every field of `wanted`. It may have more fields, since the API server sets defaults; lists must
/// have the same length and match item by item, since a desired list is complete.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            // The API server may omit an empty value.
            live.get(name).map_or_else(|| is_empty(wanted), |live| contains(live, wanted))
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| contains(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
pub(in crate::operator) mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{
        Json, Router,
        body::Bytes,
        http::{Method, StatusCode},
    };
    use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
    use kube::Client;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        admin,
        api::connection::{LinktreeConnection, LinktreeConnectionStatus},
    };

    fn service(port: i32) -> Service {
        let ports = vec![ServicePort { port, name: Some("deliveries".into()), ..ServicePort::default() }];
        let mut service =
            Service { spec: Some(ServiceSpec { ports: Some(ports), ..ServiceSpec::default() }), ..Service::default() };
        service.metadata.name = Some("links-receiver".into());
        service
    }

    /// The object as the API server would return it after `desired` was applied.
    fn live(desired: &Desired) -> Value {
        let mut live = desired.value.clone();
        live["spec"]["clusterIP"] = "10.0.0.1".into();
        live["spec"]["ports"][0]["protocol"] = "TCP".into();
        live["metadata"]["resourceVersion"] = "7".into();
        live
    }

    #[test]
    fn server_side_defaults_are_not_a_difference() {
        let desired = Desired::new(&service(80)).unwrap();
        assert!(desired.is_met_by(&live(&desired)));
    }

    #[test]
    fn a_changed_field_a_manual_edit_and_a_removed_field_are_differences() {
        let desired = Desired::new(&service(80)).unwrap();
        assert!(!Desired::new(&service(81)).unwrap().is_met_by(&live(&desired)));

        let mut edited = live(&desired);
        edited["spec"]["ports"][0]["name"] = "other".into();
        assert!(!desired.is_met_by(&edited));

        let mut fewer = service(80);
        fewer.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].name = None;
        assert!(!Desired::new(&fewer).unwrap().is_met_by(&live(&desired)), "the digest differs");
    }

    #[test]
    fn lists_must_have_the_same_length() {
        assert!(contains(&json!({"a": [1, {"b": 2, "c": 3}]}), &json!({"a": [1, {"b": 2}]})));
        assert!(!contains(&json!({"a": [1, 2]}), &json!({"a": [1]})));
    }

    /// Responds as an API server with this one object does.
    fn respond(object: &mut Value, method: &Method, body: &[u8]) -> (StatusCode, Json<Value>) {
        if method == Method::PATCH {
            let patch: Value = serde_json::from_slice(body).unwrap();
            let expected = &patch["metadata"]["resourceVersion"];
            if !expected.is_null() && *expected != object["metadata"]["resourceVersion"] {
                let conflict =
                    json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict", "message": ""});
                return (StatusCode::CONFLICT, Json(conflict));
            }
            object["status"] = patch["status"].clone();
        }
        (StatusCode::OK, Json(object.clone()))
    }

    /// A client of an API server on loopback that serves these routes.
    pub(in crate::operator) async fn served(router: Router) -> Client {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(admin::serve_trusted(listener, router, CancellationToken::new()));
        Client::try_from(kube::Config::new(base.parse().unwrap())).unwrap()
    }

    async fn api_server(object: Arc<Mutex<Value>>) -> GuardedApi<LinktreeConnection> {
        let respond = async move |method: Method, body: Bytes| respond(&mut object.lock().unwrap(), &method, &body);
        GuardedApi::namespaced(served(Router::new().fallback(respond)).await, "marketing")
    }

    /// A change that another client makes to an object.
    type Change = fn(&mut Value);

    #[tokio::test]
    async fn a_status_write_replaces_only_the_status_that_was_read() {
        let read = json!({
            "apiVersion": "webhooks.linktree-operator.dev/v1alpha1",
            "kind": "LinktreeConnection",
            "metadata": {"name": "brand", "namespace": "marketing", "uid": "1", "resourceVersion": "1"},
            "spec": {"tokenSecretRef": {"name": "token"}},
            "status": {"lastHandledSyncRequest": "seen"},
        });
        let ours = LinktreeConnectionStatus {
            last_handled_sync_request: Some("ours".to_owned()),
            ..LinktreeConnectionStatus::default()
        };
        let cases: [(&str, Change, bool, &str); 5] = [
            ("nothing has changed", |_| {}, true, "ours"),
            ("the spec has changed", |it| it["metadata"]["generation"] = 2.into(), true, "ours"),
            ("the status has changed", |it| it["status"]["lastHandledSyncRequest"] = "theirs".into(), false, "theirs"),
            ("our response was lost", |it| it["status"]["lastHandledSyncRequest"] = "ours".into(), true, "ours"),
            ("the object was recreated", |it| it["metadata"]["uid"] = "2".into(), false, "seen"),
        ];
        for (case, change, written, after) in cases {
            let seen: LinktreeConnection = serde_json::from_value(read.clone()).unwrap();
            let mut object = read.clone();
            change(&mut object);
            if object != read {
                object["metadata"]["resourceVersion"] = "2".into();
            }
            let object = Arc::new(Mutex::new(object));
            let api = api_server(Arc::clone(&object)).await;
            assert_eq!(replace_status(&api, &seen, &ours).await.unwrap().is_some(), written, "{case}");
            assert_eq!(object.lock().unwrap()["status"]["lastHandledSyncRequest"], after, "{case}");
        }
    }
}
