//! Which other clients own which fields of an object, from its `managedFields`. Pure.

use serde_json::Value;

/// The fields of one object, or of a part of it, that field managers other than ours own.
#[derive(Clone, Debug, Default)]
pub struct FieldOwners<'a>(Vec<(&'a str, &'a Value)>);

impl<'a> FieldOwners<'a> {
    /// The owners other than `ours` of an object's fields outside its status.
    ///
    /// The API server records the changes of an admission policy under the manager of the request: those of our own
    /// writes are ours.
    #[must_use]
    pub fn of(object: &'a Value, ours: &str) -> Self {
        let entries = object["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
        let theirs = entries.iter().filter(|entry| {
            entry["subresource"] != "status" && entry["manager"] != ours && !is_leaf(&entry["fieldsV1"])
        });
        FieldOwners(theirs.map(|entry| (entry["manager"].as_str().unwrap_or("unknown"), &entry["fieldsV1"])).collect())
    }

    /// The owners of a field of this part.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        let name = format!("f:{name}");
        self.below(|tree| tree.get(&name))
    }

    /// The owners of an item of this list.
    #[must_use]
    pub fn item(&self, item: &Value) -> Self {
        self.below(|tree| tree.as_object()?.iter().find(|(key, _)| is_of(key, item)).map(|(_, below)| below))
    }

    /// The manager that owns this part itself: it has set it, and not only fields of it.
    #[must_use]
    pub fn owner(&self) -> Option<&'a str> {
        self.0.iter().find(|(_, tree)| is_leaf(tree) || tree.get(".").is_some()).map(|(manager, _)| *manager)
    }

    /// A manager that owns this part or fields of it.
    #[must_use]
    pub fn any(&self) -> Option<&'a str> {
        self.0.first().map(|(manager, _)| *manager)
    }

    fn below(&self, step: impl Fn(&'a Value) -> Option<&'a Value>) -> Self {
        let owners = self.0.iter().filter_map(|(manager, tree)| {
            // The owner of an atomic list or map owns everything in it.
            let below = if is_leaf(tree) { Some(*tree) } else { step(tree) };
            below.map(|below| (*manager, below))
        });
        FieldOwners(owners.collect())
    }
}

fn is_leaf(tree: &Value) -> bool {
    tree.as_object().is_some_and(serde_json::Map::is_empty)
}

/// Whether a list's key in `managedFields`, such as `k:{"name":"a"}` or `v:"a"`, is that of this item.
fn is_of(key: &str, item: &Value) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    if let Some(keys) = key.strip_prefix("k:").and_then(parsed) {
        return keys.as_object().is_some_and(|keys| keys.iter().all(|(name, value)| item.get(name) == Some(value)));
    }
    key.strip_prefix("v:").and_then(parsed).is_some_and(|value| value == *item)
}
