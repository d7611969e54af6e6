//! Renders the ownership of an object's fields as `metadata.managedFields`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    apply::{Manager, Ownership, Path},
    kinds::Kind,
    store::Part,
};

/// The time of each manager's last change.
pub type Times = BTreeMap<Manager, Timestamp>;

pub fn render(kind: &Kind, ownership: &Ownership, times: &Times) -> Value {
    let entry = |(manager, owned): (&Manager, &BTreeSet<Path>)| {
        let mut entry = json!({
            "manager": manager.name,
            "operation": if manager.applies { "Apply" } else { "Update" },
            "apiVersion": kind.api_version(),
            "fieldsType": "FieldsV1",
            "fieldsV1": tree(kind, owned),
        });
        if manager.part == Part::Status {
            entry["subresource"] = "status".into();
        }
        if let Some(at) = times.get(manager) {
            entry["time"] = Timestamp::from_second(at.as_second()).unwrap().to_string().into();
        }
        entry
    };
    ownership.iter().filter(|(_, owned)| !owned.is_empty()).map(entry).collect()
}

fn tree(kind: &Kind, owned: &BTreeSet<Path>) -> Value {
    let mut tree = json!({});
    for path in owned {
        let (mut node, mut list) = (&mut tree, String::new());
        for part in path {
            let key = if let Some(keys) = part.strip_prefix('[') {
                let values: Vec<Value> = serde_json::from_str(&format!("[{keys}")).unwrap();
                let names = kind.list_keys(&list).unwrap_or_default();
                let keys: Value = names.iter().map(|name| (*name).to_owned()).zip(values).collect();
                format!("k:{keys}")
            } else if let Some(value) = part.strip_prefix('=') {
                format!("v:{value}")
            } else {
                list = if list.is_empty() { part.clone() } else { format!("{list}.{part}") };
                format!("f:{part}")
            };
            node = node.as_object_mut().unwrap().entry(key).or_insert(json!({}));
        }
        if path.last().is_some_and(|part| part.starts_with('[')) {
            node["."] = json!({});
        }
    }
    tree
}
