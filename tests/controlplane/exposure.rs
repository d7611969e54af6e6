//! Exposure of the receiver: Ingress and HTTPRoute, the status that their controllers report, and the change from one
//! to the other. The tests act as the controllers.

use k8s_openapi::{
    api::networking::v1::Ingress, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use linktree_operator::api::webhook::LinktreeWebhook;
use serde_json::{Value, json};

use crate::{
    harness::{Harness, scenario},
    wait::{until, until_some},
};

/// A host that never resolves.
const HOST: &str = "hooks.invalid";
const NAME: &str = "links-receiver";

fn endpoint(exposure: &Value) -> Value {
    json!({"managed": {"host": HOST, "exposure": exposure}})
}

/// Patches the status, as a controller does.
async fn report(api: &Api<impl kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug>, status: Value) {
    api.patch_status(NAME, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await.unwrap();
}

#[tokio::test]
async fn an_ingress_is_reconciled_awaited_and_deleted_with_its_exposure() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let exposure = json!({
            "type": "Ingress", "className": "nginx", "tlsSecretName": "hooks-tls",
            "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt"},
        });
        let mut node = harness.webhook("links", |spec| spec["endpoint"] = endpoint(&exposure)).await;
        node.start().await;
        let message = harness.until_condition("links", "EndpointReachable", "False", "AddressPending").await;
        assert!(message.contains("IngressClass nginx"), "{message}");
        harness.until_condition("links", "Ready", "False", "AddressPending").await;

        let ingresses = harness.api::<Ingress>();
        let made = ingresses.get(NAME).await.unwrap();
        let url = harness.status("links").await.address.unwrap().url;
        let rule = &made.spec.as_ref().unwrap().rules.as_ref().unwrap()[0];
        let path = rule.http.as_ref().unwrap().paths[0].path.clone().unwrap();
        assert_eq!(format!("https://{}{path}", rule.host.as_ref().unwrap()), url);
        let annotations = made.metadata.annotations.clone().unwrap();
        assert_eq!(annotations["cert-manager.io/cluster-issuer"], "letsencrypt");

        // A manual edit is reverted. A controller's annotation stays.
        let edit = json!({"metadata": {"annotations": {"theirs": "stays"}}, "spec": {"ingressClassName": "other"}});
        ingresses.patch(NAME, &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
        until("the class is reverted", async || {
            let now = ingresses.get(NAME).await.unwrap();
            now.metadata.annotations.unwrap().contains_key("theirs")
                && now.spec.unwrap().ingress_class_name.as_deref() == Some("nginx")
        })
        .await;

        report(&ingresses, json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}})).await;
        // From now on the probe reports the fault.
        harness.until_condition("links", "EndpointReachable", "False", "DNSFailed").await;

        harness
            .change::<LinktreeWebhook>(
                "links",
                json!({"spec": {"endpoint": {"managed": {"exposure": {
                    "type": "None", "className": null, "tlsSecretName": null, "annotations": null,
                }}}}}),
            )
            .await;
        until("the Ingress is gone", async || ingresses.get_opt(NAME).await.unwrap().is_none()).await;
    })
    .await;
}

#[tokio::test]
async fn a_foreign_ingress_is_not_changed() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let theirs = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": NAME},
            "spec": {"defaultBackend": {"service": {"name": "theirs", "port": {"number": 80}}}},
        });
        harness.create::<Ingress>(theirs).await.unwrap();
        let mut node = harness.webhook("links", |spec| spec["endpoint"] = endpoint(&json!({"type": "None"}))).await;
        node.start().await;
        harness.until_condition("links", "EndpointReachable", "False", "DNSFailed").await;
        let reconciles = harness.operator_reconciles().await;
        until("the webhook is reconciled twice more", async || harness.operator_reconciles().await > reconciles + 1)
            .await;
        let kept = harness.api::<Ingress>().get(NAME).await.unwrap();
        assert_eq!((kept.metadata.deletion_timestamp, kept.metadata.owner_references), (None, None));
    })
    .await;
}

/// The CRD of HTTPRoute, which the launcher puts on the PATH.
fn definition() -> CustomResourceDefinition {
    let path = std::env::var_os("PATH").unwrap();
    let file = std::env::split_paths(&path).map(|directory| directory.join("httproutes.yaml")).find(|it| it.is_file());
    serde_yaml_ng::from_str(
        &std::fs::read_to_string(file.expect("httproutes.yaml is not on the PATH: run `make test-controlplane`"))
            .unwrap(),
    )
    .unwrap()
}

async fn install(harness: &Harness) {
    let api: Api<CustomResourceDefinition> = Api::all(harness.client.clone());
    let definition = definition();
    let name = definition.metadata.name.clone().unwrap();
    api.create(&kube::api::PostParams::default(), &definition).await.unwrap();
    until("HTTPRoutes are served", async || {
        let conditions = api.get(&name).await.unwrap().status.and_then(|status| status.conditions);
        conditions.into_iter().flatten().any(|it| it.type_ == "Established" && it.status == "True")
    })
    .await;
}

