//! The claim of a journal outlives its webhook for some time, and a webhook that is created again or restored takes up
//! the receiver's objects and the journal.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Namespace, PersistentVolumeClaim, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
    core::{ApiResource, NamespaceResourceScope, ObjectMeta},
};
use linktree_operator::api::{connection::LinktreeConnection, webhook::LinktreeWebhook};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, quiet_for, scenario},
    kubelet::Kubelet,
    wait::until,
};

const RECEIVER: &str = "links-receiver";
const CLAIM: &str = "journal-links-receiver-0";
const KEEP: u64 = 5;
const SINCE: &str = "webhooks.linktree-operator.dev/unused-since-time";

/// Creates the claim, as the StatefulSet's controller does from the template.
async fn make_claim(harness: &Harness) {
    let workload = harness.api::<StatefulSet>().get(RECEIVER).await.unwrap();
    let mut claim = workload.spec.unwrap().volume_claim_templates.unwrap().remove(0);
    claim.metadata.name = Some(format!("{}-{RECEIVER}-0", claim.name_any()));
    claim.status = None;
    harness.api::<PersistentVolumeClaim>().create(&PostParams::default(), &claim).await.unwrap();
}

async fn claim(harness: &Harness) -> Option<PersistentVolumeClaim> {
    let found = harness.api::<PersistentVolumeClaim>().get_opt(CLAIM).await.unwrap();
    found.filter(|claim| claim.metadata.deletion_timestamp.is_none())
}

/// Removes the finalizer that only another controller would remove.
async fn without_finalizers(harness: &Harness) -> PersistentVolumeClaim {
    harness.change::<PersistentVolumeClaim>(CLAIM, json!({"metadata": {"finalizers": null}})).await;
    claim(harness).await.unwrap()
}

async fn until_marked(harness: &Harness, is_marked: bool) {
    until(&format!("the claim is marked: {is_marked}"), async || {
        claim(harness).await.is_some_and(|claim| claim.annotations().contains_key(SINCE) == is_marked)
    })
    .await;
}

async fn delete(harness: &Harness, params: &DeleteParams) {
    let webhooks: Api<LinktreeWebhook> = harness.api();
    webhooks.delete("links", params).await.unwrap();
    until("the webhook is gone", async || webhooks.get_opt("links").await.unwrap().is_none()).await;
}

async fn create_again(harness: &mut Harness) -> Kubelet {
    let mut node = harness.webhook("links", |_| {}).await;
    node.start().await;
    harness.until_condition("links", "Ready", "True", "Available").await;
    node
}

/// Waits until the webhook that exists now owns the StatefulSet.
async fn until_owned(harness: &Harness) {
    let uid = harness.get("links").await.uid();
    until("the webhook owns the StatefulSet", async || {
        let found = harness.api::<StatefulSet>().get_opt(RECEIVER).await.unwrap();
        found.is_some_and(|it| it.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref()))
    })
    .await;
}

#[tokio::test]
async fn a_claim_outlives_its_webhook_and_is_deleted_later() {
    scenario(async |harness| {
        harness.operator.kill();
        harness.restart_operator_keeping_journals(KEEP);
        harness.operator.ready().await;
        let node = harness.settled("links").await;
        make_claim(harness).await;
        assert_eq!(claim(harness).await.unwrap().owner_references(), [], "Kubernetes would delete it");

        delete(harness, &DeleteParams::background()).await;
        drop(node);
        until_marked(harness, true).await;
        let node = create_again(harness).await;
        until_marked(harness, false).await;
        quiet_for(Duration::from_secs(KEEP + 3)).await;
        assert!(claim(harness).await.is_some(), "the journal of a webhook that exists is deleted");

        delete(harness, &DeleteParams::background()).await;
        drop(node);
        until("the claim is deleted", async || claim(harness).await.is_none()).await;
    })
    .await;
}

#[tokio::test]
async fn orphaned_objects_are_taken_up_by_a_webhook_of_the_same_name() {
    scenario(async |harness| {
        let node = harness.settled("links").await;
        make_claim(harness).await;
        delete(harness, &DeleteParams::orphan()).await;
        assert!(harness.api::<StatefulSet>().get_opt(RECEIVER).await.unwrap().is_some(), "it was not orphaned");
        drop(node);

        // The capacity is in the template, which is immutable.
        let mut node =
            harness.webhook("links", |spec| spec["receiver"] = json!({"journal": {"capacity": "2Gi"}})).await;
        node.start().await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        until_owned(harness).await;
        until_marked(harness, false).await;
    })
    .await;
}

