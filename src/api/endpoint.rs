//! The endpoint that Linktree delivers to: the bundled receiver, or a receiver of your own.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{exposure::Exposure, reference::LocalObjectReference};

/// The endpoint that Linktree delivers to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'Managed' ? has(self.managed) : !has(self.managed)")
        .message("endpoint.managed goes with endpoint.type Managed: set managed for the bundled receiver, or type External and external.url for your own"),
    validation = Rule::new("self.type == 'External' ? has(self.external) : !has(self.external)")
        .message("endpoint.external goes with endpoint.type External: set both or neither")
)]
pub struct Endpoint {
    /// Managed: the operator runs the bundled receiver. External: a receiver of your own; the operator then manages
    /// only the subscription and its signing secret, and your receiver verifies, stores and forwards the events. You
    /// can change the type at any time. The bundled receiver is deleted once Linktree sends to the external one; its
    /// journal volume stays until this object is deleted.
    #[serde(rename = "type", default)]
    pub endpoint_type: EndpointType,
    /// The bundled receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedEndpoint>,
    /// A receiver of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalEndpoint>,
}

/// Which receiver Linktree delivers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EndpointType {
    #[default]
    Managed,
    External,
}

/// A receiver of your own.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalEndpoint {
    /// The URL to register: https, or http to a Service in this namespace if the connection's baseURL is inside the
    /// cluster. Only one webhook of the account may use it. Once a minute the operator probes it with an empty,
    /// unsigned POST that has the header x-linktree-receiver: 1. A receiver that verifies signatures rejects it: 401,
    /// or any other 4xx except 404, 405, 408, 410 and 429, counts as reachable. The signing secret that Linktree's API
    /// returns is stored in key secret of Secret NAME-signing.
    #[schemars(length(max = 2048))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[!-~]*)?$') && !self.contains('#')")
            .message("endpoint.external.url must be a URL such as https://hooks.example.com/linktree, without credentials or fragment"),
        validation = Rule::new("!self.startsWith('http://') || self.matches('^http://[a-z0-9-]+[.][a-z0-9-]+[.]svc([.]cluster[.]local)?(:[0-9]{1,5})?(/.*)?$')")
            .message("endpoint.external.url must be https://: http:// is only for a Service in this namespace, such as http://NAME.NAMESPACE.svc.cluster.local/")
    )]
    pub url: String,
}

/// How the bundled receiver is reached.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.exposure.type == 'Service' || has(self.host)")
        .message("endpoint.managed.host is missing: write the public host name that leads to the receiver"),
    validation = Rule::new("self.exposure.type != 'Service' || !has(self.host)")
        .message("endpoint.managed.host must be left out with exposure.type Service: the URL is the Service's own name"),
    validation = Rule::new("!has(self.tls) || self.exposure.type == 'None'")
        .message("endpoint.managed.tls needs exposure.type None: with any other type, TLS ends before the receiver")
)]
pub struct ManagedEndpoint {
    /// Public host name. The registered URL is https://HOST/h/DIGEST, where DIGEST is derived only from this object's
    /// namespace and name: it contains no secret and never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"))]
    pub host: Option<String>,
    /// How the URL is routed to the receiver.
    pub exposure: Exposure,
    /// Terminates TLS in the receiver, for a load balancer that passes TLS through. If omitted, the receiver serves
    /// plain HTTP at port 80 of its Service, and TLS must be terminated in front of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// TLS termination in the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// A Secret of type kubernetes.io/tls in this namespace, such as cert-manager creates: tls.crt with the certificate
    /// chain, tls.key with the private key. The receiver then accepts deliveries only over HTTPS, at port 443 of
    /// Service NAME-receiver. It loads a renewed certificate within about a minute, without a restart.
    pub secret_ref: LocalObjectReference,
}
