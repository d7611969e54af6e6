//! Fields that the API server does not let any client change. Pure.

use serde_json::Value;

/// The immutable field of a StatefulSet's spec that depends on the spec of a custom resource: the journal's capacity. An
/// object that was orphaned or restored may have been created from another spec, or by another version.
const CLAIM_TEMPLATES: &str = "volumeClaimTemplates";

/// Whether objects of this kind have such fields.
#[must_use]
pub fn has_immutable_fields(desired: &Value) -> bool {
    desired["kind"] == "StatefulSet"
}

/// The desired object with the immutable fields as the live one was created. The API server would reject it as a whole
/// because of one such field, and the other fields would never be applied; the comparison reports the difference.
#[must_use]
pub fn with_immutable_fields_of(live: &Value, mut desired: Value) -> Value {
    if has_immutable_fields(&desired)
        && let Some(created) = live["spec"].get(CLAIM_TEMPLATES)
    {
        desired["spec"][CLAIM_TEMPLATES] = created.clone();
    }
    desired
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claim_templates_stay_as_they_were_created() {
        let object = |kind: &str, capacity: &str, image: &str| {
            let templates = json!([{"metadata": {"name": "journal"}, "spec": {"capacity": capacity}}]);
            json!({"kind": kind, "spec": {"volumeClaimTemplates": templates, "template": {"image": image}}})
        };
        let set = |capacity, image| object("StatefulSet", capacity, image);
        let cases = [
            (set("1Gi", "old"), set("2Gi", "new"), set("1Gi", "new")),
            (set("1Gi", "old"), set("1Gi", "new"), set("1Gi", "new")),
            (object("Other", "1Gi", "old"), object("Other", "2Gi", "new"), object("Other", "2Gi", "new")),
            (json!({"spec": {}}), set("1Gi", "new"), set("1Gi", "new")),
            (json!({}), set("1Gi", "new"), set("1Gi", "new")),
        ];
        for (live, desired, expected) in cases {
            assert_eq!(with_immutable_fields_of(&live, desired.clone()), expected, "{live} {desired}");
        }
    }
}
