//! Server-side apply with force: a field that a manager applied before and omits now is removed, unless another manager
//! owns it too. Other writes own the fields that they change, as a separate manager even with the same name. Lists of
//! type map or set are merged item by item.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{kinds::Kind, store::Part};

/// A field: its names and the keys of list items.
pub type Path = Vec<String>;
/// The fields that each manager owns.
pub type Ownership = BTreeMap<Manager, BTreeSet<Path>>;
type Fields = BTreeMap<Path, Value>;

/// A field manager.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    pub name: String,
    /// Whether it writes by server-side apply.
    pub applies: bool,
    pub part: Part,
}

/// The fields of an object with their values.
fn fields(kind: &Kind, object: &Value) -> Fields {
    let mut found = BTreeMap::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| !is_server_set(name)) {
                    collect(
                        kind,
                        &mut vec!["metadata".to_owned(), name.clone()],
                        &format!("metadata.{name}"),
                        value,
                        &mut found,
                    );
                }
            }
            _ => collect(kind, &mut vec![name.clone()], name, value, &mut found),
        }
    }
    found
}

fn is_server_set(metadata: &str) -> bool {
    let all = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "managedFields",
    ];
    all.contains(&metadata)
}

fn collect(kind: &Kind, path: &mut Path, list: &str, value: &Value, found: &mut Fields) {
    match (value, kind.list_keys(list)) {
        (Value::Object(fields), _) if !fields.is_empty() => {
            for (name, value) in fields {
                path.push(name.clone());
                collect(kind, path, &format!("{list}.{name}"), value, found);
                path.pop();
            }
        }
        (Value::Array(items), Some(keys)) => {
            for item in items {
                path.push(item_key(item, keys));
                found.insert(path.clone(), Value::Null);
                if !keys.is_empty() {
                    for (name, value) in item.as_object().into_iter().flatten() {
                        path.push(name.clone());
                        collect(kind, path, &format!("{list}.{name}"), value, found);
                        path.pop();
                    }
                }
                path.pop();
            }
        }
        (
            Value::Object(_) | Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_),
            _,
        ) => {
            found.insert(path.clone(), value.clone());
        }
    }
}

fn item_key(item: &Value, keys: &[&str]) -> String {
    if keys.is_empty() {
        return format!("={item}");
    }
    let part = |key: &&str| match (*key, item.get(key)) {
        ("protocol", None) => "\"TCP\"".to_owned(),
        (_, value) => value.unwrap_or(&Value::Null).to_string(),
    };
    format!("[{}]", keys.iter().map(part).collect::<Vec<_>>().join(","))
}

/// Whether an apply without force conflicts: another manager owns a field that it would change.
pub fn conflicts(kind: &Kind, live: &Value, wanted: &Value, manager: &Manager, ownership: &Ownership) -> bool {
    let (new, current) = (fields(kind, wanted), fields(kind, live));
    let mut others = ownership.iter().filter(|(other, _)| *other != manager).flat_map(|(_, owned)| owned);
    others.any(|path| new.get(path).is_some_and(|value| current.get(path) != Some(value)))
}

/// Returns `live` after `manager` applied `wanted`.
pub fn apply(kind: &Kind, live: &Value, wanted: &Value, manager: &Manager, ownership: &mut Ownership) -> Value {
    let (new, current) = (fields(kind, wanted), fields(kind, live));
    take_over(&new, &current, manager, ownership);
    let old = ownership.remove(manager).unwrap_or_default();
    let others: BTreeSet<&Path> =
        ownership.iter().filter(|(other, _)| other.part == manager.part).flat_map(|(_, owned)| owned).collect();
    let dropped: Vec<&Path> = old.iter().filter(|path| !new.contains_key(*path) && !others.contains(path)).collect();
    let mut next = live.clone();
    // In path order, so that items are removed before their fields.
    for path in dropped {
        remove(kind, &mut next, path);
    }
    overlay(kind, &mut next, wanted, "");
    ownership.insert(manager.clone(), new.into_keys().collect());
    next
}

/// Records that `manager` changed `live` to `next` without apply: it owns the changed fields.
pub fn update(kind: &Kind, live: &Value, next: &Value, manager: &Manager, ownership: &mut Ownership) {
    let (before, after) = (fields(kind, live), fields(kind, next));
    let changed: Fields = after.iter().filter(|(path, value)| before.get(*path) != Some(value)).map(cloned).collect();
    take_over(&changed, &before, manager, ownership);
    ownership.values_mut().for_each(|owned| owned.retain(|path| after.contains_key(path)));
    ownership.entry(manager.clone()).or_default().extend(changed.into_keys());
}

fn cloned((path, value): (&Path, &Value)) -> (Path, Value) {
    (path.clone(), value.clone())
}

/// Removes ownership of changed fields from all other managers.
fn take_over(new: &Fields, live: &Fields, manager: &Manager, ownership: &mut Ownership) {
    let differs = |path: &Path| new.get(path).is_some_and(|value| live.get(path) != Some(value));
    for (_, owned) in ownership.iter_mut().filter(|(other, _)| *other != manager) {
        owned.retain(|path| !differs(path));
    }
}

fn remove(kind: &Kind, object: &mut Value, path: &[String]) {
    fn descend(kind: &Kind, value: &mut Value, list: &str, path: &[String]) -> bool {
        let [first, rest @ ..] = path else { return true };
        match value {
            Value::Object(fields) => {
                let below = if list.is_empty() { first.clone() } else { format!("{list}.{first}") };
                let Some(next) = fields.get_mut(first) else { return false };
                if descend(kind, next, &below, rest) {
                    fields.remove(first);
                }
                // A map without fields is removed as well.
                fields.is_empty() && !list.is_empty()
            }
            Value::Array(items) => {
                let keys = kind.list_keys(list).unwrap_or_default();
                let Some(at) = items.iter().position(|item| item_key(item, keys) == *first) else { return false };
                if rest.is_empty() {
                    items.remove(at);
                } else {
                    descend(kind, &mut items[at], list, rest);
                }
                items.is_empty()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    descend(kind, object, "", path);
}

fn overlay(kind: &Kind, live: &mut Value, wanted: &Value, list: &str) {
    match (wanted, kind.list_keys(list)) {
        (Value::Object(fields), _) => {
            if !live.is_object() {
                *live = Value::Object(serde_json::Map::new());
            }
            for (name, wanted) in fields {
                let below = if list.is_empty() { name.clone() } else { format!("{list}.{name}") };
                let slot = live.as_object_mut().unwrap().entry(name.clone()).or_insert(Value::Null);
                overlay(kind, slot, wanted, &below);
            }
        }
        (Value::Array(wanted), Some(keys)) => {
            if !live.is_array() {
                *live = Value::Array(Vec::new());
            }
            let items = live.as_array_mut().unwrap();
            for item in wanted {
                let key = item_key(item, keys);
                match items.iter_mut().find(|known| item_key(known, keys) == key) {
                    Some(known) if !keys.is_empty() => overlay(kind, known, item, list),
                    Some(_) => {}
                    None => items.push(item.clone()),
                }
            }
        }
        (Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => {
            *live = wanted.clone();
        }
    }
}
