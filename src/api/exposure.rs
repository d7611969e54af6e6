//! How a webhook's URL leads to its receiver.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the URL leads to the receiver.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'HTTPRoute') == has(self.gatewayRef)")
        .message("exposure.gatewayRef belongs to type HTTPRoute, and is needed there: write gatewayRef: {name: GATEWAY, namespace: NAMESPACE}"),
    validation = Rule::new("self.type == 'Ingress' || (!has(self.className) && !has(self.tlsSecretName))")
        .message("exposure.className and exposure.tlsSecretName belong to type Ingress: leave them out, or write type: Ingress"),
    validation = Rule::new("self.type in ['Ingress', 'HTTPRoute'] || !has(self.annotations)")
        .message("exposure.annotations belong to types Ingress and HTTPRoute: with any other there is no object to put them on"),
    validation = Rule::new("!has(self.annotations) || !self.annotations.exists(key, key.startsWith('cert-manager.io/')) || has(self.tlsSecretName)")
        .message("exposure.tlsSecretName is missing: write the name of the Secret that cert-manager is to keep the certificate in")
)]
pub struct Exposure {
    /// None: you route the host to the Service NAME-receiver yourself, port 80 (443 with tls). Service: the Service's cluster-local
    /// name is the URL, for a connection whose baseURL is inside the cluster too (the simulator). Ingress, HTTPRoute:
    /// the operator keeps an Ingress, or a route at a Gateway, named NAME-receiver, for exactly this URL.
    #[serde(rename = "type")]
    pub exposure_type: ExposureType,
    /// With type Ingress: the IngressClass, by name. Left out, the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// With type Ingress: the Secret in this namespace with the host's certificate (kubernetes.io/tls), put there by you
    /// or by cert-manager. Left out, the ingress controller's own default certificate serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tls_secret_name: Option<String>,
    /// With type HTTPRoute: the Gateway that the route is to hang on. It has the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_ref: Option<GatewayReference>,
    /// Put on the Ingress or HTTPRoute as they are: for cert-manager (cert-manager.io/cluster-issuer), for external-dns,
    /// for the ingress controller. Authentication and redirects keep Linktree out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), inner(length(max = 4096)))]
    #[x_kube(
        validation = Rule::new("self.all(key, size(key) <= 317 && !key.startsWith('webhooks.linktree-operator.dev/'))")
            .message("exposure.annotations cannot start with webhooks.linktree-operator.dev/: those are the operator's own")
    )]
    pub annotations: BTreeMap<String, String>,
}

/// How the URL leads to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExposureType {
    None,
    Service,
    Ingress,
    HTTPRoute,
}

/// Names a Gateway (gateway.networking.k8s.io), in whatever namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayReference {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace; left out, this object's. A listener of it must allow routes from here (allowedRoutes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The one listener to use, by name; left out, every listener whose host name fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}
