//! The receiver's objects are reconciled, and the operator shuts down cleanly.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, quiet_for, scenario},
    wait::until,
};

/// Edits the object and waits until the edit is reverted; deletes it and waits until it is recreated.
async fn tamper<K>(harness: &Harness, name: &str, edit: Value, pointer: &str)
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
{
    let api = harness.api::<K>();
    let read = async || serde_json::to_value(api.get_opt(name).await.unwrap()).unwrap();
    let before = read().await.pointer(pointer).cloned();
    assert!(before.is_some(), "{name} has no {pointer}");

    api.patch(name, &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
    until(&format!("{} {name} is reverted", K::kind(&())), async || read().await.pointer(pointer) == before.as_ref())
        .await;
    let uid = read().await["metadata"]["uid"].clone();
    api.delete(name, &DeleteParams::background()).await.unwrap();
    until(&format!("{} {name} is recreated", K::kind(&())), async || {
        let now = read().await;
        now["metadata"]["uid"].is_string() && now["metadata"]["uid"] != uid && now.pointer(pointer) == before.as_ref()
    })
    .await;
}

#[tokio::test]
async fn an_object_edited_or_deleted_is_restored() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let name = "links-receiver";
        let ports = json!({"spec": {"ports": [{"port": 81, "targetPort": 81}]}});
        tamper::<Service>(harness, name, ports, "/spec/ports/0/port").await;
        let automount = json!({"automountServiceAccountToken": true});
        tamper::<ServiceAccount>(harness, name, automount, "/automountServiceAccountToken").await;
        tamper::<NetworkPolicy>(harness, name, json!({"spec": {"ingress": []}}), "/spec/ingress").await;
        tamper::<StatefulSet>(harness, name, json!({"spec": {"replicas": 0}}), "/spec/replicas").await;
    })
    .await;
}

#[tokio::test]
async fn a_deleted_route_is_recreated_with_its_keys() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let secrets = harness.api::<Secret>();
        let route = async || secrets.get_opt("links-receiver-route").await.unwrap().and_then(|it| it.data);
        let before = route().await.unwrap();
        let broken = json!({"stringData": {"route.json": "{}"}});
        secrets.patch("links-receiver-route", &PatchParams::default(), &Patch::Merge(broken)).await.unwrap();
        until("the route is restored", async || route().await.as_ref() == Some(&before)).await;

        secrets.delete("links-receiver-route", &DeleteParams::default()).await.unwrap();
        until("the route exists again", async || route().await.is_some()).await;
        // Its admin token is new, and the receiver must load it before the operator can poll it again.
        harness.until_condition("links", "ReceiverAvailable", "True", "Available").await;
        harness.until_condition("links", "Ready", "True", "Available").await;
    })
    .await;
}

#[tokio::test]
async fn an_equal_quantity_in_another_unit_is_no_difference() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let mut node =
            harness.webhook("links", |spec| spec["receiver"] = json!({"journal": {"capacity": "1024Mi"}})).await;
        node.start().await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        let version = async || harness.api::<StatefulSet>().get("links-receiver").await.unwrap().resource_version();
        harness.trigger_reconciles("links", 3).await;
        let (before, reconciles) = (version().await, harness.operator_reconciles().await);
        quiet_for(Duration::from_secs(2)).await;
        assert_eq!(version().await, before);
        assert!(harness.operator_reconciles().await - reconciles <= 2, "the webhook is reconciled in a loop");
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_terminates_tls_waits_for_its_certificate() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let mut node = harness
            .webhook("links", |spec| {
                let tls = json!({"secretRef": {"name": "hooks-tls"}});
                spec["endpoint"]["managed"] =
                    json!({"host": "hooks.example.com", "exposure": {"type": "None"}, "tls": tls});
            })
            .await;
        node.start().await;
        let missing = harness.until_condition("links", "ReceiverAvailable", "False", "CertificateUnusable").await;
        assert!(
            missing.starts_with("the certificate in Secret hooks-tls is unusable: tls.crt cannot be read"),
            "{missing}"
        );

        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["hooks.example.com".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let pair = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hooks-tls"}, "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": certificate, "tls.key": key.serialize_pem()},
        });
        let params = PatchParams::apply("user");
        harness.api::<Secret>().patch("hooks-tls", &params, &Patch::Apply(pair)).await.unwrap();
        harness.until_condition("links", "ReceiverAvailable", "True", "Available").await;

        let version = async || harness.api::<StatefulSet>().get("links-receiver").await.unwrap().resource_version();
        let before = version().await;
        harness.put_secret("links-signing", "secret", "whsec_1").await;
        harness.trigger_reconciles("links", 2).await;
        assert_eq!(version().await, before, "a default of the API server was treated as a difference");
        let ports = harness.api::<Service>().get("links-receiver").await.unwrap().spec.unwrap().ports.unwrap();
        assert_eq!(ports.iter().map(|port| port.port).collect::<Vec<_>>(), [443]);
    })
    .await;
}

#[tokio::test]
async fn the_operator_exits_cleanly_within_two_seconds_of_sigterm() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let begun = linktree_operator::clock::monotonic();
        let status = harness.operator.terminate().await;
        assert!(status.success(), "{status}");
        assert!(begun.elapsed() < Duration::from_secs(2), "the exit took {:?}", begun.elapsed());
    })
    .await;
}
