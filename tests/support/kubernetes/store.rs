//! The objects, their versions, and the log of changes that watches read. Pure: it has neither clock nor subscribers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    apply::{self, Manager, Ownership},
    kinds::Kind,
    managed_fields::{self, Times},
    merge::merge,
    schema,
    status_error::StatusError,
};

/// The identity of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub kind: &'static Kind,
    pub namespace: String,
    pub name: String,
}

/// The part that a write changes: the object without its status, or its status alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    Main,
    Status,
}

/// One change, as watches report it.
#[derive(Clone, Debug)]
pub struct Change {
    pub version: u64,
    pub at: Timestamp,
    pub key: Key,
    pub before: Option<Value>,
    /// `None` if the object was deleted.
    pub after: Option<Value>,
}

/// A change of each object that is written.
pub type Mutation = dyn Fn(&Key, &mut Value) + Send + Sync;

/// A mutating admission policy.
#[derive(Clone, Default)]
pub struct Policy(pub Option<Arc<Mutation>>);

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Policy").field(&self.0.is_some()).finish()
    }
}

impl Policy {
    fn admit(&self, key: &Key, object: &mut Value) {
        if let Some(policy) = &self.0 {
            policy(key, object);
        }
    }
}

/// All objects and their history.
#[derive(Clone, Debug, Default)]
pub struct Store {
    objects: BTreeMap<Key, Value>,
    ownership: HashMap<Key, Ownership>,
    times: HashMap<Key, Times>,
    pub policy: Policy,
    pub log: Vec<Change>,
    version: u64,
    uids: u64,
}

impl Store {
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    /// A copy with the same objects and an empty log, for a dry run.
    pub fn without_log(&self) -> Self {
        Store { log: Vec::new(), ..self.clone() }
    }

