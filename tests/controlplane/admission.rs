//! Admission policies of a real API server that change the receiver's StatefulSet each time it is written: the operator
//! accepts what is kept, names the field, and does not write it again and again.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, quiet_for, scenario},
    wait::until,
};

const RECEIVER: &str = "links-receiver";
/// The annotation in which the policy counts the writes.
const WRITES: &str = "example.com/writes";
/// The operator wrote 22 to 43 times a second in this time, before it accepted what the API server keeps.
const QUIET: Duration = Duration::from_secs(10);

/// Creates a policy that sets a field of all StatefulSets of the namespace and counts their writes. Returns the call
/// that removes it.
async fn set_always(harness: &Harness, path: &str, value: &str) -> impl AsyncFnOnce() + use<> {
    let name = format!("set-{}", harness.namespace);
    let count = format!(
        "'{WRITES}' in object.metadata.annotations ? string(int(object.metadata.annotations['{WRITES}']) + 1) : '1'"
    );
    let patches = format!(
        "[JSONPatch{{op: 'add', path: '{path}', value: '{value}'}}, \
         JSONPatch{{op: 'add', path: '/metadata/annotations/{}', value: {count}}}]",
        WRITES.replace('/', "~1"),
    );
    let policy = json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": ["statefulsets"],
            }]},
            "matchConditions": [{"name": "receiver", "expression": "has(object.metadata.annotations)"}],
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patches}}],
        },
    });
    let binding = json!({
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": harness.namespace}}},
        },
    });
    let policies = of_admission(&harness.client, "MutatingAdmissionPolicy");
    let bindings = of_admission(&harness.client, "MutatingAdmissionPolicyBinding");
    policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    async move || {
        bindings.delete(&name, &DeleteParams::default()).await.unwrap();
        policies.delete(&name, &DeleteParams::default()).await.unwrap();
    }
}

/// Objects of a kind that the client library does not have.
fn of_admission(client: &Client, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
    Api::all_with(client.clone(), &ApiResource::from_gvk(&kind))
}

async fn workload(harness: &Harness) -> Value {
    serde_json::to_value(harness.api::<StatefulSet>().get(RECEIVER).await.unwrap()).unwrap()
}

async fn writes(harness: &Harness) -> usize {
    let annotations = harness.api::<StatefulSet>().get(RECEIVER).await.unwrap().annotations().clone();
    annotations.get(WRITES).map_or(0, |count| count.parse().unwrap())
}

/// A policy sets the field at `path` while the webhook is in use: the webhook stays ready, and its condition names the
/// field.
async fn is_accepted(path: &str, value: &str) {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let remove = set_always(harness, path, value).await;
        // Any write of another makes the policy act.
        let mut touched = 0;
        until("the policy is in force", async || {
            touched += 1;
            let edit = json!({"metadata": {"annotations": {"example.com/touched": touched.to_string()}}});
            let api = harness.api::<StatefulSet>();
            api.patch(RECEIVER, &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
            writes(harness).await > 0
        })
        .await;
        let field = path.rsplit('/').next().unwrap();
        until("a condition names the field", async || {
            let conditions = harness.status("links").await.conditions;
            conditions.iter().any(|it| it.message.contains("StatefulSet") && it.message.contains(field))
        })
        .await;
        let first = writes(harness).await;
        assert!(first <= 6, "{first} writes until the value was accepted");
        quiet_for(QUIET).await;
        let all = writes(harness).await;
        assert!(all <= first + 1, "{} writes in {QUIET:?}", all - first);
        assert_eq!(workload(harness).await.pointer(path), Some(&json!(value)));
        harness.until_condition("links", "Ready", "True", "Available").await;

        remove().await;
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_raises_the_requests_is_accepted() {
    is_accepted("/spec/template/spec/containers/0/resources/requests/cpu", "500m").await;
}

#[tokio::test]
async fn a_policy_that_rewrites_the_image_is_accepted() {
    is_accepted("/spec/template/spec/containers/0/image", "mirror.example.com/linktree-webhook-operator:1").await;
}
