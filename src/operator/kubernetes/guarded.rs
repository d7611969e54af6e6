//! Parses each object on its own: one that does not parse as a whole keeps what does parse, with the fields that do
//! not. A list or a watch therefore never fails because of one object in it.

use std::ops::Deref;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    coordination::v1::Lease,
    core::v1::{Pod, Secret, Service, ServiceAccount},
    events::v1::Event,
    networking::v1::{Ingress, NetworkPolicy},
};
use kube::{
    Api, Resource,
    core::{DynamicObject, ObjectMeta},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Value, json};
use serde_path_to_error::{Path, Segment};

use super::{
    claim,
    gateway::HTTPRoute,
    metadata::{RawMetadata, same_kind_as},
};
use crate::api::{connection::LinktreeConnection, webhook::LinktreeWebhook};

/// Maximum number of fields that are left out one by one, and of those that are reported. Beyond it, the whole status
/// and then the whole spec count as not readable.
const PROBLEMS_MAX: usize = 32;
/// Maximum length of a reported problem, in characters.
const PROBLEM_MAX: usize = 200;

/// The API of a kind. Every read and write of the operator uses it, so that no response can be unreadable.
pub type GuardedApi<K> = Api<Guarded<K>>;

/// A kind that the operator reads.
pub trait Parsed: DeserializeOwned {
    /// The parts of an object without which the kind does not parse. They stand in for those that are missing or cannot
    /// be read.
    #[must_use]
    fn fallback() -> Value {
        json!({})
    }
}

impl Parsed for LinktreeWebhook {
    fn fallback() -> Value {
        let endpoint = json!({"type": "Managed"});
        json!({"spec": {"connectionRef": {"name": ""}, "events": [], "endpoint": endpoint}})
    }
}

impl Parsed for LinktreeConnection {
    fn fallback() -> Value {
        json!({"spec": {"tokenSecretRef": {"name": ""}}})
    }
}

impl Parsed for HTTPRoute {
    fn fallback() -> Value {
        json!({"spec": {}})
    }
}

macro_rules! parsed {
    ($($kind:ty),*) => { $(impl Parsed for $kind {})* };
}
parsed!(DynamicObject, Event, Ingress, Lease, NetworkPolicy, Pod, Secret, Service, ServiceAccount, StatefulSet);

/// A field of an object that does not parse, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// The path of the field, such as `spec.signing.keys[0].notAfterTime`.
    pub field: String,
    pub problem: String,
    /// Whether the field was left out. Otherwise only missing parts of it were filled in.
    left_out: bool,
}

impl FieldProblem {
    /// The state and the remedy, as they follow the field's name in a message.
    #[must_use]
    pub fn explanation(&self) -> String {
        let problem = &self.problem;
        format!("cannot be read ({problem}): write a value that this version knows, as kubectl explain shows it")
    }
}

/// An object, without the fields that do not parse. It dereferences to the object.
#[derive(Clone, Debug)]
pub struct Guarded<K> {
    object: K,
    problems: Vec<FieldProblem>,
}

impl<K> Guarded<K> {
    /// The object, without the fields that do not parse.
    #[must_use]
    pub fn into_inner(self) -> K {
        self.object
    }

    /// The first problem of the spec. A caller must then not act on the spec, since it is not what the user wrote.
    #[must_use]
    pub fn spec_problem(&self) -> Option<&FieldProblem> {
        self.problems.iter().find(|problem| is_within(&problem.field, "spec"))
    }

    /// Whether this field could be read: neither it nor an object around it was left out.
    #[must_use]
    pub fn has_read(&self, field: &str) -> bool {
        !self.problems.iter().any(|problem| problem.left_out && is_within(field, &problem.field))
    }
}

/// Whether `field` is `other` or a part of it.
fn is_within(field: &str, other: &str) -> bool {
    field.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

impl<K> From<K> for Guarded<K> {
    fn from(object: K) -> Self {
        Guarded { object, problems: Vec::new() }
    }
}

impl<K> Deref for Guarded<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.object
    }
}

impl<K: Serialize> Serialize for Guarded<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

