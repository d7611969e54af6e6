//! The custom resources of `webhooks.linktree-operator.dev`: types, conditions and reasons. No behaviour.
//!
//! Every doc comment on a field is what `kubectl explain` prints. Rules a person can break are schema or CEL rules whose
//! message says what to write instead; there is no admission webhook. No default stands inside a list item, since a
//! defaulted list item shows as drift in Argo CD.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
};
use kube::CustomResourceExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod condition;
pub mod connection;
pub mod endpoint;
pub mod exposure;
pub mod sink;
pub mod subscription;
pub mod webhook;
pub mod webhook_status;

/// The API group. A placeholder domain: this constant and the two `#[kube(group = …)]` attributes are all that name it.
pub const GROUP: &str = "webhooks.linktree-operator.dev";

/// All custom resource definitions, as `linktree-operator crds` prints them.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    [connection::LinktreeConnection::crd(), as_source(webhook::LinktreeWebhook::crd())]
        .into_iter()
        .map(with_status_default)
        .collect()
}

/// By this label Knative's tools find the kinds that events come from.
fn as_source(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.metadata.labels.get_or_insert_default().insert("duck.knative.dev/source".to_owned(), "true".to_owned());
    crd
}

/// A new object says `observedGeneration: -1` until it has been looked at, so that no reader takes an empty status for
/// a settled one (kstatus).
fn with_status_default(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(status) = schema.and_then(status_schema) {
            status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
        }
    }
    crd
}

fn status_schema(schema: &mut JSONSchemaProps) -> Option<&mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut("status")
}

/// Names an object of a known kind in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalObjectReference {
    /// Name of the object, in this object's namespace.
    #[schemars(length(min = 1, max = 253), pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// Names one key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// Name of the Secret, in this object's namespace.
    #[schemars(length(min = 1, max = 253), pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key inside the Secret's data.
    #[schemars(length(min = 1, max = 253), pattern(r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_object_is_marked_as_not_yet_looked_at() {
        for crd in crds() {
            let text = serde_json::to_value(&crd).unwrap();
            let status = &text["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
            assert_eq!(status["default"]["observedGeneration"], -1, "{:?}", crd.metadata.name);
            assert_eq!(crd.spec.group, GROUP);
        }
    }
}
