//! A receiver's pod that the API server refuses: the StatefulSet's Events have the reason, and the webhook shows it.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Event};
use kube::ResourceExt;
use linktree_operator::clock;
use serde_json::json;

use crate::{
    harness::{Harness, scenario},
    wait::until_some,
};

/// Reports a failed creation of the pod, as the StatefulSet's controller does.
async fn refuse(harness: &Harness, workload: &StatefulSet, problem: &str) {
    let (name, now) = (workload.name_any(), clock::now().to_string());
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{name}.refused")},
        "involvedObject": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": workload.uid(),
            "namespace": harness.namespace},
        "reason": "FailedCreate", "type": "Warning", "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        "message": format!("create Pod {name}-0 in StatefulSet {name} failed error: {problem}"),
    });
    harness.create::<Event>(event).await.unwrap();
}

#[tokio::test]
async fn a_pod_that_a_quota_refuses_is_reported_with_the_remedy() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let mut node = harness.webhook("links", |_| {}).await;
        harness.until_condition("links", "ReceiverAvailable", "False", "Progressing").await;
        let workload = until_some("the StatefulSet exists", async || {
            harness.api::<StatefulSet>().get_opt("links-receiver").await.unwrap()
        })
        .await;
        let problem = "pods \"links-receiver-0\" is forbidden: exceeded quota: tight, requested: limits.memory=256Mi, \
            used: limits.memory=0, limited: limits.memory=100Mi";
        refuse(harness, &workload, problem).await;
        let message = harness.until_condition("links", "ReceiverAvailable", "False", "PodRefused").await;
        assert!(message.contains("exceeded quota: tight") && message.contains("raise the ResourceQuota"), "{message}");
        let ready = harness.until_condition("links", "Ready", "False", "PodRefused").await;
        assert!(ready.contains("exceeded quota: tight"), "{ready}");

        node.start().await;
        harness.until_condition("links", "Ready", "True", "Available").await;
    })
    .await;
}

#[tokio::test]
async fn a_receivers_pod_is_replaced_although_it_was_never_ready() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let _node = harness.webhook("links", |_| {}).await;
        let workload = until_some("the StatefulSet exists", async || {
            harness.api::<StatefulSet>().get_opt("links-receiver").await.unwrap()
        })
        .await;
        // The controller replaces such a pod only with this policy.
        assert_eq!(workload.spec.unwrap().pod_management_policy.as_deref(), Some("Parallel"));
    })
    .await;
}
