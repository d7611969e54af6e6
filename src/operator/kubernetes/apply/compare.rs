//! Compares a desired object with the live one. Pure.
//!
//! The live object may have more fields, since the API server sets defaults and admission policies add fields. Within
//! the `spec`, a field that another client added is a difference: the operator owns the whole spec. Annotations of
//! others are none, also in a pod template.

use serde_json::{Map, Value};

use super::{
    field_owners::FieldOwners,
    ownership::{is_same_owner, references},
};

/// The annotations of a pod template: `kubectl rollout restart` sets one, and other tools do.
const TEMPLATE_ANNOTATIONS: &str = "spec.template.metadata.annotations";
/// Maximum number of reported differences, and of characters of a field's path in one.
const DIFFERENCES_MAX: usize = 8;
const FIELD_MAX: usize = 160;
/// The fields that identify an item of a list, in this order.
const KEYS: [&str; 6] = ["name", "uid", "mountPath", "containerPort", "port", "key"];

/// A field that differs, and the manager that owns it, if another client than the operator does. It has no values,
/// since they may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub field: String,
    pub manager: Option<String>,
}

/// Which value the restored object has where live and desired object differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    Live,
    Desired,
}

/// The differences between a desired and a live object.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Fields and items of the desired object that the live one lacks or has otherwise, and items that its lists have
    /// in addition.
    pub differing: Vec<Difference>,
    /// Fields within the spec that other clients added.
    pub added: Vec<Difference>,
    /// The live object without `added`.
    pub restored: Value,
}

/// Compares the two.
#[must_use]
pub fn compare(desired: &Value, live: &Value, owners: &FieldOwners<'_>, prefer: Prefer) -> Comparison {
    let mut walk = Walk { prefer, differing: Vec::new(), added: Vec::new() };
    let mut restored = live.clone();
    for (name, wanted) in desired.as_object().into_iter().flatten() {
        let found = live.get(name).unwrap_or(&Value::Null);
        match name.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                for part in ["labels", "annotations"] {
                    let Some(wanted) = wanted.get(part).filter(|wanted| !is_empty(wanted)) else { continue };
                    let found = found.get(part).unwrap_or(&Value::Null);
                    let path = format!("metadata.{part}");
                    restored["metadata"][part] = walk.value(&path, found, wanted, &FieldOwners::default());
                }
                if let Some(owners) = walk.owner_references(references(desired), references(live)) {
                    restored["metadata"]["ownerReferences"] = owners.into();
                }
            }
            "spec" => restored["spec"] = walk.value(name, found, wanted, &owners.field(name)),
            _ => restored[name] = walk.value(name, found, wanted, &FieldOwners::default()),
        }
    }
    Comparison { differing: walk.differing, added: walk.added, restored }
}

struct Walk {
    prefer: Prefer,
    differing: Vec<Difference>,
    added: Vec<Difference>,
}

impl Walk {
    fn value(&mut self, path: &str, live: &Value, wanted: &Value, owners: &FieldOwners<'_>) -> Value {
        match (live, wanted) {
            (Value::Object(live), Value::Object(wanted)) => self.object(path, live, wanted, owners).into(),
            (Value::Array(live), Value::Array(wanted)) if wanted.iter().chain(live).all(Value::is_object) => {
                self.list(path, live, wanted, owners).into()
            }
            (live, wanted) if live == wanted || (live.is_null() && is_empty(wanted)) => live.clone(),
            (live, wanted) => {
                self.differs(path, owners.any());
                self.prefer(live, wanted).clone()
            }
        }
    }

