//! Where Linktree delivers to: the bundled receiver, or one of the user's own.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LocalObjectReference, exposure::Exposure};

/// Where Linktree delivers to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'Managed' ? has(self.managed) : !has(self.managed)")
        .message("endpoint.managed goes with endpoint.type Managed: write managed for the bundled receiver, or type External and external.url for your own"),
    validation = Rule::new("self.type == 'External' ? has(self.external) : !has(self.external)")
        .message("endpoint.external goes with endpoint.type External: write both, or neither")
)]
pub struct Endpoint {
    /// Managed: the bundled receiver, run by the operator. External: a receiver of your own. The operator then keeps the
    /// subscription and its signing secret, and nothing else: verifying, keeping and passing on are up to your receiver.
    /// One may be changed into the other. The receiver that is no longer wanted goes once Linktree sends to its
    /// successor; the volume with its journal stays until this object is deleted.
    #[serde(rename = "type", default)]
    pub endpoint_type: EndpointType,
    /// The bundled receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedEndpoint>,
    /// A receiver of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalEndpoint>,
}

/// Who receives what Linktree delivers.
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
    /// The URL that is registered: https, or, where the connection's baseURL is inside the cluster, http to a Service of
    /// this namespace. It belongs to one webhook of the account only. Once a minute it is sent an empty, unsigned POST
    /// with the header x-linktree-receiver: 1, which a receiver that verifies refuses: 401 or another 4xx but 404, 405,
    /// 408, 410 and 429 shows that it is there. The signing secret that Linktree's API returns is kept in the Secret
    /// NAME-signing, key secret.
    #[schemars(length(max = 2048))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[!-~]*)?$') && !self.contains('#')")
            .message("endpoint.external.url must be a URL such as https://hooks.example.com/linktree, without credentials and fragment"),
        validation = Rule::new("!self.startsWith('http://') || self.matches('^http://[a-z0-9-]+[.][a-z0-9-]+[.]svc([.]cluster[.]local)?(:[0-9]{1,5})?(/.*)?$')")
            .message("endpoint.external.url must be https://: http:// is for a Service of this namespace, as http://NAME.NAMESPACE.svc.cluster.local/")
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
        .message("endpoint.managed.tls needs exposure.type None: with any other, TLS ends before the receiver")
)]
pub struct ManagedEndpoint {
    /// Public host name. Linktree is given https://HOST/h/DIGEST, where DIGEST is derived from this object's namespace
    /// and name only: it carries no secret and never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"))]
    pub host: Option<String>,
    /// How the URL leads to the receiver.
    pub exposure: Exposure,
    /// TLS in the receiver itself, for a way to it that passes TLS through. Left out, the receiver speaks plain HTTP at
    /// port 80 of its Service, and TLS ends before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// TLS in the receiver itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// A Secret of this namespace of type kubernetes.io/tls, such as cert-manager makes: tls.crt with the certificate and
    /// what it was signed with, tls.key with its key. Deliveries are then served over HTTPS at port 443 of the Service
    /// NAME-receiver, and in no other way. A renewed certificate is taken up without a restart, within about a minute.
    pub secret_ref: LocalObjectReference,
}
