//! A webhook is registered, and settled afterwards.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use kube::{ResourceExt, api::ListParams};
use serde_json::Value;

use crate::harness::{Harness, scenario};

#[tokio::test]
async fn a_webhook_is_registered_once_and_its_secret_is_stored() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        harness.until_condition("links", "Registered", "True", "Created").await;

        let subscriptions = harness.subscriptions().await;
        let calls = harness.calls_since(0).await;
        let posts = calls.iter().filter(|call| *call == "POST /v1/webhooks").count();
        assert_eq!((subscriptions.len(), posts), (1, 1), "{calls:?}");
        assert_eq!(subscriptions[0]["signing_secret"], harness.signing_secret("links").await);

        let status = harness.status("links").await;
        assert_eq!(status.sink_uri.as_deref(), Some("http://cms.marketing.svc.cluster.local/in"));
        assert_eq!(status.ce_attributes.len(), 2);
        assert_eq!(status.subscription.unwrap().id.as_deref(), subscriptions[0]["id"].as_str());
        assert_eq!(status.address.unwrap().url, subscriptions[0]["url"]);
        assert_eq!(harness.events().await, ["SubscriptionCreated"]);
    })
    .await;
}

#[tokio::test]
async fn the_printed_columns_show_the_state() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        harness.until_connection("Ready", "True", "Available").await;
        let id = harness.status("links").await.subscription.unwrap().id.unwrap();
        let row = columns(harness, "linktreewebhooks").await;
        assert_eq!((row["Ready"].as_str(), row["Reason"].as_str()), (Some("True"), Some("Available")), "{row:?}");
        assert_eq!((row["State"].as_str(), row["ID"].as_str()), (Some("Enabled"), Some(id.as_str())), "{row:?}");
        assert!(row["URL"].as_str().unwrap().starts_with(&format!("http://{}/h/", harness.host("links"))), "{row:?}");

        let row = columns(harness, "linktreeconnections").await;
        assert_eq!((row["Ready"].as_str(), row["Account"].as_str()), (Some("True"), Some("acc_1")), "{row:?}");
        assert!(row["Remaining"].as_i64().is_some_and(|remaining| remaining > 0), "{row:?}");
    })
    .await;
}

/// The only row of `kubectl get -o wide`, by column.
pub async fn columns(harness: &Harness, plural: &str) -> BTreeMap<String, Value> {
    let path = format!("/apis/webhooks.linktree-operator.dev/v1alpha1/namespaces/{}/{plural}", harness.namespace);
    let request = http::Request::get(path).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table: Value = harness.client.request(request.body(Vec::new()).unwrap()).await.unwrap();
    let names = table["columnDefinitions"].as_array().unwrap().iter();
    let names = names.map(|column| column["name"].as_str().unwrap().to_owned());
    names.zip(table["rows"][0]["cells"].as_array().unwrap().iter().cloned()).collect()
}

#[tokio::test]
async fn reconciling_a_settled_webhook_is_a_no_op() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        harness.trigger_reconciles("links", 3).await;
        let (before, call) = (versions(harness).await, harness.last_call().await);
        harness.trigger_reconciles("links", 20).await;
        let (after, calls) = (versions(harness).await, harness.calls_since(call).await);
        assert_eq!(after, before, "an object was written");
        assert!(calls.iter().all(|call| call.starts_with("GET /v1/webhooks?")), "{calls:?}");
    })
    .await;
}

/// The resource versions of the webhook and all its objects, except the Secret that the test patches.
async fn versions(harness: &Harness) -> BTreeMap<String, String> {
    async fn of<K>(harness: &Harness, versions: &mut BTreeMap<String, String>)
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        for object in harness.api::<K>().list(&ListParams::default()).await.unwrap() {
            let name = format!("{} {}", K::kind(&()), object.name_any());
            versions.insert(name, object.resource_version().unwrap());
        }
    }
    let mut versions = BTreeMap::new();
    of::<linktree_operator::api::webhook::LinktreeWebhook>(harness, &mut versions).await;
    of::<StatefulSet>(harness, &mut versions).await;
    of::<Service>(harness, &mut versions).await;
    of::<ServiceAccount>(harness, &mut versions).await;
    of::<NetworkPolicy>(harness, &mut versions).await;
    of::<Secret>(harness, &mut versions).await;
    versions.remove("Secret links-signing");
    versions
}
