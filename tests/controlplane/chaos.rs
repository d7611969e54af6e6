//! Twenty-odd kinds of trouble that people and other controllers make in a cluster, and how long until all is as it was
//! without anybody's help, once the trouble is over. In full with `CHAOS=full`, a part otherwise.

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
    kubelet::Kubelet,
    wait::until,
    world::{TOKEN, World, install_crds, quiet_for, scenario},
};

const RECEIVER: &str = "links-receiver";

/// Whether this is a run of all kinds.
fn full() -> bool {
    std::env::var("CHAOS").is_ok_and(|value| value == "full")
}

/// Settles a webhook, has `strike` make trouble and end it, and measures how long it takes until all is well.
async fn recovers(kind: &str, strike: impl AsyncFnOnce(&mut World, &mut Kubelet)) {
    scenario(async |world| {
        let mut node = world.settled("links").await;
        until("all is well before", async || is_well(world).await).await;
        let before = children(world).await;
        strike(world, &mut node).await;
        let over = clock::monotonic();
        until("all is well again", async || is_well(world).await && children(world).await == before).await;
        let took = over.elapsed().as_secs_f64();
        // Past the test's capture: it is to be seen when it passes as well.
        let line = format!("chaos: real API: {kind:<44} recovered in {took:>5.1} s\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    })
    .await;
}

/// Everything is there and ours, and Linktree has the one subscription whose secret is kept.
async fn is_well(world: &World) -> bool {
    let Some(webhook) = world.api::<LinktreeWebhook>().get_opt("links").await.unwrap() else { return false };
    let uid = webhook.uid().unwrap();
    let owned = is_ours::<StatefulSet>(world, RECEIVER, &uid).await
        && is_ours::<Service>(world, RECEIVER, &uid).await
        && is_ours::<ServiceAccount>(world, RECEIVER, &uid).await
        && is_ours::<NetworkPolicy>(world, RECEIVER, &uid).await
        && is_ours::<Secret>(world, "links-receiver-route", &uid).await
        && is_ours::<Secret>(world, "links-signing", &uid).await;
    let status = webhook.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
    let subscriptions = world.subscriptions().await;
    let [subscription] = subscriptions.as_slice() else { return false };
    let named = status.subscription.and_then(|it| it.id).is_some_and(|id| subscription["id"] == id.as_str());
    let seen = status.observed_generation == webhook.metadata.generation;
    owned
        && ready
        && named
        && seen
        && subscription["status"] != "disabled"
        && kept_secret(world).await.as_deref() == subscription["signing_secret"].as_str()
        && webhook.finalizers().iter().any(|it| it.ends_with("/subscription"))
}

async fn kept_secret(world: &World) -> Option<String> {
    let data = world.api::<Secret>().get_opt("links-signing").await.unwrap()?.data?;
    String::from_utf8(data.get("secret")?.0.clone()).ok()
}

/// What the receiver's objects say, but for what the server and this run made up.
async fn children(world: &World) -> Vec<Value> {
    async fn of<K>(world: &World) -> Value
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug
            + Serialize,
    {
        let Some(found) = world.api::<K>().get_opt(RECEIVER).await.unwrap() else { return Value::Null };
        let mut object = serde_json::to_value(found).unwrap();
        object["metadata"] = json!({"labels": object["metadata"]["labels"]});
        object["status"].take();
        for made_up in ["clusterIP", "clusterIPs", "volumeClaimTemplates"] {
            object["spec"][made_up].take();
        }
        object
    }
    vec![
        of::<StatefulSet>(world).await,
        of::<Service>(world).await,
        of::<ServiceAccount>(world).await,
        of::<NetworkPolicy>(world).await,
    ]
}

async fn is_ours<K>(world: &World, name: &str, webhook: &str) -> bool
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug,
{
    let found = world.api::<K>().get_opt(name).await.unwrap();
    found.is_some_and(|it| {
        it.owner_references().iter().any(|owner| owner.uid == webhook) && it.meta().deletion_timestamp.is_none()
    })
}

async fn merge<K>(world: &World, name: &str, patch: Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug,
{
    world.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn delete<K>(world: &World, name: &str)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug,
{
    world.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
}

/// The operator is from now on somebody with these rights in the namespace, and no others.
async fn restrict(world: &mut World, rules: Value) {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "operator"}, "rules": rules});
    world.create::<Role>(role).await.unwrap();
    bind(world).await;
    world.operator.kill();
    world.restart_operator_as(&format!("system:serviceaccount:{}:operator", world.namespace));
    world.operator.ready().await;
}

async fn bind(world: &World) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": world.namespace}],
    });
    world.create::<RoleBinding>(binding).await.unwrap();
}