    fn object(
        &mut self,
        path: &str,
        live: &Map<String, Value>,
        wanted: &Map<String, Value>,
        owners: &FieldOwners<'_>,
    ) -> Map<String, Value> {
        let mut restored = Map::new();
        for (name, found) in live {
            let below = format!("{path}.{name}");
            let owners = owners.field(name);
            match wanted.get(name) {
                Some(wanted) => drop(restored.insert(name.clone(), self.value(&below, found, wanted, &owners))),
                None => {
                    let kept = self.extra(&below, found, &owners);
                    restored.extend(kept.map(|kept| (name.clone(), kept)));
                }
            }
        }
        for (name, wanted) in wanted.iter().filter(|(name, wanted)| !live.contains_key(*name) && !is_empty(wanted)) {
            self.differs(&format!("{path}.{name}"), None);
            if self.prefer == Prefer::Desired {
                restored.insert(name.clone(), wanted.clone());
            }
        }
        restored
    }

    /// The part of a field without a desired value that stays: all that no other client has added.
    fn extra(&mut self, path: &str, live: &Value, owners: &FieldOwners<'_>) -> Option<Value> {
        if path.starts_with(TEMPLATE_ANNOTATIONS) {
            return Some(live.clone());
        }
        if let Some(manager) = owners.owner() {
            self.added.push(difference(path, Some(manager)));
            return None;
        }
        Some(match live {
            Value::Object(fields) => {
                let kept = fields.iter().filter_map(|(name, value)| {
                    let kept = self.extra(&format!("{path}.{name}"), value, &owners.field(name))?;
                    Some((name.clone(), kept))
                });
                Value::Object(kept.collect())
            }
            Value::Array(items) => {
                let kept = items.iter().enumerate();
                let kept =
                    kept.filter_map(|(at, item)| self.extra(&item_path(path, at, item), item, &owners.item(item)));
                Value::Array(kept.collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => live.clone(),
        })
    }

    fn list(&mut self, path: &str, live: &[Value], wanted: &[Value], owners: &FieldOwners<'_>) -> Vec<Value> {
        let mut left: Vec<Option<&Value>> = wanted.iter().map(Some).collect();
        let mut restored = Vec::new();
        for (at, found) in live.iter().enumerate() {
            let (below, owners) = (item_path(path, at, found), owners.item(found));
            let same = |(index, wanted): (usize, &Option<&Value>)| {
                wanted.is_some_and(|wanted| is_same_item((at, found), (index, wanted)))
            };
            let wanted = left.iter().enumerate().position(same).and_then(|index| left[index].take());
            match (wanted, owners.owner()) {
                (Some(wanted), _) => restored.push(self.value(&below, found, wanted, &owners)),
                (None, Some(manager)) => self.added.push(difference(&below, Some(manager))),
                (None, None) => {
                    self.differs(&below, owners.any());
                    if self.prefer == Prefer::Live {
                        restored.push(found.clone());
                    }
                }
            }
        }
        for (at, wanted) in left.into_iter().enumerate() {
            let Some(wanted) = wanted else { continue };
            self.differs(&item_path(path, at, wanted), None);
            if self.prefer == Prefer::Desired {
                restored.push(wanted.clone());
            }
        }
        restored
    }

    /// The owner references with the desired ones, and without earlier ones of the same owner, of which at most one may
    /// be the controller; `None` if they are so already.
    fn owner_references(&mut self, wanted: &[Value], live: &[Value]) -> Option<Vec<Value>> {
        let is_outdated = |found: &&Value| {
            !wanted.iter().any(|wanted| wanted["uid"] == found["uid"])
                && wanted.iter().any(|wanted| is_same_owner(wanted, found))
        };
        let is_kept = |wanted: &&Value| {
            let fields = wanted.as_object();
            let found = live.iter().find(|found| found["uid"] == wanted["uid"]);
            found.is_some_and(|found| fields.into_iter().flatten().all(|(name, value)| found.get(name) == Some(value)))
        };
        if let Some(outdated) = live.iter().find(is_outdated) {
            self.added.push(difference(&item_path("metadata.ownerReferences", 0, outdated), None));
        } else if wanted.iter().all(|wanted| is_kept(&wanted)) {
            return None;
        } else {
            self.differs("metadata.ownerReferences", None);
        }
        let others = live.iter().filter(|found| !is_outdated(found));
        let others = others.filter(|found| !wanted.iter().any(|wanted| wanted["uid"] == found["uid"]));
        Some(others.chain(wanted).cloned().collect())
    }

    fn differs(&mut self, path: &str, manager: Option<&str>) {
        if self.differing.len() < DIFFERENCES_MAX {
            self.differing.push(difference(path, manager));
        }
    }

    fn prefer<'a>(&self, live: &'a Value, desired: &'a Value) -> &'a Value {
        match self.prefer {
            Prefer::Live => live,
            Prefer::Desired => desired,
        }
    }
}

fn difference(path: &str, manager: Option<&str>) -> Difference {
    let short = |text: &str| text.chars().take(FIELD_MAX).collect::<String>();
    Difference { field: short(path), manager: manager.map(short) }
}

/// The path of a list's item, by its name if it has one.
fn item_path(path: &str, at: usize, item: &Value) -> String {
    match key(item) {
        Some((_, Value::String(name))) => format!("{path}[{name}]"),
        Some((_, value)) => format!("{path}[{value}]"),
        None => format!("{path}[{at}]"),
    }
}

fn key(item: &Value) -> Option<(&'static str, &Value)> {
    KEYS.iter()
        .find_map(|key| item.get(*key).filter(|value| value.is_string() || value.is_number()).map(|it| (*key, it)))
}

/// Whether two items, with their places in their lists, are the same item.
fn is_same_item((at, one): (usize, &Value), (index, other): (usize, &Value)) -> bool {
    match (key(one), key(other)) {
        (None, None) => at == index,
        (one, other) => one == other,
    }
}

/// The merge patch (RFC 7396) that turns `from` into `to`; `None` if they are equal.
#[must_use]
pub fn merge_patch(from: &Value, to: &Value) -> Option<Value> {
    match (from, to) {
        (from, to) if from == to => None,
        (Value::Object(from), Value::Object(to)) => {
            let gone = from.keys().filter(|name| !to.contains_key(*name)).map(|name| (name.clone(), Value::Null));
            let set = to.iter().filter_map(|(name, to)| {
                let patch = merge_patch(from.get(name).unwrap_or(&Value::Null), to)?;
                Some((name.clone(), patch))
            });
            Some(Value::Object(gone.chain(set).collect()))
        }
        (_, to) => Some(to.clone()),
    }
}

/// Whether the API server may omit this value.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The part of the live object that the operator owns: the whole spec without the pod template's annotations of others,
/// and of the rest the desired fields. A change of it is a change by another client.
#[must_use]
pub fn owned(desired: &Value, live: &Value) -> Value {
    let mut owned = projected(desired, live);
    if let (Some(spec), Some(wanted)) = (live.get("spec"), desired.get("spec")) {
        owned["spec"] = spec.clone();
        if let Some(annotations) = owned.pointer_mut("/spec/template/metadata/annotations") {
            let wanted = wanted.pointer("/template/metadata/annotations");
            *annotations = wanted.map(|wanted| projected(wanted, annotations)).unwrap_or_default();
        }
        // A later annotation of others creates the map.
        if let Some(Value::Object(metadata)) = owned.pointer_mut("/spec/template/metadata") {
            metadata.retain(|_, value| !is_empty(value));
        }
    }
    owned["metadata"]["ownerReferences"] = references(live)
        .iter()
        .filter(|found| references(desired).iter().any(|wanted| is_same_owner(wanted, found)))
        .cloned()
        .collect();
    owned
}

/// The fields of `live` that `desired` has, too.
fn projected(desired: &Value, live: &Value) -> Value {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            let both =
                desired.iter().filter_map(|(name, desired)| Some((name.clone(), projected(desired, live.get(name)?))));
            Value::Object(both.collect())
        }
        (_, live) => live.clone(),
    }
}

#[cfg(test)]
mod tests;
