//! Faults by users and other controllers in a cluster, and the time until the operator has recovered without help once
//! the fault is over. All 25 kinds with `CHAOS=full`, a part otherwise.

use std::io::Write;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    coordination::v1::Lease,
    core::v1::{ResourceQuota, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use linktree_operator::{
    api::{connection::LinktreeConnection, webhook::LinktreeWebhook},
    clock,
};
use nix::sys::signal::Signal;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, TOKEN, install_crds, quiet_for, scenario},
    kubelet::Kubelet,
    wait::until,
};

const RECEIVER: &str = "links-receiver";

/// Whether `CHAOS=full` requests all kinds.
fn full() -> bool {
    std::env::var("CHAOS").is_ok_and(|value| value == "full")
}

/// Settles a webhook, runs `inject`, which injects a fault and ends it, and measures the time until recovery.
async fn recovers(kind: &str, inject: impl AsyncFnOnce(&mut Harness, &mut Kubelet)) {
    scenario(async |harness| {
        let mut node = harness.settled("links").await;
        until("the webhook is healthy before the fault", async || is_healthy(harness).await).await;
        let before = children(harness).await;
        inject(harness, &mut node).await;
        let over = clock::monotonic();
        until("the webhook has recovered", async || is_healthy(harness).await && children(harness).await == before)
            .await;
        let took = over.elapsed().as_secs_f64();
        // Bypasses the test's capture: the line must be visible if the test passes as well.
        let line = format!("chaos: real API: {kind:<44} recovered in {took:>5.1} s\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    })
    .await;
}

/// Whether all objects exist and are owned by the webhook, and Linktree has only the subscription whose secret is
/// stored.
async fn is_healthy(harness: &Harness) -> bool {
    let Some(webhook) = harness.api::<LinktreeWebhook>().get_opt("links").await.unwrap() else { return false };
    let uid = webhook.uid().unwrap();
    let owned = is_owned::<StatefulSet>(harness, RECEIVER, &uid).await
        && is_owned::<Service>(harness, RECEIVER, &uid).await
        && is_owned::<ServiceAccount>(harness, RECEIVER, &uid).await
        && is_owned::<NetworkPolicy>(harness, RECEIVER, &uid).await
        && is_owned::<Secret>(harness, "links-receiver-route", &uid).await
        && is_owned::<Secret>(harness, "links-signing", &uid).await;
    let status = webhook.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
    let subscriptions = harness.subscriptions().await;
    let [subscription] = subscriptions.as_slice() else { return false };
    let named = status.subscription.and_then(|it| it.id).is_some_and(|id| subscription["id"] == id.as_str());
    let seen = status.observed_generation == webhook.metadata.generation;
    owned
        && ready
        && named
        && seen
        && subscription["status"] != "disabled"
        && stored_secret(harness).await.as_deref() == subscription["signing_secret"].as_str()
        && webhook.finalizers().iter().any(|it| it.ends_with("/subscription"))
}

async fn stored_secret(harness: &Harness) -> Option<String> {
    let data = harness.api::<Secret>().get_opt("links-signing").await.unwrap()?.data?;
    String::from_utf8(data.get("secret")?.0.clone()).ok()
}

/// The receiver's objects without generated fields.
async fn children(harness: &Harness) -> Vec<Value> {
    async fn of<K>(harness: &Harness) -> Value
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug
            + Serialize,
    {
        let Some(found) = harness.api::<K>().get_opt(RECEIVER).await.unwrap() else { return Value::Null };
        let mut object = serde_json::to_value(found).unwrap();
        object["metadata"] = json!({"labels": object["metadata"]["labels"]});
        object["status"].take();
        for generated in ["clusterIP", "clusterIPs", "volumeClaimTemplates"] {
            object["spec"][generated].take();
        }
        object
    }
    vec![
        of::<StatefulSet>(harness).await,
        of::<Service>(harness).await,
        of::<ServiceAccount>(harness).await,
        of::<NetworkPolicy>(harness).await,
    ]
}

async fn is_owned<K>(harness: &Harness, name: &str, webhook: &str) -> bool
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug,
{
    let found = harness.api::<K>().get_opt(name).await.unwrap();
    found.is_some_and(|it| {
        it.owner_references().iter().any(|owner| owner.uid == webhook) && it.meta().deletion_timestamp.is_none()
    })
}

async fn merge<K>(harness: &Harness, name: &str, patch: Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug,
{
    harness.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn delete<K>(harness: &Harness, name: &str)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug,
{
    harness.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
}

/// Restarts the operator as a ServiceAccount with only these RBAC rules in the namespace.
async fn restrict(harness: &mut Harness, rules: Value) {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "operator"}, "rules": rules});
    harness.create::<Role>(role).await.unwrap();
    bind(harness).await;
    harness.operator.kill();
    harness.restart_operator_as(&format!("system:serviceaccount:{}:operator", harness.namespace));
    harness.operator.ready().await;
}

async fn bind(harness: &Harness) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": harness.namespace}],
    });
    harness.create::<RoleBinding>(binding).await.unwrap();
}