fn all_rights() -> Value {
    json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
}

/// So long that the operator has looked and failed.
async fn a_while() {
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
    always rights_taken_away_and_given_back: async |world, _| {
        restrict(world, all_rights()).await;
        delete::<RoleBinding>(world, "operator").await;
        delete::<Service>(world, RECEIVER).await;
        a_while().await;
        bind(world).await;
    };
    full secrets_forbidden_and_allowed_again: async |world, _| {
        restrict(world, all_rights()).await;
        let without = json!([{"apiGroups": ["apps", "networking.k8s.io", "events.k8s.io", "webhooks.linktree-operator.dev"], "resources": ["*"], "verbs": ["*"]}]);
        merge::<Role>(world, "operator", json!({"rules": without})).await;
        delete::<Secret>(world, "links-receiver-route").await;
        a_while().await;
        merge::<Role>(world, "operator", json!({"rules": all_rights()})).await;
    };
    always lease_deleted: async |world, _| {
        world.operator.kill();
        world.operator = world.candidate();
        world.operator.ready().await;
        until("it leads", async || world.api::<Lease>().get_opt("linktree-webhook-operator").await.unwrap().is_some()).await;
        delete::<Lease>(world, "linktree-webhook-operator").await;
        delete::<Service>(world, RECEIVER).await;
        // One that lost its lease ends, and is started again.
        if world.operator.ended_within(6).await {
            world.operator = world.candidate();
        }
    };
    full lease_taken_by_somebody: async |world, _| {
        world.operator.kill();
        world.operator = world.candidate();
        world.operator.ready().await;
        until("it leads", async || world.api::<Lease>().get_opt("linktree-webhook-operator").await.unwrap().is_some()).await;
        merge::<Lease>(world, "linktree-webhook-operator", json!({"spec": {"holderIdentity": "somebody"}})).await;
        world.operator.ended().await;
        delete::<Service>(world, RECEIVER).await;
        world.operator = world.candidate();
    };
    always owner_references_cut: async |world, _| {
        let cut = json!({"metadata": {"ownerReferences": null}});
        merge::<StatefulSet>(world, RECEIVER, cut.clone()).await;
        merge::<Service>(world, RECEIVER, cut.clone()).await;
        merge::<Secret>(world, "links-receiver-route", cut).await;
    };
    full finalizer_taken_off: async |world, _| {
        merge::<LinktreeWebhook>(world, "links", json!({"metadata": {"finalizers": null}})).await;
    };
    always deletion_stuck_at_another_finalizer: async |world, node| {
        merge::<LinktreeWebhook>(world, "links", json!({"metadata": {"finalizers": ["webhooks.linktree-operator.dev/subscription", "other.example.com/held"]}})).await;
        delete::<LinktreeWebhook>(world, "links").await;
        until("the subscription is gone", async || world.subscriptions().await.is_empty()).await;
        a_while().await;
        // As long as there is a StatefulSet to report on: it is collected once its owner is gone.
        node.stop_and_remove().await;
        merge::<LinktreeWebhook>(world, "links", json!({"metadata": {"finalizers": null}})).await;
        until("it is gone", async || world.api::<LinktreeWebhook>().get_opt("links").await.unwrap().is_none()).await;
        *node = world.webhook("links", |_| {}).await;
        node.start().await;
    };
    full quota_leaves_no_room: async |world, _| {
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"count/services": "0", "services": "0"}}});
        world.create::<ResourceQuota>(quota).await.unwrap();
        // No controller counts here.
        let counted = json!({"status": {"hard": {"count/services": "0", "services": "0"}, "used": {"count/services": "0", "services": "0"}}});
        world.api::<ResourceQuota>().patch_status("none", &PatchParams::default(), &Patch::Merge(counted)).await.unwrap();
        delete::<Service>(world, RECEIVER).await;
        a_while().await;
        delete::<ResourceQuota>(world, "none").await;
    };
    full definitions_applied_again: async |world, _| install_crds(&world.client).await;
    always signing_secret_deleted: async |world, _| delete::<Secret>(world, "links-signing").await;
    full signing_secret_emptied: async |world, _| merge::<Secret>(world, "links-signing", json!({"data": null})).await;
    full route_secret_deleted: async |world, _| delete::<Secret>(world, "links-receiver-route").await;
    full route_secret_scribbled_over: async |world, _| {
        merge::<Secret>(world, "links-receiver-route", json!({"stringData": {"route.json": "{}", "admin-token": "mine"}})).await;
    };
    full token_deleted_and_put_back: async |world, _| {
        delete::<Secret>(world, "linktree-api").await;
        world.until_connection("Ready", "False", "TokenMissing").await;
        world.put_secret("linktree-api", "token", TOKEN).await;
    };
    always status_wiped: async |world, _| {
        let patch = Patch::Merge(json!({"status": null}));
        world.api::<LinktreeWebhook>().patch_status("links", &PatchParams::default(), &patch).await.unwrap();
    };
    full status_scribbled_over: async |world, _| {
        let lie = json!({"status": {"observedGeneration": 0, "subscription": {"id": "wh_nobody", "state": "Absent"}, "address": {"url": "https://elsewhere.example.com/"}, "conditions": []}});
        world.api::<LinktreeWebhook>().patch_status("links", &PatchParams::default(), &Patch::Merge(lie)).await.unwrap();
    };
    full workload_edited: async |world, _| {
        merge::<StatefulSet>(world, RECEIVER, json!({"spec": {"replicas": 0, "template": {"spec": {"automountServiceAccountToken": true}}}})).await;
    };
    always workload_deleted: async |world, _| delete::<StatefulSet>(world, RECEIVER).await;
    full service_edited: async |world, _| {
        merge::<Service>(world, RECEIVER, json!({"spec": {"selector": {"app": "other"}, "ports": [{"port": 81, "name": "other"}]}})).await;
    };
    full network_policy_opened: async |world, _| merge::<NetworkPolicy>(world, RECEIVER, json!({"spec": {"ingress": [{}]}})).await;
    full service_account_deleted: async |world, _| delete::<ServiceAccount>(world, RECEIVER).await;
    full labels_taken_off: async |world, _| {
        merge::<StatefulSet>(world, RECEIVER, json!({"metadata": {"labels": null, "annotations": null}})).await;
        merge::<Service>(world, RECEIVER, json!({"metadata": {"labels": null, "annotations": null}})).await;
    };
    full connection_deleted_and_made_again: async |world, _| {
        delete::<LinktreeConnection>(world, "brand").await;
        world.until_condition("links", "ConnectionReady", "False", "ConnectionMissing").await;
        world.connect(|_| {}).await;
    };
    full operator_frozen_for_a_while: async |world, _| {
        world.operator.signal(Signal::SIGSTOP);
        delete::<Service>(world, RECEIVER).await;
        delete::<Secret>(world, "links-receiver-route").await;
        a_while().await;
        world.operator.signal(Signal::SIGCONT);
    };
    full namespace_deleted_while_linktree_is_down: async |world, node| {
        // It is the webhook that goes with its namespace; a namespace of a test's own cannot come back, so all that is in
        // it is deleted as the namespace controller does.
        world.fault(json!({"kind": "status", "status": 503, "method": "DELETE"})).await;
        delete::<LinktreeWebhook>(world, "links").await;
        delete::<LinktreeConnection>(world, "brand").await;
        delete::<Secret>(world, "linktree-api").await;
        a_while().await;
        world.mend().await;
        until("it is gone", async || world.api::<LinktreeWebhook>().get_opt("links").await.unwrap().is_none()).await;
        assert_eq!(world.subscriptions().await, Vec::<Value>::new());
        node.stop_and_remove().await;
        world.connect(|_| {}).await;
        *node = world.webhook("links", |_| {}).await;
        node.start().await;
    };
}
