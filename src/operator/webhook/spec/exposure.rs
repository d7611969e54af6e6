//! How the bundled receiver is exposed outside its pod, parsed.

use std::collections::BTreeMap;

use super::invalid::{InvalidSpec, invalid};
use crate::{
    api::exposure::{self as api, ExposureType},
    route::WebhookName,
};

/// Which object routes the public URL to the receiver's Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// None that the operator manages: the user routes the URL to the Service.
    None,
    /// No object: the host of the URL is the DNS name of the Service itself.
    Service,
    Ingress(Ingress),
    HttpRoute(HttpRoute),
}

/// Settings of the Ingress that the operator manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    pub class_name: Option<String>,
    pub tls_secret_name: Option<String>,
    pub annotations: BTreeMap<String, String>,
}

/// Settings of the HTTPRoute that the operator manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    pub gateway: Gateway,
    pub annotations: BTreeMap<String, String>,
}

/// The Gateway that the HTTPRoute attaches to, or one of its listeners.
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
                let missing = "is missing: write the name of the Gateway that the HTTPRoute attaches to";
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
