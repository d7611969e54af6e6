//! Validation by the API server with its messages, and the descriptions of all fields.

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    core::{ApiResource, NamespaceResourceScope},
};
use linktree_operator::api::{connection::LinktreeConnection, crds, webhook::LinktreeWebhook};
use serde_json::{Value, json};

use crate::harness::{client, install_crds, namespace, object, webhook_spec};

/// A namespace for applying objects.
struct Validation {
    client: Client,
    namespace: String,
}

impl Validation {
    async fn start() -> Self {
        let client = client().await;
        install_crds(&client).await;
        let namespace = namespace(&client).await;
        Validation { client, namespace }
    }

    async fn end(self) {
        let namespaces: Api<Namespace> = Api::all(self.client);
        namespaces.delete(&self.namespace, &DeleteParams::default()).await.unwrap();
    }

    /// Applies like `kubectl apply --validate=strict`; the error is the rejection's message.
    async fn apply<K>(&self, object: Value) -> Result<(), String>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.apply_with::<K>(object, PatchParams::apply("user").validation_strict()).await
    }

    async fn dry_run<K>(&self, object: Value) -> Result<(), String>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.apply_with::<K>(object, PatchParams::apply("user").validation_strict().dry_run()).await
    }

    async fn apply_with<K>(&self, object: Value, params: PatchParams) -> Result<(), String>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::erase::<K>(&()));
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        api.patch(&name, &params, &Patch::Apply(object)).await.map(drop).map_err(|error| error.to_string())
    }

    async fn rejects<K>(&self, object: Value, words: &str)
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let shown = object.to_string();
        match self.apply::<K>(object).await {
            Ok(()) => panic!("accepted, but must be rejected with `{words}`: {shown}"),
            Err(message) => assert!(message.contains(words), "rejected without `{words}`: {message}\n{shown}"),
        }
    }

    /// Checks that each edit turns a valid webhook into one that is rejected with these words.
    async fn rejects_webhooks(&self, cases: &[(Edit, &str)]) {
        for (edit, words) in cases {
            let mut invalid = webhook_spec();
            edit(&mut invalid);
            self.rejects::<LinktreeWebhook>(object("LinktreeWebhook", "links", invalid), words).await;
        }
    }
}

type Edit = fn(&mut Value);

fn exposed(spec: &mut Value, exposure: &Value) {
    spec["endpoint"] = json!({"managed": {"host": "hooks.example.com", "exposure": exposure}});
}

fn remove(spec: &mut Value, field: &str) {
    spec.as_object_mut().unwrap().remove(field);
}

#[tokio::test]
async fn an_invalid_connection_is_rejected_with_the_remedy() {
    const CASES: &[(Edit, &str)] = &[
        (|spec| spec["baseURL"] = "http://api.linktr.ee".into(), "baseURL must be https://HOST without a path"),
        (|spec| spec["baseURL"] = "https://api.linktr.ee/v1".into(), "baseURL must be https://HOST without a path"),
        (|spec| spec["baseURL"] = "https://user@api.linktr.ee".into(), "baseURL must be https://HOST"),
        (
            |spec| spec["baseURL"] = "http://evil.svc.example.com".into(),
            "http://HOST is allowed only for a host ending",
        ),
        (|spec| remove(spec, "tokenSecretRef"), "spec.tokenSecretRef: Required value"),
        (|spec| spec["tokenSecretRef"]["name"] = "".into(), "should be at least 1 chars long"),
        (|spec| spec["requestBudget"] = json!({"requestsPerMinute": 0}), "should be greater than or equal to 1"),
        (|spec| spec["syncPeriodSeconds"] = 1.into(), "should be greater than or equal to 10"),
        (|spec| spec["token"] = "lt_live_1".into(), "field not declared in schema"),
    ];
    let validation = Validation::start().await;
    let spec = || json!({"tokenSecretRef": {"name": "linktree-api"}});
    for (edit, words) in CASES {
        let mut invalid = spec();
        edit(&mut invalid);
        validation.rejects::<LinktreeConnection>(object("LinktreeConnection", "brand", invalid), words).await;
    }
    for base in ["https://api.linktr.ee", "https://api.linktr.ee/", "http://s.ns.svc:8081", "http://127.0.0.1:1"] {
        let mut valid = spec();
        valid["baseURL"] = base.into();
        assert_eq!(
            validation.apply::<LinktreeConnection>(object("LinktreeConnection", "brand", valid)).await,
            Ok(()),
            "{base}"
        );
    }
    validation.end().await;
}