/// An object as a backup has it.
async fn saved<K>(harness: &Harness) -> K
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let mut object = harness.api::<K>().get(RECEIVER).await.unwrap();
    let meta = object.meta_mut();
    (meta.uid, meta.resource_version, meta.managed_fields) = (None, None, None);
    object
}

async fn restore<K>(harness: &Harness, object: &K)
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let api = harness.api::<K>();
    until("the saved object's predecessor is gone", async || api.get_opt(RECEIVER).await.unwrap().is_none()).await;
    api.create(&PostParams::default(), object).await.unwrap();
}

#[tokio::test]
async fn restored_objects_with_the_uid_of_the_deleted_webhook_are_taken_up() {
    scenario(async |harness| {
        let node = harness.settled("links").await;
        make_claim(harness).await;
        let workload = saved::<StatefulSet>(harness).await;
        let mut service = saved::<Service>(harness).await;
        let spec = service.spec.as_mut().unwrap();
        (spec.cluster_ip, spec.cluster_ips) = (None, None);
        let policy = saved::<NetworkPolicy>(harness).await;
        let account = saved::<ServiceAccount>(harness).await;
        delete(harness, &DeleteParams::background()).await;
        drop(node);
        restore(harness, &account).await;
        restore(harness, &service).await;
        restore(harness, &policy).await;
        restore(harness, &workload).await;

        let _node = create_again(harness).await;
        until_owned(harness).await;
        assert!(claim(harness).await.is_some(), "the journal was lost in the restore");
    })
    .await;
}

/// The objects of a kind as a backup has them.
async fn backed_up<K>(harness: &Harness) -> Vec<(ApiResource, DynamicObject)>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(harness.client.clone(), &harness.namespace, &resource);
    let all = api.list(&ListParams::default()).await.unwrap().items.into_iter();
    let ours = all.filter(|object| object.name_any() != "default").map(|mut object| {
        let ObjectMeta { name, labels, annotations, owner_references, .. } = object.metadata;
        object.metadata = ObjectMeta { name, labels, annotations, owner_references, ..ObjectMeta::default() };
        object.data["status"] = Value::Null;
        if let Some(spec) = object.data["spec"].as_object_mut() {
            spec.retain(|field, _| !field.starts_with("clusterIP"));
        }
        (resource.clone(), object)
    });
    ours.collect()
}

#[tokio::test]
async fn a_restored_namespace_comes_up_with_its_journal() {
    scenario(async |harness| {
        let mut node = harness.settled("links").await;
        make_claim(harness).await;
        without_finalizers(harness).await;
        node.stop_and_remove().await;
        let backup = [
            backed_up::<PersistentVolumeClaim>(harness).await,
            backed_up::<Secret>(harness).await,
            backed_up::<ServiceAccount>(harness).await,
            backed_up::<Service>(harness).await,
            backed_up::<NetworkPolicy>(harness).await,
            backed_up::<StatefulSet>(harness).await,
            backed_up::<LinktreeConnection>(harness).await,
            backed_up::<LinktreeWebhook>(harness).await,
        ]
        .concat();
        let namespaces: Api<Namespace> = Api::all(harness.client.clone());
        namespaces.delete(&harness.namespace, &DeleteParams::default()).await.unwrap();
        until("the namespace is gone", async || namespaces.get_opt(&harness.namespace).await.unwrap().is_none()).await;

        let namespace = json!({"metadata": {"name": harness.namespace}});
        namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
        for (resource, object) in backup {
            let api: Api<DynamicObject> = Api::namespaced_with(harness.client.clone(), &harness.namespace, &resource);
            // The operator may have created its objects by now: a restore leaves them alone.
            match api.create(&PostParams::default(), &object).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                created => drop(created.unwrap()),
            }
        }
        let restored = without_finalizers(harness).await;
        drop(node);
        let mut node = harness.node("links");
        node.start().await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        until_owned(harness).await;
        let after = claim(harness).await.unwrap();
        assert_eq!(after.uid(), restored.uid());
        assert_eq!(after.annotations().get(SINCE), None);
    })
    .await;
}
