//! An operator with a Role in each watched namespace: one that is deleted or does not exist concerns no other, and its
//! webhooks are finalized after its Role is gone.

use k8s_openapi::api::{
    core::v1::{Namespace, Secret},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use linktree_operator::api::{connection::LinktreeConnection, webhook::LinktreeWebhook};
use serde_json::{Value, json};

use crate::{
    harness::{self, Harness, object, scenario},
    wait::until,
};

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const OURS: &str = "webhooks.linktree-operator.dev";
/// A watched namespace that does not exist.
const MISSING: &str = "not-made-yet";

fn user(harness: &Harness) -> Value {
    json!([{"kind": "ServiceAccount", "name": "operator", "namespace": harness.namespace}])
}

async fn apply<K>(api: Api<K>, object: Value)
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    api.patch(&name, &PatchParams::apply("user").force(), &Patch::Apply(object)).await.unwrap();
}

/// Grants the operator all rights in a namespace.
async fn grant(harness: &Harness, namespace: &str) {
    let rules = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let role = json!({"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "operator"}, "rules": rules});
    apply::<Role>(Api::namespaced(harness.client.clone(), namespace), role).await;
    let binding = json!({
        "apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": "operator"}, "subjects": user(harness),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
    });
    apply::<RoleBinding>(Api::namespaced(harness.client.clone(), namespace), binding).await;
}

/// Grants the operator the rights of the chart's finalizer ClusterRole. It is named after the test's namespace.
async fn grant_finalizing(harness: &Harness) {
    let name = &harness.namespace;
    let rules = json!([
        {"apiGroups": [OURS], "resources": ["linktreewebhooks"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": [OURS], "resources": ["linktreewebhooks/status"], "verbs": ["patch"]},
    ]);
    let role = json!({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    apply::<ClusterRole>(Api::all(harness.client.clone()), role).await;
    let binding = json!({
        "apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": {"name": name}, "subjects": user(harness),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
    });
    apply::<ClusterRoleBinding>(Api::all(harness.client.clone()), binding).await;
}

async fn revoke_finalizing(harness: &Harness) {
    let (client, name) = (&harness.client, &harness.namespace);
    let params = DeleteParams::default();
    Api::<ClusterRoleBinding>::all(client.clone()).delete(name, &params).await.unwrap();
    Api::<ClusterRole>::all(client.clone()).delete(name, &params).await.unwrap();
}

/// Restarts the operator with a Role in the test's namespace and in `other`, and with [`MISSING`] to watch as well.
async fn restart(harness: &mut Harness, other: &str) {
    let user = format!("system:serviceaccount:{}:operator", harness.namespace);
    harness.operator.kill();
    harness.restart_operator_for(&user, &[other, MISSING]);
    harness.operator.ready().await;
}

/// Creates another namespace, and restarts the operator with the rights in it and in the test's. Returns its name.
async fn with_another_namespace(harness: &mut Harness) -> String {
    let other = harness::namespace(&harness.client).await;
    for namespace in [&harness.namespace, &other] {
        grant(harness, namespace).await;
    }
    grant_finalizing(harness).await;
    restart(harness, &other).await;
    other
}

/// Deletes what a test leaves outside its namespace.
async fn clean_up(harness: &Harness, other: &str) {
    revoke_finalizing(harness).await;
    Api::<Namespace>::all(harness.client.clone()).delete(other, &DeleteParams::default()).await.unwrap();
}

/// Deletes the test's namespace, its Role first, and waits until it is gone.
async fn delete_namespace(harness: &Harness) {
    harness.api::<RoleBinding>().delete("operator", &DeleteParams::default()).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(harness.client.clone());
    namespaces.delete(&harness.namespace, &DeleteParams::default()).await.unwrap();
}

async fn until_gone(harness: &Harness) {
    let namespaces: Api<Namespace> = Api::all(harness.client.clone());
    until("the namespace is gone", async || namespaces.get_opt(&harness.namespace).await.unwrap().is_none()).await;
}

/// Checks that connections of a namespace are reconciled, with one that has this name.
async fn assert_works(harness: &Harness, namespace: &str, name: &str) {
    let connections: Api<LinktreeConnection> = Api::namespaced(harness.client.clone(), namespace);
    let spec = json!({"baseURL": harness.linktree.base_url(), "tokenSecretRef": {"name": "none"}});
    apply(connections.clone(), object("LinktreeConnection", name, spec)).await;
    until("the other namespace is reconciled", async || {
        let status = connections.get(name).await.unwrap().status.unwrap_or_default();
        status.conditions.iter().any(|condition| condition.reason == "TokenMissing")
    })
    .await;
}

async fn readable(harness: &Harness, namespace: &str) -> bool {
    let metrics = harness.operator.admin("/metrics").await;
    let line = |value| format!("linktree_operator_namespace_readable{{namespace=\"{namespace}\"}} {value}\n");
    assert!(metrics.contains(&line(0)) || metrics.contains(&line(1)), "{metrics}");
    metrics.contains(&line(1))
}

#[tokio::test]
async fn a_deleted_namespace_ends_and_concerns_no_other() {
    scenario(async |harness| {
        let other = with_another_namespace(harness).await;
        assert!(readable(harness, &other).await && !readable(harness, MISSING).await);
        assert_eq!(harness.operator.admin("/readyz").await, "ok: a watched namespace cannot be read\n");
        assert_eq!(harness.log().matches("namespace cannot be read, retrying").count(), 1, "it is reported once");
        assert_works(harness, &other, "before").await;

        let mut node = harness.settled("links").await;
        node.stop_and_remove().await;
        delete_namespace(harness).await;
        until_gone(harness).await;
        assert_eq!(harness.subscriptions().await, Vec::<Value>::new(), "a subscription is left at Linktree");

        restart(harness, &other).await;
        assert!(!readable(harness, &harness.namespace).await);
        assert_works(harness, &other, "after").await;
        clean_up(harness, &other).await;
    })
    .await;
}

/// The token is gone with the process that had it: the webhook is released at its deadline.
#[tokio::test]
async fn an_operator_that_starts_during_the_deletion_releases_the_webhooks() {
    scenario(async |harness| {
        let other = with_another_namespace(harness).await;
        harness.connect(|_| {}).await;
        let mut node =
            harness.webhook("links", |spec| spec["subscription"] = json!({"deletionDeadlineSeconds": 5})).await;
        node.start().await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        node.stop_and_remove().await;
        harness.operator.kill();
        delete_namespace(harness).await;
        until("only the webhook is left", async || {
            harness.api::<Secret>().get_opt("linktree-api").await.unwrap().is_none()
                && harness.api::<LinktreeConnection>().get_opt("brand").await.unwrap().is_none()
                && harness.api::<LinktreeWebhook>().get("links").await.unwrap().metadata.deletion_timestamp.is_some()
        })
        .await;
        restart(harness, &other).await;
        until_gone(harness).await;
        assert!(harness.log().contains("OrphanReleased"), "the subscription that is left is not named");
        clean_up(harness, &other).await;
    })
    .await;
}
