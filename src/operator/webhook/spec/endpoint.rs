//! The endpoint that Linktree delivers to, parsed, and its URL.

use sha2::{Digest, Sha256};
use url::Url;

use super::{
    exposure::Exposure,
    invalid::{InvalidSpec, invalid},
};
use crate::{
    api::{
        endpoint::{self as api, EndpointType},
        exposure::ExposureType,
    },
    operator::kubernetes::names,
    route::WebhookName,
};

/// The receiver that Linktree delivers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The bundled receiver, which the operator runs.
    Managed(Managed),
    /// The user's own receiver: the operator manages only the subscription.
    External,
}

/// How Linktree reaches the bundled receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    pub exposure: Exposure,
    /// The name of the Secret with the certificate, if the receiver terminates TLS itself.
    pub tls_secret: Option<String>,
}

impl Endpoint {
    /// Parses the endpoint, and returns the URL to register for it.
    pub(super) fn parse(name: &WebhookName, endpoint: &api::Endpoint) -> Result<(Self, Url), InvalidSpec> {
        let api::Endpoint { endpoint_type, managed, external } = endpoint;
        match (endpoint_type, managed, external) {
            (EndpointType::Managed, Some(managed), _) => {
                let api::ManagedEndpoint { host: _, exposure, tls } = managed;
                let exposure = Exposure::parse(name, exposure)?;
                let tls_secret = tls.as_ref().map(|tls| tls.secret_ref.name.clone());
                Ok((Endpoint::Managed(Managed { exposure, tls_secret }), managed_url(name, managed)?))
            }
            (EndpointType::External, _, Some(external)) => Ok((Endpoint::External, external_url(name, &external.url)?)),
            (EndpointType::Managed, None, _) => {
                Err(invalid("endpoint.managed", "is missing: write exposure and host of the bundled receiver"))
            }
            (EndpointType::External, _, None) => {
                Err(invalid("endpoint.external", "is missing: write url, the URL of your receiver"))
            }
        }
    }
}

/// The path of the bundled receiver's URL: `/h/` and half of the SHA-256 of `namespace/name` of the webhook.
///
/// The path stays the same when the cluster is rebuilt, differs for each webhook, and reveals no secret.
fn delivery_path(name: &WebhookName) -> String {
    let digest = Sha256::digest(format!("{}/{}", name.namespace, name.name));
    format!("/h/{}", hex::encode(&digest[..16]))
}

fn managed_url(name: &WebhookName, endpoint: &api::ManagedEndpoint) -> Result<Url, InvalidSpec> {
    let path = delivery_path(name);
    let url = match (endpoint.exposure.exposure_type, &endpoint.host) {
        (ExposureType::Service, _) => {
            format!("http://{}.{}.svc.cluster.local{path}", names::receiver(&name.name), name.namespace)
        }
        (ExposureType::None | ExposureType::Ingress | ExposureType::HTTPRoute, Some(host)) => {
            format!("https://{host}{path}")
        }
        (ExposureType::None | ExposureType::Ingress | ExposureType::HTTPRoute, None) => {
            return Err(invalid("endpoint.managed.host", "is missing: write the public host name"));
        }
    };
    Url::parse(&url)
        .map_err(|_| invalid("endpoint.managed.host", "is not a host name: write one such as hooks.example.com"))
}

/// Parses the URL of an external receiver.
///
/// The operator sends a probe, a POST, to this URL from inside the cluster. An `http://` URL must be a Service in the
/// webhook's namespace, so that a user cannot direct the probe to Services in other namespaces.
fn external_url(name: &WebhookName, url: &str) -> Result<Url, InvalidSpec> {
    const FIELD: &str = "endpoint.external.url";
    let parsed = Url::parse(url)
        .map_err(|_| invalid(FIELD, "is not a URL: write one such as https://hooks.example.com/linktree"))?;
    let host = parsed.host_str().unwrap_or_default();
    let host = host.strip_suffix(".cluster.local").unwrap_or(host);
    let own = host.strip_suffix(".svc").and_then(|host| host.split_once('.'));
    let is_own = own.is_some_and(|(_, namespace)| namespace == name.namespace);
    if parsed.scheme() == "https" || (parsed.scheme() == "http" && is_own) {
        Ok(parsed)
    } else {
        Err(invalid(FIELD, "must be https://: http:// is only for a Service in this namespace"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_only_a_service_of_the_same_namespace_is_an_external_receiver() {
        let name = WebhookName { namespace: "marketing".into(), name: "links".into() };
        for (url, is_valid) in [
            ("https://hooks.example.com/in?a=b", true),
            ("http://own.marketing.svc.cluster.local:8080/in", true),
            ("http://own.marketing.svc/in", true),
            ("http://own.kube-system.svc/in", false),
            ("http://own.marketing.svc.evil.example/in", false),
            ("http://x.own.marketing.svc/in", false),
            ("http://10.0.0.1/in", false),
            ("http://localhost/in", false),
            ("ftp://own.marketing.svc/in", false),
            ("hooks", false),
        ] {
            assert_eq!(external_url(&name, url).is_ok(), is_valid, "{url}");
        }
    }
}
