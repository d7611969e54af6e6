//! How the URL leads to the receiver, and the URL itself.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use url::Url;

use super::{InvalidSpec, invalid, names};
use crate::{
    api::{
        exposure::{self as api, ExposureType},
        webhook::ManagedEndpoint,
    },
    route::WebhookName,
};

/// What leads from the URL to the receiver's Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Something of the user's own.
    None,
    /// The Service alone: the URL is its name.
    Service,
    Ingress(Ingress),
    HttpRoute(HttpRoute),
}

/// An Ingress that the operator keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    pub class_name: Option<String>,
    pub tls_secret_name: Option<String>,
    pub annotations: BTreeMap<String, String>,
}

/// A route at a Gateway that the operator keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    pub gateway: Gateway,
    pub annotations: BTreeMap<String, String>,
}

/// A Gateway, or one listener of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    pub name: String,
    pub namespace: String,
    pub section_name: Option<String>,
}

impl std::fmt::Display for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Gateway { name, namespace, section_name } = self;
        write!(f, "Gateway {namespace}/{name}")?;
        section_name.as_ref().map_or(Ok(()), |section| write!(f, ", listener {section}"))
    }
}

impl Exposure {
    pub(super) fn parse(name: &WebhookName, exposure: &api::Exposure) -> Result<Self, InvalidSpec> {
        let api::Exposure { exposure_type, class_name, tls_secret_name, gateway_ref, annotations } = exposure;
        Ok(match exposure_type {
            ExposureType::None => Exposure::None,
            ExposureType::Service => Exposure::Service,
            ExposureType::Ingress => Exposure::Ingress(Ingress {
                class_name: class_name.clone(),
                tls_secret_name: tls_secret_name.clone(),
                annotations: annotations.clone(),
            }),
            ExposureType::HTTPRoute => {
                let missing = "is missing: write the Gateway that the route is to hang on";
                let gateway = gateway_ref.as_ref().ok_or_else(|| invalid(GATEWAY_REF, missing))?;
                let api::GatewayReference { name: gateway, namespace, section_name } = gateway.clone();
                let namespace = namespace.unwrap_or_else(|| name.namespace.clone());
                let gateway = Gateway { name: gateway, namespace, section_name };
                Exposure::HttpRoute(HttpRoute { gateway, annotations: annotations.clone() })
            }
        })
    }
}

const GATEWAY_REF: &str = "endpoint.managed.exposure.gatewayRef";

/// `/h/` and half a SHA-256 of `namespace/name`: stable when the cluster is rebuilt, different for each webhook, and
/// saying nothing about secrets.
fn delivery_path(name: &WebhookName) -> String {
    let digest = Sha256::digest(format!("{}/{}", name.namespace, name.name));
    format!("/h/{}", hex::encode(&digest[..16]))
}

/// Whether a path is one that a URL of ours has.
#[must_use]
pub fn is_delivery_path(path: &str) -> bool {
    path.strip_prefix("/h/").is_some_and(|digest| digest.len() == 32 && digest.bytes().all(|c| c.is_ascii_hexdigit()))
}

pub(super) fn delivery_url(name: &WebhookName, endpoint: &ManagedEndpoint) -> Result<Url, InvalidSpec> {
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
        .map_err(|_| invalid("endpoint.managed.host", "is no host name: write one such as hooks.example.com"))
}
