//! Renders the Ingress or HTTPRoute that routes the URL's exact path, and no other, to the receiver's Service.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
        IngressSpec, IngressTLS, ServiceBackendPort,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::metadata::{SERVICE_PORT, metadata};
use crate::operator::{
    kubernetes::{
        apply::Desired,
        gateway::{BackendReference, HTTPRoute, HTTPRouteSpec, Match, ParentReference, Path, Rule},
    },
    webhook::spec::{self, Exposure, Spec},
};

/// The object that routes the public URL to the receiver.
#[derive(Clone, Debug, PartialEq)]
pub enum ExposureObject {
    Ingress(Desired),
    HttpRoute(Desired),
}

/// Renders the Ingress or HTTPRoute that the spec requests; `None` if it requests neither.
///
/// # Errors
/// When it cannot be serialized to JSON, which these types always can.
pub fn render(spec: &Spec) -> Result<Option<ExposureObject>, serde_json::Error> {
    Ok(match spec.exposure() {
        None | Some(Exposure::None | Exposure::Service) => None,
        Some(Exposure::Ingress(wanted)) => Some(ExposureObject::Ingress(Desired::new(&ingress(spec, wanted))?)),
        Some(Exposure::HttpRoute(wanted)) => Some(ExposureObject::HttpRoute(Desired::new(&route(spec, wanted))?)),
    })
}

fn ingress(spec: &Spec, wanted: &spec::exposure::Ingress) -> Ingress {
    let service = IngressServiceBackend {
        name: spec.receiver_name(),
        port: Some(ServiceBackendPort { number: Some(i32::from(SERVICE_PORT)), name: None }),
    };
    let path = HTTPIngressPath {
        path: Some(spec.url.path().to_owned()),
        path_type: "Exact".to_owned(),
        backend: IngressBackend { service: Some(service), resource: None },
    };
    let host = spec.url.host_str().map(str::to_owned);
    Ingress {
        metadata: annotated(spec, &wanted.annotations),
        spec: Some(IngressSpec {
            ingress_class_name: wanted.class_name.clone(),
            rules: Some(vec![IngressRule {
                host: host.clone(),
                http: Some(HTTPIngressRuleValue { paths: vec![path] }),
            }]),
            // Set even if the spec names no TLS Secret: the controller then serves the host with its default
            // certificate.
            tls: Some(vec![IngressTLS {
                hosts: Some(host.into_iter().collect()),
                secret_name: wanted.tls_secret_name.clone(),
            }]),
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    }
}

fn route(spec: &Spec, wanted: &spec::exposure::HttpRoute) -> HTTPRoute {
    let spec::exposure::Gateway { name, namespace, section_name } = wanted.gateway.clone();
    let path = Path { match_type: "Exact".to_owned(), value: spec.url.path().to_owned() };
    HTTPRoute {
        metadata: annotated(spec, &wanted.annotations),
        spec: HTTPRouteSpec {
            parent_refs: vec![ParentReference { name, namespace: Some(namespace), section_name }],
            hostnames: spec.url.host_str().map(str::to_owned).into_iter().collect(),
            rules: vec![Rule {
                matches: vec![Match { path }],
                filters: Vec::new(),
                backend_refs: vec![BackendReference { name: spec.receiver_name(), port: i32::from(SERVICE_PORT) }],
            }],
        },
        status: None,
    }
}

fn annotated(spec: &Spec, annotations: &BTreeMap<String, String>) -> ObjectMeta {
    let annotations = (!annotations.is_empty()).then(|| annotations.clone());
    ObjectMeta { annotations, ..metadata(spec, spec.receiver_name()) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::operator::webhook::spec::tests::webhook;

    fn rendered(exposure: &Value) -> Value {
        let spec = Spec::parse(&webhook(|object| {
            object["spec"]["endpoint"] = json!({"managed": {"host": "hooks.example.com", "exposure": exposure}});
        }));
        match render(&spec.unwrap()).unwrap() {
            None => Value::Null,
            Some(ExposureObject::Ingress(object) | ExposureObject::HttpRoute(object)) => object.value().clone(),
        }
    }

    fn annotations(object: &Value) -> Vec<&String> {
        object["metadata"]["annotations"].as_object().into_iter().flatten().map(|(key, _)| key).collect()
    }

    #[test]
    fn an_ingress_routes_only_the_url_and_has_the_given_annotations() {
        let object = rendered(&json!({
            "type": "Ingress", "className": "nginx", "tlsSecretName": "hooks-tls",
            "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt"},
        }));
        assert_eq!((&object["apiVersion"], &object["kind"]), (&json!("networking.k8s.io/v1"), &json!("Ingress")));
        assert_eq!(annotations(&object), ["cert-manager.io/cluster-issuer"]);
        let path = Spec::parse(&webhook(|_| {})).unwrap().url.path().to_owned();
        let backend = json!({"service": {"name": "links-receiver", "port": {"number": 80}}});
        let expected = json!({
            "ingressClassName": "nginx",
            "rules": [{
                "host": "hooks.example.com",
                "http": {"paths": [{"path": path, "pathType": "Exact", "backend": backend}]},
            }],
            "tls": [{"hosts": ["hooks.example.com"], "secretName": "hooks-tls"}],
        });
        assert_eq!(object["spec"], expected);
    }

    #[test]
    fn a_route_attaches_to_a_gateway_in_its_own_namespace_by_default() {
        let gateway = |reference: Value| {
            let object = rendered(&json!({"type": "HTTPRoute", "gatewayRef": reference}));
            assert_eq!((&object["kind"], annotations(&object).len()), (&json!("HTTPRoute"), 0));
            assert_eq!(object["spec"]["hostnames"], json!(["hooks.example.com"]));
            let rule = &object["spec"]["rules"][0];
            assert_eq!(rule["matches"][0]["path"]["type"], "Exact");
            assert_eq!(rule["backendRefs"], json!([{"name": "links-receiver", "port": 80}]));
            object["spec"]["parentRefs"].clone()
        };
        assert_eq!(gateway(json!({"name": "public"})), json!([{"name": "public", "namespace": "marketing"}]));
        let full = json!({"name": "public", "namespace": "infra", "sectionName": "https"});
        assert_eq!(gateway(full.clone()), json!([full]));
    }

    #[test]
    fn exposure_none_renders_no_object() {
        assert_eq!(rendered(&json!({"type": "None"})), Value::Null);
    }
}
