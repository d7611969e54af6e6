//! Server-side apply, as far as it concerns who always forces: what a manager applied before and leaves out now goes,
//! unless another manager applied it too. Lists of a map or set type are merged item by item.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{kinds::Kind, store::Part};

/// A field: names, and the keys of list items.
pub type Path = Vec<String>;
/// Which fields each manager has applied, to each part of an object.
pub type Ownership = BTreeMap<(String, Part), BTreeSet<Path>>;

/// The fields an applied object speaks of.
pub fn fields(kind: &Kind, object: &Value) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    for (name, value) in object.as_object().unwrap() {
        match name.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                let said = value.as_object().unwrap().iter();
                for (name, value) in said.filter(|(name, _)| !matches!(name.as_str(), "name" | "namespace")) {
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

fn collect(kind: &Kind, path: &mut Path, list: &str, value: &Value, found: &mut BTreeSet<Path>) {
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
                found.insert(path.clone());
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
            found.insert(path.clone());
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

/// What `live` is after `manager` applied `wanted`.
pub fn apply(kind: &Kind, live: &Value, wanted: &Value, manager: (String, Part), ownership: &mut Ownership) -> Value {
    let new = fields(kind, wanted);
    let old = ownership.remove(&manager).unwrap_or_default();
    let others: BTreeSet<&Path> =
        ownership.iter().filter(|((_, part), _)| *part == manager.1).flat_map(|(_, owned)| owned).collect();
    let dropped: Vec<&Path> = old.iter().filter(|path| !new.contains(*path) && !others.contains(path)).collect();
    let mut next = live.clone();
    // Items before what is inside them: longest last would look for fields of items that are gone.
    for path in dropped {
        remove(kind, &mut next, path);
    }
    overlay(kind, &mut next, wanted, "");
    ownership.insert(manager, new);
    next
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
                // A map that nothing is left of is not kept for its own sake.
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