    /// All objects of a kind, in one namespace or in all.
    pub fn all<'a>(
        &'a self,
        kind: &'static Kind,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        let of = move |key: &&Key| key.kind == kind && namespace.is_none_or(|namespace| key.namespace == namespace);
        self.objects.iter().filter(move |(key, _)| of(key))
    }

    pub fn everything(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.iter()
    }

    /// The objects of a kind at an earlier version.
    pub fn past(&self, kind: &'static Kind, version: u64) -> Vec<Value> {
        let mut seen = BTreeMap::new();
        for change in self.log.iter().filter(|change| change.version <= version && change.key.kind == kind) {
            match &change.after {
                Some(after) => drop(seen.insert(change.key.clone(), after.clone())),
                None => drop(seen.remove(&change.key)),
            }
        }
        seen.into_values().collect()
    }

    /// Changes an object past validation, as it may be in etcd after another version of the schema.
    pub fn put_raw(&mut self, key: &Key, change: impl FnOnce(&mut Value), at: Timestamp) -> Result<Value, StatusError> {
        let mut object = self.objects.get(key).cloned().ok_or_else(|| StatusError::absent(key))?;
        change(&mut object);
        self.put(key, Some(object), at)
    }

    pub fn create(&mut self, key: &Key, mut object: Value, at: Timestamp) -> Result<Value, StatusError> {
        if self.objects.contains_key(key) {
            return Err(StatusError::exists(key));
        }
        self.uids += 1;
        object["apiVersion"] = key.kind.api_version().into();
        object["kind"] = key.kind.kind.into();
        let metadata = &mut object["metadata"];
        metadata["namespace"] = key.namespace.clone().into();
        metadata["name"] = key.name.clone().into();
        metadata["uid"] = format!("uid-{}", self.uids).into();
        metadata["creationTimestamp"] = seconds(at).into();
        if key.kind.has_generation {
            metadata["generation"] = 1.into();
        }
        encode_string_data(&mut object);
        if key.kind.has_status {
            object.as_object_mut().unwrap().remove("status");
        }
        self.policy.admit(key, &mut object);
        schema::admit(key, &mut object, None)?;
        self.put(key, Some(object), at)
    }

    /// Server-side apply by `manager`, with or without force.
    pub fn apply(
        &mut self,
        key: &Key,
        part: Part,
        (manager, force): (&str, bool),
        mut wanted: Value,
        at: Timestamp,
    ) -> Result<Value, StatusError> {
        let manager = Manager { name: manager.to_owned(), applies: true, part };
        encode_string_data(&mut wanted);
        let expected = wanted.pointer_mut("/metadata").and_then(|it| it.as_object_mut()?.remove("resourceVersion"));
        let uid = wanted.pointer_mut("/metadata").and_then(|it| it.as_object_mut()?.remove("uid"));
        let wanted = only(part, key, wanted);
        let Some(live) = self.objects.get(key).cloned() else {
            if part == Part::Status {
                return Err(StatusError::absent(key));
            }
            if uid.is_some() {
                return Err(StatusError::conflict(key));
            }
            let created = self.create(key, wanted.clone(), at)?;
            let ownership = self.ownership.entry(key.clone()).or_default();
            apply::apply(key.kind, &Value::Null, &wanted, &manager, ownership);
            return Ok(self.stamp(key, manager, created, at));
        };
        if expected.is_some_and(|expected| expected != live["metadata"]["resourceVersion"]) {
            return Err(StatusError::conflict(key));
        }
        if uid.is_some_and(|uid| uid != live["metadata"]["uid"]) {
            return Err(StatusError::conflict(key));
        }
        let mut ownership = self.ownership.get(key).cloned().unwrap_or_default();
        if !force && apply::conflicts(key.kind, &live, &wanted, &manager, &ownership) {
            return Err(StatusError::conflict(key));
        }
        let next = apply::apply(key.kind, &live, &wanted, &manager, &mut ownership);
        let written = self.change(key, part, live, next, at)?;
        if self.objects.contains_key(key) {
            self.ownership.insert(key.clone(), ownership);
        }
        Ok(self.stamp(key, manager, written, at))
    }

    /// Renders the ownership of a changed object's fields into the object and into the log. Returns the object.
    fn stamp(&mut self, key: &Key, manager: Manager, written: Value, at: Timestamp) -> Value {
        let version = self.version.to_string();
        let (Some(object), Some(ownership)) = (self.objects.get_mut(key), self.ownership.get(key)) else {
            return written;
        };
        if object["metadata"]["resourceVersion"] != version {
            return written;
        }
        let times = self.times.entry(key.clone()).or_default();
        times.insert(manager, at);
        object["metadata"]["managedFields"] = managed_fields::render(key.kind, ownership, times);
        if let Some(last) = self.log.last_mut().filter(|last| last.key == *key) {
            last.after = Some(object.clone());
        }
        object.clone()
    }

    /// Applies a merge patch; its resource version, if any, is a precondition.
    pub fn merge(
        &mut self,
        key: &Key,
        part: Part,
        manager: &str,
        patch: &Value,
        at: Timestamp,
    ) -> Result<Value, StatusError> {
        let live = self.objects.get(key).cloned().ok_or_else(|| StatusError::absent(key))?;
        if let Some(expected) = patch["metadata"]["resourceVersion"].as_str()
            && live["metadata"]["resourceVersion"] != expected
        {
            return Err(StatusError::conflict(key));
        }
        if patch["metadata"]["uid"].as_str().is_some_and(|uid| live["metadata"]["uid"] != uid) {
            return Err(StatusError::conflict(key));
        }
        let mut patch = only(part, key, patch.clone());
        encode_string_data(&mut patch);
        let mut next = live.clone();
        merge(&mut next, &patch);
        let next = match part {
            Part::Main if key.kind.has_status => with_status_of(next, &live),
            Part::Main | Part::Status => next,
        };
        self.update(key, part, manager, &live, next, at)
    }

    /// Updates an object by another way than apply.
    fn update(
        &mut self,
        key: &Key,
        part: Part,
        manager: &str,
        live: &Value,
        next: Value,
        at: Timestamp,
    ) -> Result<Value, StatusError> {
        let written = self.change(key, part, live.clone(), next, at)?;
        if self.objects.contains_key(key) {
            let manager = Manager { name: manager.to_owned(), applies: false, part };
            let ownership = self.ownership.entry(key.clone()).or_default();
            apply::update(key.kind, live, &written, &manager, ownership);
            return Ok(self.stamp(key, manager, written, at));
        }
        Ok(written)
    }

    /// Replaces an object; its resource version, if any, is a precondition.
    pub fn replace(&mut self, key: &Key, manager: &str, object: &Value, at: Timestamp) -> Result<Value, StatusError> {
        let live = self.objects.get(key).cloned().ok_or_else(|| StatusError::absent(key))?;
        if let Some(expected) = object["metadata"]["resourceVersion"].as_str()
            && live["metadata"]["resourceVersion"] != expected
        {
            return Err(StatusError::conflict(key));
        }
        let mut next = object.clone();
        encode_string_data(&mut next);
        keep(&mut next, &live, &["namespace", "name"]);
        let next = if key.kind.has_status { with_status_of(next, &live) } else { next };
        self.update(key, Part::Main, manager, &live, next, at)
    }

    /// Deletes an object, or sets its deletion timestamp while it has finalizers.
    pub fn delete(&mut self, key: &Key, at: Timestamp) -> Result<(), StatusError> {
        let mut live = self.objects.get(key).cloned().ok_or_else(|| StatusError::absent(key))?;
        if finalizers(&live).is_empty() {
            return self.put(key, None, at).map(drop);
        }
        if live["metadata"]["deletionTimestamp"].is_null() {
            live["metadata"]["deletionTimestamp"] = seconds(at).into();
            live["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            next_generation(key, &mut live);
            self.put(key, Some(live), at)?;
        }
        Ok(())
    }

    fn change(
        &mut self,
        key: &Key,
        part: Part,
        live: Value,
        mut next: Value,
        at: Timestamp,
    ) -> Result<Value, StatusError> {
        let before: BTreeSet<_> = finalizers(&live).into_iter().collect();
        let deleting = !live["metadata"]["deletionTimestamp"].is_null();
        if deleting && finalizers(&next).iter().any(|finalizer| !before.contains(finalizer)) {
            return Err(StatusError::invalid(key, "no new finalizers can be added if the object is being deleted"));
        }
        keep(&mut next, &live, &["uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp"]);
        keep(&mut next, &live, &["managedFields"]);
        if part == Part::Main {
            check_immutable(key, &live, &next)?;
            self.policy.admit(key, &mut next);
            keep_immutable(key, &live, &mut next);
        }
        if finalizers(&next).is_empty() {
            next["metadata"].as_object_mut().map(|metadata| metadata.remove("finalizers"));
        }
        schema::admit(key, &mut next, Some(&live))?;
        if part == Part::Main && without_metadata_and_status(&next) != without_metadata_and_status(&live) {
            next_generation(key, &mut next);
        }
        if next == live {
            return Ok(live);
        }
        if deleting && finalizers(&next).is_empty() {
            self.put(key, None, at)?;
            return Ok(next);
        }
        self.put(key, Some(next), at)
    }

    fn put(&mut self, key: &Key, after: Option<Value>, at: Timestamp) -> Result<Value, StatusError> {
        self.version += 1;
        let after = after.map(|mut object| {
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            object
        });
        let before = match &after {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => {
                self.ownership.remove(key);
                self.times.remove(key);
                self.objects.remove(key)
            }
        };
        let written = after.clone().unwrap_or_default();
        self.log.push(Change { version: self.version, at, key: key.clone(), before, after });
        Ok(written)
    }

    /// The objects for the garbage collector: all their owners are gone.
    pub fn orphans(&self) -> Vec<Key> {
        let living: BTreeSet<&str> = self.objects.values().filter_map(|it| it["metadata"]["uid"].as_str()).collect();
        let is_orphan = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array().filter(|owners| !owners.is_empty());
            owners
                .is_some_and(|owners| owners.iter().all(|owner| !living.contains(owner["uid"].as_str().unwrap_or(""))))
        };
        let is_terminating = |object: &Value| !object["metadata"]["deletionTimestamp"].is_null();
        let orphans = self.objects.iter().filter(|(_, object)| is_orphan(object) && !is_terminating(object));
        orphans.map(|(key, _)| key.clone()).collect()
    }
}