fn all_rules() -> Value {
    json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
}

/// Waits long enough for a failed reconciliation.
async fn until_failed() {
    quiet_for(std::time::Duration::from_secs(4)).await;
}

macro_rules! kinds {
    ($($always:ident $name:ident: $strike:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            if kinds!(@ $always) || full() {
                recovers(&stringify!($name).replace('_', " "), $strike).await;
            }
        }
    )*};
    (@ always) => { true };
    (@ full) => { false };
}

kinds! {
    always permissions_revoked_and_restored: async |harness, _| {
        restrict(harness, all_rules()).await;
        delete::<RoleBinding>(harness, "operator").await;
        delete::<Service>(harness, RECEIVER).await;
        until_failed().await;
        bind(harness).await;
    };
    full secrets_forbidden_and_allowed_again: async |harness, _| {
        restrict(harness, all_rules()).await;
        let without = json!([{"apiGroups": ["apps", "networking.k8s.io", "events.k8s.io", "webhooks.linktree-operator.dev"], "resources": ["*"], "verbs": ["*"]}]);
        merge::<Role>(harness, "operator", json!({"rules": without})).await;
        delete::<Secret>(harness, "links-receiver-route").await;
        until_failed().await;
        merge::<Role>(harness, "operator", json!({"rules": all_rules()})).await;
    };
    always lease_deleted: async |harness, _| {
        harness.operator.kill();
        harness.operator = harness.candidate();
        harness.operator.ready().await;
        until("the operator leads", async || harness.api::<Lease>().get_opt("linktree-webhook-operator").await.unwrap().is_some()).await;
        delete::<Lease>(harness, "linktree-webhook-operator").await;
        delete::<Service>(harness, RECEIVER).await;
        // An operator that lost its lease exits, and is restarted.
        if harness.operator.exits_within(6).await {
            harness.operator = harness.candidate();
        }
    };
    full lease_taken_by_another_holder: async |harness, _| {
        harness.operator.kill();
        harness.operator = harness.candidate();
        harness.operator.ready().await;
        until("the operator leads", async || harness.api::<Lease>().get_opt("linktree-webhook-operator").await.unwrap().is_some()).await;
        merge::<Lease>(harness, "linktree-webhook-operator", json!({"spec": {"holderIdentity": "another"}})).await;
        harness.operator.exited().await;
        delete::<Service>(harness, RECEIVER).await;
        harness.operator = harness.candidate();
    };
    always owner_references_removed: async |harness, _| {
        let cut = json!({"metadata": {"ownerReferences": null}});
        merge::<StatefulSet>(harness, RECEIVER, cut.clone()).await;
        merge::<Service>(harness, RECEIVER, cut.clone()).await;
        merge::<Secret>(harness, "links-receiver-route", cut).await;
    };
    full finalizer_removed: async |harness, _| {
        merge::<LinktreeWebhook>(harness, "links", json!({"metadata": {"finalizers": null}})).await;
    };
    always deletion_blocked_by_another_finalizer: async |harness, node| {
        merge::<LinktreeWebhook>(harness, "links", json!({"metadata": {"finalizers": ["webhooks.linktree-operator.dev/subscription", "other.example.com/held"]}})).await;
        delete::<LinktreeWebhook>(harness, "links").await;
        until("the subscription is gone", async || harness.subscriptions().await.is_empty()).await;
        until_failed().await;
        // Before the StatefulSet is garbage collected, which follows its owner.
        node.stop_and_remove().await;
        merge::<LinktreeWebhook>(harness, "links", json!({"metadata": {"finalizers": null}})).await;
        until("the webhook is gone", async || harness.api::<LinktreeWebhook>().get_opt("links").await.unwrap().is_none()).await;
        *node = harness.webhook("links", |_| {}).await;
        node.start().await;
    };
    full quota_exhausted: async |harness, _| {
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"count/services": "0", "services": "0"}}});
        harness.create::<ResourceQuota>(quota).await.unwrap();
        // This cluster has no quota controller.
        let counted = json!({"status": {"hard": {"count/services": "0", "services": "0"}, "used": {"count/services": "0", "services": "0"}}});
        harness.api::<ResourceQuota>().patch_status("none", &PatchParams::default(), &Patch::Merge(counted)).await.unwrap();
        delete::<Service>(harness, RECEIVER).await;
        until_failed().await;
        delete::<ResourceQuota>(harness, "none").await;
    };
    full crds_applied_again: async |harness, _| install_crds(&harness.client).await;
    always signing_secret_deleted: async |harness, _| delete::<Secret>(harness, "links-signing").await;
    full signing_secret_emptied: async |harness, _| merge::<Secret>(harness, "links-signing", json!({"data": null})).await;
    full route_secret_deleted: async |harness, _| delete::<Secret>(harness, "links-receiver-route").await;
    full route_secret_overwritten: async |harness, _| {
        merge::<Secret>(harness, "links-receiver-route", json!({"stringData": {"route.json": "{}", "admin-token": "mine"}})).await;
    };
    full token_deleted_and_restored: async |harness, _| {
        delete::<Secret>(harness, "linktree-api").await;
        harness.until_connection("Ready", "False", "TokenMissing").await;
        harness.put_secret("linktree-api", "token", TOKEN).await;
    };
    always status_wiped: async |harness, _| {
        let patch = Patch::Merge(json!({"status": null}));
        harness.api::<LinktreeWebhook>().patch_status("links", &PatchParams::default(), &patch).await.unwrap();
    };
    full status_overwritten: async |harness, _| {
        let wrong = json!({"status": {"observedGeneration": 0, "subscription": {"id": "wh_unknown", "state": "Absent"}, "address": {"url": "https://elsewhere.example.com/"}, "conditions": []}});
        harness.api::<LinktreeWebhook>().patch_status("links", &PatchParams::default(), &Patch::Merge(wrong)).await.unwrap();
    };
    full workload_edited: async |harness, _| {
        merge::<StatefulSet>(harness, RECEIVER, json!({"spec": {"replicas": 0, "template": {"spec": {"automountServiceAccountToken": true}}}})).await;
    };
    always workload_deleted: async |harness, _| delete::<StatefulSet>(harness, RECEIVER).await;
    full service_edited: async |harness, _| {
        merge::<Service>(harness, RECEIVER, json!({"spec": {"selector": {"app": "other"}, "ports": [{"port": 81, "name": "other"}]}})).await;
    };
    full network_policy_opened: async |harness, _| merge::<NetworkPolicy>(harness, RECEIVER, json!({"spec": {"ingress": [{}]}})).await;
    full service_account_deleted: async |harness, _| delete::<ServiceAccount>(harness, RECEIVER).await;
    full labels_removed: async |harness, _| {
        merge::<StatefulSet>(harness, RECEIVER, json!({"metadata": {"labels": null, "annotations": null}})).await;
        merge::<Service>(harness, RECEIVER, json!({"metadata": {"labels": null, "annotations": null}})).await;
    };
    full connection_deleted_and_recreated: async |harness, _| {
        delete::<LinktreeConnection>(harness, "brand").await;
        harness.until_condition("links", "ConnectionReady", "False", "ConnectionMissing").await;
        harness.connect(|_| {}).await;
    };
    full operator_frozen: async |harness, _| {
        harness.operator.signal(Signal::SIGSTOP);
        delete::<Service>(harness, RECEIVER).await;
        delete::<Secret>(harness, "links-receiver-route").await;
        until_failed().await;
        harness.operator.signal(Signal::SIGCONT);
    };
    full namespace_deleted_while_linktree_is_down: async |harness, node| {
        // The test's namespace cannot be recreated, so its objects are deleted, as the namespace controller does.
        harness.fault(json!({"kind": "status", "status": 503, "method": "DELETE"})).await;
        delete::<LinktreeWebhook>(harness, "links").await;
        delete::<LinktreeConnection>(harness, "brand").await;
        delete::<Secret>(harness, "linktree-api").await;
        until_failed().await;
        harness.clear_faults().await;
        until("the webhook is gone", async || harness.api::<LinktreeWebhook>().get_opt("links").await.unwrap().is_none()).await;
        assert_eq!(harness.subscriptions().await, Vec::<Value>::new());
        node.stop_and_remove().await;
        harness.connect(|_| {}).await;
        *node = harness.webhook("links", |_| {}).await;
        node.start().await;
    };
}
