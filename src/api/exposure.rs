//! How a webhook's URL is routed to its receiver.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the URL is routed to the receiver.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'HTTPRoute') == has(self.gatewayRef)")
        .message("exposure.gatewayRef belongs to type HTTPRoute, and is needed there: write gatewayRef: {name: GATEWAY, namespace: NAMESPACE}"),
    validation = Rule::new("self.type == 'Ingress' || (!has(self.className) && !has(self.tlsSecretName))")
        .message("exposure.className and exposure.tlsSecretName belong to type Ingress: leave them out, or write type: Ingress"),
    validation = Rule::new("self.type in ['Ingress', 'HTTPRoute'] || !has(self.annotations)")
        .message("exposure.annotations belong to types Ingress and HTTPRoute: leave them out, because other types have no object to annotate"),
    validation = Rule::new("!has(self.annotations) || !self.annotations.exists(key, key.startsWith('cert-manager.io/')) || has(self.tlsSecretName)")
        .message("exposure.tlsSecretName is missing: write the name of the Secret that cert-manager stores the certificate in")
)]
pub struct Exposure {
    /// None: you route the host to port 80 of Service NAME-receiver yourself (443 with tls). Service: the URL is the
    /// Service's cluster-local name, for a connection whose baseURL is inside the cluster too (the simulator). Ingress,
    /// HTTPRoute: the operator manages an Ingress or HTTPRoute named NAME-receiver for exactly this URL.
    #[serde(rename = "type")]
    pub exposure_type: ExposureType,
    /// With type Ingress: the name of the IngressClass. If omitted, the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// With type Ingress: the Secret in this namespace with the host's certificate (kubernetes.io/tls), created by you
    /// or by cert-manager. If omitted, the ingress controller serves its default certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tls_secret_name: Option<String>,
    /// With type HTTPRoute: the Gateway that the route attaches to. The Gateway has the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_ref: Option<GatewayReference>,
    /// Annotations to copy unchanged to the Ingress or HTTPRoute: for cert-manager (cert-manager.io/cluster-issuer),
    /// external-dns, or the ingress controller. Do not enable authentication or redirects: Linktree's deliveries would
    /// fail.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), inner(length(max = 4096)))]
    #[x_kube(
        validation = Rule::new("self.all(key, size(key) <= 317 && !key.startsWith('webhooks.linktree-operator.dev/'))")
            .message("exposure.annotations cannot start with webhooks.linktree-operator.dev/: that prefix is reserved for the operator")
    )]
    pub annotations: BTreeMap<String, String>,
}

/// How the URL is routed to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExposureType {
    None,
    Service,
    Ingress,
    HTTPRoute,
}

/// A reference to a Gateway (gateway.networking.k8s.io) in any namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayReference {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Gateway; if omitted, this object's. One of its listeners must allow routes from this namespace
    /// (allowedRoutes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The name of the listener to use; if omitted, every listener whose host name matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}
