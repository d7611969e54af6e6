//! The custom resources of `webhooks.linktree-operator.dev`: types, conditions and reasons. No behaviour.
//!
//! `kubectl explain` prints the doc comment of each field. Rules that a user can break are schema or CEL rules with a
//! message that names the remedy; there is no admission webhook. Fields inside list items have no defaults, because
//! Argo CD reports a defaulted list item as drift.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

pub use self::reference::{LocalObjectReference, SecretKeyReference};

pub mod condition;
pub mod connection;
pub mod endpoint;
pub mod exposure;
pub mod journal_status;
pub mod reference;
pub mod sink;
pub mod sink_status;
pub mod subscription;
pub mod webhook;
pub mod webhook_status;

/// The API group, a placeholder domain. Only this constant and the two `#[kube(group = …)]` attributes name it.
pub const GROUP: &str = "webhooks.linktree-operator.dev";

/// All custom resource definitions, in the order in which `linktree-operator crds` prints them.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    [connection::LinktreeConnection::crd(), as_source(webhook::LinktreeWebhook::crd())]
        .into_iter()
        .map(|crd| with_status_default(without_null(crd)))
        .collect()
}

/// Adds to a CRD the label by which Knative's tools find event sources.
fn as_source(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.metadata.labels.get_or_insert_default().insert("duck.knative.dev/source".to_owned(), "true".to_owned());
    crd
}

/// Removes `null` from all schemas: absent means absent. The API server then drops a null before it validates and
/// defaults an object, so that no field can be null where its Rust type has no null.
fn without_null(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            remove_null(schema);
        }
    }
    crd
}

fn remove_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(remove_null);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => remove_null(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(remove_null),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        remove_null(values);
    }
}

/// Adds the schema default `status.observedGeneration: -1`, so that no client mistakes a new object's empty status for
/// a reconciled one (kstatus).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_schema_has_null() {
        for crd in crds() {
            let text = serde_json::to_string(&crd).unwrap();
            assert!(!text.contains("\"nullable\":true") && !text.contains("null,") && !text.contains("null]"));
        }
    }

    #[test]
    fn a_new_object_is_marked_as_not_yet_reconciled() {
        for crd in crds() {
            let text = serde_json::to_value(&crd).unwrap();
            let status = &text["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
            assert_eq!(status["default"]["observedGeneration"], -1, "{:?}", crd.metadata.name);
            assert_eq!(crd.spec.group, GROUP);
        }
    }
}
