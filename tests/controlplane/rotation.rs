//! Rotation of signing keys with overlap, and storage of Linktree's secret.

use k8s_openapi::api::{admissionregistration::v1 as admission, core::v1::Secret};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use linktree_operator::{
    api::{
        connection::{Capability, LinktreeConnection},
        webhook::LinktreeWebhook,
    },
    clock,
    linktree::{client::Linktree, event::EventType, wire::CreateSubscription},
};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, TOKEN, scenario},
    wait::{until, until_some},
};

async fn request(harness: &Harness, value: &str) {
    let annotation = json!({"webhooks.linktree-operator.dev/rotate-secret-requested-at": value});
    harness.change::<LinktreeWebhook>("links", json!({"metadata": {"annotations": annotation}})).await;
}

async fn until_handled(harness: &Harness, value: &str) {
    until("the rotation is handled", async || {
        harness.status("links").await.last_handled_rotate_secret_request.as_deref() == Some(value)
    })
    .await;
}

fn rotations(calls: &[String]) -> usize {
    calls.iter().filter(|call| call.ends_with("/rotate-secret")).count()
}

fn registrations(calls: &[String]) -> usize {
    calls.iter().filter(|call| *call == "POST /v1/webhooks").count()
}

#[tokio::test]
async fn a_requested_rotation_rejects_no_delivery_signed_before_or_after() {
    scenario(async |harness| {
        let node = harness.settled("links").await;
        let (path, old) = (harness.delivery_path("links").await, harness.signing_secret("links").await);
        assert_eq!(node.deliver(&path, "d1", &old).await, 200);
        request(harness, "2026-09-20T10:00:00Z").await;
        until_handled(harness, "2026-09-20T10:00:00Z").await;
        let new = harness.signing_secret("links").await;
        assert_ne!(new, old);
        assert_eq!(harness.subscriptions().await[0]["signing_secret"], new.as_str());

        until("the receiver has both keys", async || node.receiver_keys() == [new.as_str(), &old]).await;
        until("the new key is accepted", async || node.deliver(&path, "d2", &new).await == 200).await;
        harness.trigger_reconciles("links", 1).await;
        harness.until_condition("links", "SignaturesVerified", "True", "Verified").await;
        assert_eq!(node.deliver(&path, "d3", &old).await, 200);
        harness.trigger_reconciles("links", 1).await;
        let message = harness.until_condition("links", "SignaturesVerified", "True", "PreviousKeyInUse").await;
        assert!(message.contains("provider-previous"), "{message}");
        harness.trigger_reconciles("links", 3).await;
        assert_eq!(rotations(&harness.calls_since(0).await), 1, "a request is handled once");
        // The sink does not exist: it may be held by now.
        until("the rotation has an Event", async || {
            harness
                .events()
                .await
                .iter()
                .filter(|reason| *reason != "SinkHeld")
                .eq(["SubscriptionCreated", "SecretRotated"])
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_user_key_expires_exactly_at_its_time() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        harness.put_secret("own-new", "secret", "new-secret").await;
        harness.put_secret("own-old", "secret", "old-secret").await;
        let key = |name: &str| json!({"name": name, "secretRef": {"name": format!("own-{name}"), "key": "secret"}});
        let mut node =
            harness.webhook("links", |spec| spec["signing"] = json!({"keys": [key("new"), key("old")]})).await;
        node.start().await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        let path = harness.delivery_path("links").await;
        assert_eq!(node.deliver(&path, "d1", "old-secret").await, 200);

        let end = jiff::Timestamp::from_second(clock::now().as_second() + 4).unwrap();
        let mut expiring = key("old");
        expiring["notAfterTime"] = end.to_string().into();
        let keys = json!({"spec": {"signing": {"keys": [key("new"), expiring]}}});
        harness.change::<LinktreeWebhook>("links", keys).await;
        until("the operator has dropped the expired key", async || node.receiver_keys() == ["new-secret"]).await;
        let late = clock::now().duration_since(end).as_secs();
        assert!((0..3).contains(&late), "{late} s after its expiry");
        until("the receiver rejects the expired key", async || node.deliver(&path, "d2", "old-secret").await == 403)
            .await;
        assert_eq!(node.deliver(&path, "d3", "new-secret").await, 200);
        let message = harness.until_condition("links", "SigningKeysReady", "True", "Loaded").await;
        assert!(message.ends_with("no longer used: old"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn no_secret_is_requested_that_cannot_be_stored() {
    scenario(async |harness| {
        let blocked = json!({
            "apiVersion": "v1", "kind": "Secret", "immutable": true,
            "metadata": {"name": "links-signing", "labels": {"app.kubernetes.io/managed-by": "linktree-webhook-operator"}},
            "stringData": {"other": "something"},
        });
        harness
            .api::<Secret>()
            .create(&PostParams::default(), &serde_json::from_value(blocked).unwrap())
            .await
            .unwrap();
        harness.connect(|_| {}).await;
        let mut node = harness.webhook("links", |_| {}).await;
        node.start().await;
        let message = harness.until_condition("links", "SigningKeysReady", "False", "SecretNotKept").await;
        assert!(message.contains("immutable"), "{message}");
        harness.until_condition("links", "Ready", "False", "Pending").await;
        assert_eq!(registrations(&harness.calls_since(0).await), 0);

        harness.api::<Secret>().delete("links-signing", &DeleteParams::default()).await.unwrap();
        harness.until_condition("links", "Ready", "True", "Available").await;
        assert_eq!(registrations(&harness.calls_since(0).await), 1);
    })
    .await;
}

/// Makes the API server reject the signing Secret, but admit its dry run. Returns the call that removes this policy.
async fn reject_secrets(harness: &Harness) -> impl AsyncFnOnce() + use<> {
    let name = format!("reject-{}", harness.namespace);
    let policy = json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"]},
            ]},
            "validations": [{
                "expression": "request.name != 'links-signing' || (has(request.dryRun) && request.dryRun)",
                "message": "not now",
            }],
        },
    });
    let binding = json!({
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": harness.namespace}}},
        },
    });
    let policies: Api<admission::ValidatingAdmissionPolicy> = Api::all(harness.client.clone());
    let bindings: Api<admission::ValidatingAdmissionPolicyBinding> = Api::all(harness.client.clone());
    policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    let probe = json!({"metadata": {"name": "links-signing"}});
    let probe: Secret = serde_json::from_value(probe).unwrap();
    until("the policy is in force", async || {
        let secrets = harness.api::<Secret>();
        match secrets.create(&PostParams::default(), &probe).await {
            Err(error) => error.to_string().contains("not now"),
            Ok(_) => {
                secrets.delete("links-signing", &DeleteParams::default()).await.unwrap();
                false
            }
        }
    })
    .await;
    async move || {
        bindings.delete(&name, &DeleteParams::default()).await.unwrap();
        policies.delete(&name, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_secret_is_replaced_by_a_new_one() {
    scenario(async |harness| {
        let admit_again = reject_secrets(harness).await;
        harness.connect(|_| {}).await;
        let mut node = harness.webhook("links", |_| {}).await;
        node.start().await;
        let message = harness.until_condition("links", "SigningKeysReady", "False", "SecretNotKept").await;
        assert!(message.contains("left out, since it may quote a Secret"), "{message}");
        admit_again().await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        let calls = harness.calls_since(0).await;
        assert!((registrations(&calls), rotations(&calls) >= 1) == (1, true), "{calls:?}");
        assert_eq!(harness.subscriptions().await[0]["signing_secret"], harness.signing_secret("links").await.as_str());
    })
    .await;
}

#[tokio::test]
async fn a_404_to_a_rotation_means_unsupported_only_while_the_subscription_exists() {
    scenario(async |harness| {
        let mut node = harness.webhook("links", |_| {}).await;
        let url = until_some("the webhook has a url", async || Some(harness.status("links").await.address?.url)).await;
        let events = vec![EventType::LinkCreated, EventType::LinkUpdated];
        let made = harness.linktree.client(TOKEN).create(&CreateSubscription { url, events }).await.unwrap();
        harness.fault(json!({"kind": "status", "status": 404, "method": "POST", "path": "*rotate-secret"})).await;
        harness.connect(|spec| spec["syncPeriodSeconds"] = 86_400.into()).await;
        node.start().await;
        let message = harness.until_condition("links", "SigningKeysReady", "False", "AwaitingProviderSecret").await;
        assert!(message.contains("key secret of Secret links-signing"), "{message}");
        let rotation = async || harness.connection().await.status.unwrap().capabilities.unwrap().rotate_secret;

        // A requested sync also retries unsupported calls.
        harness.clear_faults().await;
        harness.request_sync::<LinktreeConnection>("brand", "now").await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        assert_eq!(harness.subscriptions().await[0]["signing_secret"], harness.signing_secret("links").await.as_str());

        // This 404 concerns the subscription, whose deletion is not detected yet.
        harness.linktree.control("DELETE", &format!("/subscriptions/{}", made.id), Value::Null).await;
        request(harness, "once").await;
        until("there is another subscription", async || harness.subscriptions().await.len() == 1).await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        assert_eq!(harness.subscriptions().await[0]["signing_secret"], harness.signing_secret("links").await.as_str());
        assert_ne!(rotation().await, Capability::Unsupported);
    })
    .await;
}