async fn uninstall(harness: &Harness) {
    let api: Api<CustomResourceDefinition> = Api::all(harness.client.clone());
    let name = definition().metadata.name.unwrap();
    if api.get_opt(&name).await.unwrap().is_some() {
        api.delete(&name, &DeleteParams::default()).await.unwrap();
        until("HTTPRoutes are no longer served", async || api.get_opt(&name).await.unwrap().is_none()).await;
    }
}

fn routes(harness: &Harness) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"));
    Api::namespaced_with(harness.client.clone(), &harness.namespace, &kind)
}

/// Patches the route's status, as the Gateway's controller does.
async fn report_route(routes: &Api<DynamicObject>, accepted: (&str, &str), resolved: (&str, &str)) {
    let route = routes.get(NAME).await.unwrap();
    let condition = |of: &str, (status, reason): (&str, &str)| {
        json!({
            "type": of, "status": status, "reason": reason, "message": format!("the gateway says {reason}"),
            "observedGeneration": route.metadata.generation, "lastTransitionTime": "2026-11-24T00:00:00Z",
        })
    };
    let parent = json!({
        "controllerName": "example.com/gateway",
        "parentRef": route.data["spec"]["parentRefs"][0],
        "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", resolved)],
    });
    report(routes, json!({"parents": [parent]})).await;
}

/// One test, since a CRD is cluster-scoped.
#[tokio::test]
async fn a_route_waits_for_the_gateway_api_and_its_gateway_and_then_replaces_the_ingress() {
    scenario(async |harness| {
        uninstall(harness).await;
        harness.connect(|_| {}).await;
        let ingress = endpoint(&json!({"type": "Ingress"}));
        let mut node = harness.webhook("links", |spec| spec["endpoint"] = ingress).await;
        node.start().await;
        harness.until_condition("links", "EndpointReachable", "False", "AddressPending").await;

        let gateway = json!({"name": "public", "namespace": "infra", "sectionName": "https"});
        let exposure =
            json!({"type": "HTTPRoute", "gatewayRef": gateway, "annotations": {"example.com/team": "links"}});
        harness.change::<LinktreeWebhook>("links", json!({"spec": {"endpoint": endpoint(&exposure)}})).await;
        let message = harness.until_condition("links", "EndpointReachable", "False", "GatewayApiMissing").await;
        assert!(message.contains("install the custom resource definitions of the Gateway API"), "{message}");
        harness.until_condition("links", "Stalled", "True", "GatewayApiMissing").await;

        install(harness).await;
        let message = harness.until_condition("links", "EndpointReachable", "False", "RoutePending").await;
        assert!(message.contains("Gateway infra/public, listener https"), "{message}");
        let routes = routes(harness);
        let route = until_some("the route exists", async || routes.get_opt(NAME).await.unwrap()).await;
        assert_eq!(route.data["spec"]["hostnames"], json!([HOST]));
        assert_eq!(route.metadata.annotations.unwrap()["example.com/team"], "links");

        report_route(&routes, ("False", "NotAllowedByListeners"), ("True", "ResolvedRefs")).await;
        let message = harness.until_condition("links", "EndpointReachable", "False", "RouteNotAccepted").await;
        assert!(message.contains("NotAllowedByListeners: the gateway says NotAllowedByListeners"), "{message}");
        report_route(&routes, ("True", "Accepted"), ("False", "BackendNotFound")).await;
        harness.until_condition("links", "EndpointReachable", "False", "RouteNotResolved").await;
        let ingresses = harness.api::<Ingress>();
        assert!(ingresses.get_opt(NAME).await.unwrap().is_some(), "the Ingress was deleted before the route was ready");

        report_route(&routes, ("True", "Accepted"), ("True", "ResolvedRefs")).await;
        harness.until_condition("links", "EndpointReachable", "False", "DNSFailed").await;
        until("the Ingress is gone", async || ingresses.get_opt(NAME).await.unwrap().is_none()).await;

        // A foreign rewrite would misdirect deliveries.
        let rewrite = json!([{"type": "URLRewrite", "urlRewrite": {"hostname": "elsewhere.example.com"}}]);
        let mut rules = routes.get(NAME).await.unwrap().data["spec"]["rules"].clone();
        let before = rules.clone();
        rules[0]["filters"] = rewrite;
        let edit = json!({"spec": {"rules": rules}});
        routes.patch(NAME, &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
        until("the rewrite is reverted", async || {
            let rules = routes.get(NAME).await.unwrap().data["spec"]["rules"].clone();
            rules[0]["filters"].as_array().is_none_or(Vec::is_empty) && rules[0]["matches"] == before[0]["matches"]
        })
        .await;
        uninstall(harness).await;
    })
    .await;
}
