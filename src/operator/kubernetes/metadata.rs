//! Parses the metadata of an object field by field, so that a field which this operator does not use, or an odd value
//! in one that it uses, cannot make the object unreadable.

use std::marker::PhantomData;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, core::ObjectMeta};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// The kind of another [`Resource`], for one that stands for its objects.
macro_rules! same_kind_as {
    ($kind:ident) => {
        type DynamicType = $kind::DynamicType;
        type Scope = $kind::Scope;

        fn kind(dynamic: &$kind::DynamicType) -> std::borrow::Cow<'_, str> {
            $kind::kind(dynamic)
        }

        fn group(dynamic: &$kind::DynamicType) -> std::borrow::Cow<'_, str> {
            $kind::group(dynamic)
        }

        fn version(dynamic: &$kind::DynamicType) -> std::borrow::Cow<'_, str> {
            $kind::version(dynamic)
        }

        fn plural(dynamic: &$kind::DynamicType) -> std::borrow::Cow<'_, str> {
            $kind::plural(dynamic)
        }
    };
}
pub(super) use same_kind_as;

/// The fields of an object's metadata that the operator uses, not yet parsed. All others are skipped; `managedFields`
/// is the longest of them, and its times are written by any client.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawMetadata {
    name: Value,
    namespace: Value,
    uid: Value,
    resource_version: Value,
    generation: Value,
    creation_timestamp: Value,
    deletion_timestamp: Value,
    labels: Value,
    annotations: Value,
    finalizers: Value,
    owner_references: Value,
}

impl RawMetadata {
    /// The metadata with each field that can be read. A deletion at a time that cannot be represented stays a deletion,
    /// at the latest time that can.
    pub(super) fn parse(self) -> ObjectMeta {
        ObjectMeta {
            name: read(self.name),
            namespace: read(self.namespace),
            uid: read(self.uid),
            resource_version: read(self.resource_version),
            generation: read(self.generation),
            creation_timestamp: read(self.creation_timestamp),
            deletion_timestamp: (!self.deletion_timestamp.is_null())
                .then(|| read(self.deletion_timestamp).unwrap_or(Time(Timestamp::MAX))),
            labels: read(self.labels),
            annotations: read(self.annotations),
            finalizers: read(self.finalizers),
            owner_references: read(self.owner_references),
            ..ObjectMeta::default()
        }
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

/// An object of kind `K` of which only the metadata is parsed and kept.
#[derive(Clone, Debug, Default)]
pub struct MetadataOf<K> {
    metadata: ObjectMeta,
    kind: PhantomData<K>,
}

impl<'de, K> Deserialize<'de> for MetadataOf<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// The rest of the object is skipped without a copy.
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            metadata: RawMetadata,
        }
        let Head { metadata } = Head::deserialize(deserializer)?;
        Ok(MetadataOf { metadata: metadata.parse(), kind: PhantomData })
    }
}

impl<K: Resource> Resource for MetadataOf<K> {
    same_kind_as!(K);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use serde_json::json;

    use super::*;

    fn read(metadata: &Value) -> ObjectMeta {
        let object = json!({"metadata": metadata, "data": {"token": "bHRfdGVzdA=="}, "type": 7});
        let text = serde_json::to_vec(&object).unwrap();
        serde_json::from_slice::<MetadataOf<Secret>>(&text).unwrap().metadata
    }

    #[test]
    fn an_odd_value_costs_no_other_field() {
        let name = json!({"name": "a", "namespace": "b"});
        let odd = [
            ("managedFields", json!([{"manager": "m", "operation": "Update", "time": "9999-12-31T23:59:59Z"}])),
            ("managedFields", json!("none")),
            ("creationTimestamp", json!("9999-12-31T23:59:59Z")),
            ("generation", json!(1e30)),
            ("labels", json!({"a": null})),
            ("finalizers", json!([1])),
            ("ownerReferences", json!([{"name": "x"}])),
            ("selfLink", json!({})),
        ];
        for (field, value) in odd {
            let mut metadata = name.clone();
            metadata[field] = value;
            let read = read(&metadata);
            assert_eq!((read.name.as_deref(), read.namespace.as_deref()), (Some("a"), Some("b")), "{field}");
        }
    }

    #[test]
    fn a_deletion_is_never_overlooked() {
        let deleted = |time: Value| read(&json!({"name": "a", "deletionTimestamp": time})).deletion_timestamp;
        assert_eq!(deleted(Value::Null), None);
        assert_eq!(deleted("2026-01-01T00:00:00Z".into()).unwrap().0.to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(deleted("11532-01-01T00:00:00Z".into()), Some(Time(Timestamp::MAX)));
    }
}