fn external(spec: &mut Value, url: &str) {
    spec["endpoint"] = json!({"type": "External", "external": {"url": url}});
}

#[tokio::test]
async fn an_endpoint_with_fields_of_another_type_is_rejected() {
    const CASES: &[(Edit, &str)] = &[
        (|spec| spec["endpoint"] = json!({"type": "External"}), "endpoint.external goes with endpoint.type External"),
        (|spec| spec["endpoint"]["type"] = "External".into(), "endpoint.managed goes with endpoint.type Managed"),
        (|spec| external(spec, "https://hooks.example.com/in"), "spec.sinks goes with endpoint.type Managed"),
        (
            |spec| {
                external(spec, "https://hooks.example.com/in");
                remove(spec, "sinks");
                spec["signing"] = json!({"keys": [{"name": "k1", "secretRef": {"name": "k", "key": "k"}}]});
            },
            "spec.signing.keys goes with endpoint.type Managed",
        ),
        (
            |spec| {
                external(spec, "https://hooks.example.com/in");
                remove(spec, "sinks");
                spec["pause"] = "Forwarding".into();
            },
            "pause Forwarding goes with endpoint.type Managed",
        ),
        (|spec| external(spec, "hooks.example.com/in"), "endpoint.external.url must be a URL such as"),
        (|spec| external(spec, "https://u:p@hooks.example.com/in"), "endpoint.external.url must be a URL such as"),
        (|spec| external(spec, "https://hooks.example.com/in#a"), "endpoint.external.url must be a URL such as"),
        (|spec| external(spec, "http://hooks.example.com/in"), "endpoint.external.url must be https://"),
    ];
    let validation = Validation::start().await;
    validation.rejects_webhooks(CASES).await;
    validation.end().await;
}

#[tokio::test]
async fn an_invalid_webhook_is_rejected_with_the_remedy() {
    const CASES: &[(Edit, &str)] = &[
        (|spec| spec["events"] = json!([]), "should have at least 1 items"),
        (|spec| spec["events"] = json!(["link.created", "link.created"]), "duplicate entries"),
        (|spec| spec["events"] = json!(["Link created"]), "spec.events[0] in body should match"),
        (|spec| remove(spec, "connectionRef"), "spec.connectionRef: Required value"),
        (
            |spec| spec["endpoint"] = json!({"managed": {"exposure": {"type": "None"}}}),
            "endpoint.managed.host is missing: write the public host name",
        ),
        (
            |spec| spec["endpoint"]["managed"]["host"] = "a.example.com".into(),
            "endpoint.managed.host must be left out with exposure.type Service",
        ),
        (
            |spec| spec["endpoint"]["managed"]["tls"] = json!({"secretRef": {"name": "hooks-tls"}}),
            "endpoint.managed.tls needs exposure.type None",
        ),
        (|spec| spec["endpoint"]["managed"]["host"] = "https://a.example.com".into(), "should match"),
        (|spec| spec["endpoint"]["managed"]["exposure"]["type"] = "Magic".into(), "supported values: \"None\""),
        (
            |spec| spec["sinks"][0]["http"]["url"] = "cms/in".into(),
            "http.url must be an absolute http:// or https:// URL",
        ),
        (|spec| spec["sinks"][0]["http"]["url"] = "ftp://cms/in".into(), "http.url must be an absolute"),
        (
            |spec| spec["sinks"][0]["http"]["url"] = "https://u:p@cms/in".into(),
            "put credentials into http.authSecretRef",
        ),
        (|spec| spec["sinks"][0]["name"] = "CMS".into(), "spec.sinks[0].name in body should match"),
        (|spec| spec["signing"] = json!({"keys": [{"name": "k1"}]}), "spec.signing.keys[0].secretRef: Required value"),
        (|spec| spec["signing"] = json!({"timestampToleranceSeconds": 0}), "should be greater than or equal to 1"),
        (
            |spec| spec["receiver"] = json!({"journal": {"capacity": "lots"}}),
            "capacity must be a quantity of at least 64Mi",
        ),
        (
            |spec| spec["receiver"] = json!({"journal": {"capacity": "1Mi"}}),
            "capacity must be a quantity of at least 64Mi",
        ),
        (|spec| spec["receiver"] = json!({"maxBodyBytes": 1}), "should be greater than or equal to 1024"),
        (|spec| spec["sink"] = json!({}), "field not declared in schema"),
    ];
    let validation = Validation::start().await;
    validation.rejects_webhooks(CASES).await;
    for (name, words) in [
        ("a".repeat(51), "metadata.name must be at most 50 characters"),
        ("a".repeat(44), "metadata.name must be at most 43 characters with endpoint.type Managed"),
        ("1links".into(), "starting with a letter"),
        ("links.cms".into(), "metadata.name must be lower case letters, digits and '-'"),
    ] {
        validation.rejects::<LinktreeWebhook>(object("LinktreeWebhook", &name, webhook_spec()), words).await;
    }
    validation.end().await;
}

