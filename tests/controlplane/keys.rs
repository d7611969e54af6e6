//! Signing keys from user Secrets, and their delivery to the receiver.

use kube::ResourceExt;
use serde_json::json;

use crate::{
    harness::{Harness, scenario},
    kubelet::ROUTE_DIGEST,
    wait::until,
};

async fn digest(harness: &Harness, key: &str) -> Option<String> {
    harness.status("links").await.signing?.key_digests.get(key).cloned()
}

#[tokio::test]
async fn a_missing_user_key_is_named_and_used_once_it_exists_or_changes() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let keys = json!([{"name": "k1", "secretRef": {"name": "own-keys", "key": "current"}}]);
        let mut node = harness.webhook("links", |spec| spec["signing"] = json!({"keys": keys})).await;
        node.start().await;
        let message = harness.until_condition("links", "SigningKeysReady", "False", "SecretMissing").await;
        assert!(message.contains("key current of Secret own-keys"), "{message}");
        harness.until_condition("links", "Stalled", "True", "SecretMissing").await;

        harness.put_secret("own-keys", "current", "first-secret").await;
        harness.until_condition("links", "SigningKeysReady", "True", "Loaded").await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        let first = digest(harness, "k1").await.unwrap();

        harness.put_secret("own-keys", "current", "second-secret").await;
        until("the digest changes", async || digest(harness, "k1").await.is_some_and(|second| second != first)).await;
        // The pod's annotation makes the kubelet sync, and the receiver has the key.
        until("the receiver has the new key", async || node.receiver_keys() == ["second-secret"]).await;
        let pods = harness.api::<k8s_openapi::api::core::v1::Pod>();
        let pod = pods.get(&node.pod_name()).await.unwrap();
        assert!(pod.annotations().contains_key(ROUTE_DIGEST));
        assert_eq!(harness.api::<k8s_openapi::api::core::v1::Secret>().get_opt("links-signing").await.unwrap(), None);
    })
    .await;
}
