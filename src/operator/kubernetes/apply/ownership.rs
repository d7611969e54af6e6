//! Whether an object is the operator's. Pure.

use serde_json::Value;

use crate::operator::kubernetes::names::MANAGED_BY;

/// The label with the tool that manages an object.
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Why an object is not the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It has no label of the operator: a user or another tool created it.
    Unlabeled,
    /// Another object controls or owns it: its kind and name.
    OwnedBy { owner: String },
}

/// Why `live` is not the operator's object for the owner of `desired`; `None` if it is.
///
/// It is ours if it has our label or our own uid as controller, and an owner that is absent or has the kind and name of ours, whatever its uid: a
/// restore from a backup leaves the uid of an owner that no longer exists.
#[must_use]
pub fn foreign(desired: &Value, live: &Value) -> Option<Foreign> {
    let ours = references(desired);
    // A label that was changed by hand does not make another owner.
    let is_controlled = references(live)
        .iter()
        .any(|reference| reference["controller"] == true && ours.iter().any(|ours| ours["uid"] == reference["uid"]));
    if !is_controlled && live["metadata"]["labels"][MANAGED_BY_LABEL] != MANAGED_BY {
        return Some(Foreign::Unlabeled);
    }
    let is_ours = |reference: &&Value| ours.iter().any(|ours| is_same_owner(reference, ours));
    let all = references(live);
    let others = || all.iter().filter(|reference| !is_ours(reference));
    let controller = others().find(|reference| reference["controller"] == true);
    let owner = controller.or_else(|| others().next().filter(|_| others().count() == all.len()));
    owner.map(|owner| Foreign::OwnedBy { owner: format!("{} {}", text(owner, "kind"), text(owner, "name")) })
}

/// The owner references of an object.
#[must_use]
pub fn references(object: &Value) -> &[Value] {
    object["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Whether two owner references name an object of one API group, kind and name, whatever its uid.
#[must_use]
pub fn is_same_owner(one: &Value, other: &Value) -> bool {
    let group = |reference: &Value| text(reference, "apiVersion").split('/').next().unwrap_or_default().to_owned();
    group(one) == group(other) && one["kind"] == other["kind"] && one["name"] == other["name"]
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ours_has_our_label_and_no_other_owner() {
        let owner = |kind: &str, name: &str, uid: &str| json!({"apiVersion": "webhooks.linktree-operator.dev/v1alpha1", "kind": kind, "name": name, "uid": uid, "controller": true});
        let live = |label: &str, owners: &[Value]| json!({"metadata": {"labels": {MANAGED_BY_LABEL: label}, "ownerReferences": owners}});
        let ours = owner("LinktreeWebhook", "links", "u-1");
        let desired = live(MANAGED_BY, std::slice::from_ref(&ours));
        let by = |owner: &str| Some(Foreign::OwnedBy { owner: owner.to_owned() });
        let deployment =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u", "controller": true});
        let further = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "app", "uid": "u"});
        let mut newer = ours.clone();
        newer["apiVersion"] = "webhooks.linktree-operator.dev/v1".into();
        let cases = [
            ("ours", live(MANAGED_BY, std::slice::from_ref(&ours)), None),
            ("its owner's uid is dead", live(MANAGED_BY, &[owner("LinktreeWebhook", "links", "dead")]), None),
            ("another version of our API", live(MANAGED_BY, &[newer]), None),
            ("no owner", live(MANAGED_BY, &[]), None),
            ("a further owner", live(MANAGED_BY, &[further, ours.clone()]), None),
            ("ours, but another controller", live(MANAGED_BY, &[deployment.clone(), ours]), by("Deployment web")),
            (
                "another label, and our own uid controls it",
                live("Helm", &[owner("LinktreeWebhook", "links", "u-1")]),
                None,
            ),
            (
                "another label, and a dead uid",
                live("Helm", &[owner("LinktreeWebhook", "links", "dead")]),
                Some(Foreign::Unlabeled),
            ),
            ("another label", live("Helm", &[]), Some(Foreign::Unlabeled)),
            ("no metadata", json!({}), Some(Foreign::Unlabeled)),
            (
                "our label, another webhook",
                live(MANAGED_BY, &[owner("LinktreeWebhook", "other", "u")]),
                by("LinktreeWebhook other"),
            ),
            ("our label, another controller", live(MANAGED_BY, &[deployment]), by("Deployment web")),
            (
                "our label, an owner of our name",
                live(MANAGED_BY, &[json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "links"})]),
                by("ConfigMap links"),
            ),
        ];
        for (case, live, expected) in cases {
            assert_eq!(foreign(&desired, &live), expected, "{case}");
        }
    }
}