#[tokio::test]
async fn an_exposure_with_fields_of_another_type_is_rejected() {
    const CASES: &[(Edit, &str)] = &[
        (
            |spec| exposed(spec, &json!({"type": "HTTPRoute"})),
            "exposure.gatewayRef belongs to type HTTPRoute, and is needed",
        ),
        (
            |spec| exposed(spec, &json!({"type": "None", "gatewayRef": {"name": "public"}})),
            "exposure.gatewayRef belongs to type HTTPRoute",
        ),
        (
            |spec| exposed(spec, &json!({"type": "None", "tlsSecretName": "hooks-tls"})),
            "exposure.className and exposure.tlsSecretName belong to type Ingress",
        ),
        (
            |spec| exposed(spec, &json!({"type": "None", "annotations": {"a": "b"}})),
            "exposure.annotations belong to types Ingress and HTTPRoute",
        ),
        (
            |spec| exposed(spec, &json!({"type": "Ingress", "annotations": {"cert-manager.io/issuer": "x"}})),
            "exposure.tlsSecretName is missing: write the name of the Secret that cert-manager",
        ),
        (
            |spec| exposed(spec, &json!({"type": "Ingress", "annotations": {"webhooks.linktree-operator.dev/x": "y"}})),
            "exposure.annotations cannot start with webhooks.linktree-operator.dev/",
        ),
    ];
    let validation = Validation::start().await;
    validation.rejects_webhooks(CASES).await;
    validation.end().await;
}

#[tokio::test]
async fn the_fields_of_the_volume_are_immutable() {
    let validation = Validation::start().await;
    let webhook = |journal: Value| {
        let mut spec = webhook_spec();
        spec["receiver"] = json!({"journal": journal});
        object("LinktreeWebhook", "links", spec)
    };
    validation.apply::<LinktreeWebhook>(webhook(json!({"capacity": "1Gi"}))).await.unwrap();
    let words = "receiver.journal.capacity cannot be changed";
    validation.rejects::<LinktreeWebhook>(webhook(json!({"capacity": "2Gi"})), words).await;
    let words = "receiver.journal.storageClassName cannot be changed";
    validation.rejects::<LinktreeWebhook>(webhook(json!({"capacity": "1Gi", "storageClassName": "fast"})), words).await;
    validation.end().await;
}

#[tokio::test]
async fn the_examples_are_accepted() {
    let validation = Validation::start().await;
    let mut accepted = 0;
    for directory in ["examples/quickstart", "examples/production"] {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            for document in serde_yaml_ng::Deserializer::from_str(&text) {
                let mut example: Value = serde::Deserialize::deserialize(document).unwrap();
                if example["metadata"]["namespace"].is_string() {
                    example["metadata"]["namespace"] = validation.namespace.as_str().into();
                }
                let result = match example["kind"].as_str() {
                    Some("LinktreeConnection") => validation.dry_run::<LinktreeConnection>(example).await,
                    Some("LinktreeWebhook") => validation.dry_run::<LinktreeWebhook>(example).await,
                    Some(_) | None => continue,
                };
                assert_eq!(result, Ok(()), "{}", path.display());
                accepted += 1;
            }
        }
    }
    assert!(accepted >= 5, "only {accepted} examples were found");
    validation.end().await;
}

#[tokio::test]
async fn every_field_has_a_description() {
    fn undescribed(path: &str, schema: &Value, found: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let described = property["description"].as_str().is_some_and(|text| !text.trim().is_empty());
            // Kubernetes describes these.
            let own = matches!(path.as_str(), ".apiVersion" | ".kind" | ".metadata");
            if !described && !own {
                found.push(path.clone());
            }
            undescribed(&path, property, found);
        }
        if schema["items"].is_object() {
            undescribed(&format!("{path}[]"), &schema["items"], found);
        }
    }
    for crd in crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let mut found = Vec::new();
        undescribed("", &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut found);
        assert!(found.is_empty(), "{}: no description of {found:?}", crd["spec"]["names"]["kind"]);
    }
}
