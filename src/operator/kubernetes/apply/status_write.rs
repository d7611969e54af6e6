//! Writes of a status by server-side apply.

use std::{borrow::Cow, fmt::Debug};

use kube::{
    Resource,
    api::{Patch, PatchParams},
    core::object::HasStatus,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::operator::kubernetes::guarded::{Guarded, GuardedApi, Parsed};

/// Number of attempts to write a status; if all are conflicts, the reconciliation starts over.
const ATTEMPTS: usize = 5;

/// Applies a whole status; fields of the previous one that it lacks are removed. Returns the object after the write.
///
/// # Errors
/// The error of the API server; 404 if the object does not exist.
pub async fn apply_status<K>(
    api: &GuardedApi<K>,
    name: &str,
    status: &impl Serialize,
    manager: &str,
) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Parsed + Clone + Debug,
{
    write_status(api, name, &json!({"name": name}), status, manager).await
}

/// As [`apply_status`], but only if the object still has the resourceVersion of `seen`: of two concurrent writes, one
/// succeeds.
///
/// # Errors
/// The error of the API server; 409 if the object has changed since `seen` was read.
pub async fn apply_status_as_seen<K>(
    api: &GuardedApi<K>,
    seen: &K,
    status: &impl Serialize,
    manager: &str,
) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Parsed + Clone + Debug,
{
    let name = seen.meta().name.clone().unwrap_or_default();
    write_status(api, &name, &json!({"name": name, "resourceVersion": seen.meta().resource_version}), status, manager)
        .await
}

/// As [`apply_status_as_seen`], but it retries if only other parts of the object have changed: it never replaces a
/// status other than that of `seen`.
///
/// Returns the object after the write; `None` if another client has written the status, or if the object was deleted or
/// recreated.
///
/// # Errors
/// Any other error of the API server; 404 if the object did not exist at the first attempt.
pub async fn replace_status<K>(
    api: &GuardedApi<K>,
    seen: &K,
    status: &K::Status,
    manager: &str,
) -> Result<Option<K>, kube::Error>
where
    K: Resource<DynamicType = ()> + HasStatus + Parsed + Clone + Debug,
    K::Status: Serialize + PartialEq,
{
    let mut newest = Cow::Borrowed(seen);
    for _ in 0..ATTEMPTS {
        match apply_status_as_seen(api, &newest, status, manager).await {
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
    manager: &str,
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
    let params = PatchParams::apply(manager).force();
    api.patch_status(name, &params, &Patch::Apply(patch)).await.map(Guarded::into_inner)
}

#[cfg(test)]
pub(in crate::operator) mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{
        Json, Router,
        body::Bytes,
        http::{Method, StatusCode},
    };
    use kube::Client;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        admin,
        api::connection::{LinktreeConnection, LinktreeConnectionStatus},
    };

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
            assert_eq!(replace_status(&api, &seen, &ours, "ours").await.unwrap().is_some(), written, "{case}");
            assert_eq!(object.lock().unwrap()["status"]["lastHandledSyncRequest"], after, "{case}");
        }
    }
}