impl<'de, K: Parsed + Resource> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut raw = Value::deserialize(deserializer)?;
        let metadata = raw.get_mut("metadata").map(|metadata| std::mem::replace(metadata, json!({})));
        let managed_fields = metadata.as_ref().and_then(claim::entries);
        let metadata = metadata.and_then(|metadata| serde_json::from_value::<RawMetadata>(metadata).ok());
        let mut guarded = parse::<K>(raw).map_err(serde::de::Error::custom)?;
        *guarded.object.meta_mut() = ObjectMeta { managed_fields, ..metadata.unwrap_or_default().parse() };
        Ok(guarded)
    }
}

impl<K: Resource> Resource for Guarded<K> {
    same_kind_as!(K);

    fn meta(&self) -> &ObjectMeta {
        self.object.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.object.meta_mut()
    }
}

/// Parses an object, leaving out each field that does not parse. The error can only be a [`Parsed::fallback`] that does
/// not parse itself.
fn parse<K: Parsed>(mut raw: Value) -> Result<Guarded<K>, serde_json::Error> {
    let mut problems = Vec::new();
    while problems.len() < PROBLEMS_MAX {
        match serde_path_to_error::deserialize::<_, K>(&raw) {
            Ok(object) => return Ok(Guarded { object, problems }),
            Err(error) => {
                let left_out = leave_out(&mut raw, error.path(), &K::fallback());
                let problem = error.inner().to_string().chars().take(PROBLEM_MAX).collect();
                problems.push(FieldProblem { field: error.path().to_string(), problem, left_out });
            }
        }
    }
    if let Value::Object(fields) = &mut raw {
        fields.remove("status");
    }
    let object = K::deserialize(&raw).or_else(|error| {
        let problem = error.to_string().chars().take(PROBLEM_MAX).collect();
        problems.push(FieldProblem { field: "spec".to_owned(), problem, left_out: true });
        let mut least = K::fallback();
        for field in ["apiVersion", "kind"] {
            least[field] = raw[field].take();
        }
        least["metadata"] = json!({});
        K::deserialize(least)
    })?;
    Ok(Guarded { object, problems })
}

/// Removes the value at this path and returns true; or only completes it from `fallback` and returns false, if it is a
/// field of the object itself, such as the spec, that lacks something.
fn leave_out(raw: &mut Value, path: &Path, fallback: &Value) -> bool {
    let segments: Vec<&Segment> = path.iter().collect();
    let field = match segments.as_slice() {
        [] => None,
        [Segment::Map { key }] => Some(key),
        [parents @ .., last] => {
            remove(raw, parents, last);
            return true;
        }
    };
    let Value::Object(fields) = raw else {
        *raw = fallback.clone();
        return true;
    };
    let known = fallback.as_object().into_iter().flatten().filter(|(name, _)| field.is_none_or(|field| field == *name));
    let mut completed = false;
    for (name, least) in known {
        completed |= complete(fields.entry(name).or_insert_with(|| json!({})), least);
    }
    if let Some(field) = field.filter(|field| !completed && fallback.get(field.as_str()) != fields.get(field.as_str()))
    {
        fields.remove(field);
    }
    !completed
}

/// Adds to an object the fields that it lacks of `least`, and returns whether it lacked any. Another value is replaced.
fn complete(value: &mut Value, least: &Value) -> bool {
    let (Value::Object(fields), Value::Object(least)) = (&mut *value, least) else {
        *value = least.clone();
        return false;
    };
    let before = fields.len();
    for (name, least) in least {
        fields.entry(name).or_insert_with(|| least.clone());
    }
    fields.len() > before
}

/// Removes the field or item `last` of the value at `parents`, or the deepest value on the way that exists.
fn remove(raw: &mut Value, parents: &[&Segment], last: &Segment) {
    let mut value = raw;
    for parent in parents {
        value = match (parent, value) {
            (Segment::Map { key }, Value::Object(fields)) => match fields.get_mut(key) {
                Some(value) => value,
                None => return,
            },
            (Segment::Seq { index }, Value::Array(items)) => match items.get_mut(*index) {
                Some(value) => value,
                None => return,
            },
            (_, value) => {
                *value = Value::Null;
                return;
            }
        };
    }
    match (last, value) {
        (Segment::Map { key }, Value::Object(fields)) => drop(fields.remove(key)),
        (Segment::Seq { index }, Value::Array(items)) if *index < items.len() => drop(items.remove(*index)),
        (_, value) => *value = Value::Null,
    }
}

#[cfg(test)]
mod tests;