pub fn finalizers(object: &Value) -> Vec<String> {
    let all = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    all.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect()
}

/// The immutable field of a StatefulSet that the operator's objects may differ in.
const CLAIM_TEMPLATES: &str = "/spec/volumeClaimTemplates";

/// Rejects a change of an immutable field.
fn check_immutable(key: &Key, live: &Value, next: &Value) -> Result<(), StatusError> {
    let of = |object: &Value| object.pointer(CLAIM_TEMPLATES).cloned();
    if key.kind.kind != "StatefulSet" || of(live).is_none() || of(live) == of(next) {
        return Ok(());
    }
    Err(StatusError::invalid(
        key,
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    ))
}

/// Restores an immutable field that the policy has changed. With such a policy, a real API server rejects every update.
fn keep_immutable(key: &Key, live: &Value, next: &mut Value) {
    let before = live.pointer(CLAIM_TEMPLATES).filter(|_| key.kind.kind == "StatefulSet");
    if let (Some(before), Some(after)) = (before, next.pointer_mut(CLAIM_TEMPLATES)) {
        *after = before.clone();
    }
}

/// Restores metadata that only the server may set.
fn keep(next: &mut Value, live: &Value, fields: &[&str]) {
    for field in fields {
        match live["metadata"].get(field) {
            Some(value) => next["metadata"][field] = value.clone(),
            None => drop(next["metadata"].as_object_mut().and_then(|metadata| metadata.remove(*field))),
        }
    }
}

fn next_generation(key: &Key, object: &mut Value) {
    if key.kind.has_generation {
        let generation = &mut object["metadata"]["generation"];
        *generation = (generation.as_u64().unwrap_or(0) + 1).into();
    }
}

fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap().to_string()
}

/// Drops the fields that a write to this part may not change.
fn only(part: Part, key: &Key, mut object: Value) -> Value {
    match part {
        Part::Main if key.kind.has_status => {
            object.as_object_mut().unwrap().remove("status");
            object
        }
        Part::Main => object,
        Part::Status => json!({"status": object["status"]}),
    }
}

fn with_status_of(mut object: Value, live: &Value) -> Value {
    match live.get("status") {
        Some(status) => object["status"] = status.clone(),
        None => drop(object.as_object_mut().unwrap().remove("status")),
    }
    object
}

fn without_metadata_and_status(object: &Value) -> Value {
    let mut object = object.clone();
    let fields = object.as_object_mut().unwrap();
    fields.remove("metadata");
    fields.remove("status");
    object
}

/// Moves `stringData` of a Secret into `data`.
fn encode_string_data(object: &mut Value) {
    use base64::Engine;
    let Some(Value::Object(plain)) = object.as_object_mut().and_then(|it| it.remove("stringData")) else { return };
    for (key, value) in plain {
        let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
        object["data"][key] = encoded.into();
    }
}
