//! Which operator manages a custom resource. Pure.
//!
//! An operator claims an object with its first write of the status. A second operator finds the claim, and leaves the
//! object and everything that belongs to it alone. An annotation hands an object over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use kube::core::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::{
    annotations::OPERATOR,
    field_manager::{FieldManager, operator_of},
};

/// The operator that manages an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// None has claimed it.
    Unclaimed,
    Ours,
    /// Another operator: its namespace and name.
    Another(String),
}

impl Claim {
    /// The claim on an object: by its annotation, or else by the last operator that wrote its status.
    #[must_use]
    pub fn of(object: &ObjectMeta, ours: &FieldManager) -> Self {
        let named = object.annotations.as_ref().and_then(|annotations| annotations.get(OPERATOR)).map(String::as_str);
        let operator = named.or_else(|| operator_of(Self::last_writer(object)?));
        match operator {
            None => Claim::Unclaimed,
            Some(operator) if operator == ours.operator() => Claim::Ours,
            Some(operator) => Claim::Another(operator.to_owned()),
        }
    }

    /// The field manager of the last operator that wrote the object's status.
    #[must_use]
    pub fn last_writer(object: &ObjectMeta) -> Option<&str> {
        let entries = object.managed_fields.iter().flatten();
        let last = entries.max_by_key(|entry| (entry.time.as_ref().map(|Time(at)| *at), entry.manager.clone()));
        last.and_then(|entry| entry.manager.as_deref())
    }

    /// This claim, or `other` if there is none.
    #[must_use]
    pub fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Claim::Unclaimed => other(),
            Claim::Ours | Claim::Another(_) => self,
        }
    }
}

/// The entries of an object's `managedFields` that are operators' writes of the status, without their fields. An entry
/// that does not parse is left out, and so is a time.
#[must_use]
pub fn entries(metadata: &Value) -> Option<Vec<ManagedFieldsEntry>> {
    let all = metadata.get("managedFields")?.as_array()?;
    let is_claim = |entry: &&Value| {
        entry["operation"] == "Apply"
            && entry["subresource"] == "status"
            && entry["manager"].as_str().and_then(operator_of).is_some()
    };
    let claims = all.iter().filter(is_claim).map(|entry| ManagedFieldsEntry {
        manager: entry["manager"].as_str().map(str::to_owned),
        operation: Some("Apply".to_owned()),
        subresource: Some("status".to_owned()),
        time: Time::deserialize(&entry["time"]).ok(),
        ..ManagedFieldsEntry::default()
    });
    Some(claims.collect::<Vec<_>>()).filter(|claims| !claims.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_annotation_or_else_the_last_writer_of_the_status_manages_the_object() {
        let ours = FieldManager::new("a", "x");
        let entry = |operator: &str, time: &str| json!({"manager": format!("linktree-webhook-operator/{operator}"), "operation": "Apply", "subresource": "status", "time": time, "fieldsV1": {}});
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let mut main = entry("b/y", late);
        main["subresource"] = "".into();
        let user = json!({"manager": "kubectl", "operation": "Apply", "subresource": "status", "time": late});
        let another = || Claim::Another("b/y".into());
        let cases = [
            ("no status yet", json!([]), None, Claim::Unclaimed),
            ("none is an operator's status", json!([main, user, 7]), None, Claim::Unclaimed),
            ("ours", json!([entry("a/x", early)]), None, Claim::Ours),
            ("another", json!([entry("b/y", early)]), None, another()),
            ("another wrote last", json!([entry("b/y", late), entry("a/x", early)]), None, another()),
            ("ours wrote last", json!([entry("a/x", late), entry("b/y", early)]), None, Claim::Ours),
            (
                "a time that cannot be read",
                json!([entry("b/y", "11532-01-01"), entry("a/x", early)]),
                None,
                Claim::Ours,
            ),
            ("handed over to us", json!([entry("b/y", late)]), Some("a/x"), Claim::Ours),
            ("handed over to another", json!([entry("a/x", late)]), Some("b/y"), another()),
        ];
        for (case, managed, annotation, expected) in cases {
            let annotations = annotation.map(|to: &str| [(OPERATOR.to_owned(), to.to_owned())].into());
            let managed_fields = entries(&json!({"managedFields": managed}));
            let object = ObjectMeta { annotations, managed_fields, ..ObjectMeta::default() };
            assert_eq!(Claim::of(&object, &ours), expected, "{case}");
        }
    }
}
