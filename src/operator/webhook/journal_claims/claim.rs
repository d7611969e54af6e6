//! A journal's claim, as a sweep finds it. Pure.

use k8s_openapi::{api::apps::v1::StatefulSet, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource, core::ObjectMeta};

use super::mark::Mark;
use crate::{
    api::webhook::LinktreeWebhook,
    operator::kubernetes::{names, object_key::ObjectKey},
};

/// The claim for the volume of a webhook's journal.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalClaim {
    pub name: String,
    /// The webhook that the claim belongs to by its name; it need not exist.
    pub webhook: ObjectKey,
    pub uid: String,
    pub resource_version: String,
    pub mark: Option<Mark>,
    /// The owner references without that to the webhook, if there is one: the garbage collector would delete the claim
    /// with the webhook, or after a restore at once.
    pub disowned: Option<Vec<OwnerReference>>,
}

impl JournalClaim {
    /// The claim with this metadata; `None` if it is not the operator's, or is being deleted.
    #[must_use]
    pub fn of(claim: &ObjectMeta) -> Option<Self> {
        let name = claim.name.clone()?;
        let webhook = ObjectKey::new(claim.namespace.clone()?, names::owner_of_journal_claim(&name)?);
        let owners = claim.owner_references.as_deref().unwrap_or_default();
        let (by_webhook, others): (Vec<_>, Vec<_>) =
            owners.iter().cloned().partition(|owner| is_of::<LinktreeWebhook>(owner, &webhook.name));
        let is_foreign = |owner: &OwnerReference| !is_of::<StatefulSet>(owner, &names::receiver(&webhook.name));
        if claim.deletion_timestamp.is_some() || others.iter().any(is_foreign) {
            return None;
        }
        Some(JournalClaim {
            name,
            webhook,
            uid: claim.uid.clone()?,
            resource_version: claim.resource_version.clone()?,
            mark: Mark::of(claim),
            disowned: (!by_webhook.is_empty()).then_some(others),
        })
    }
}

/// Whether the owner is the object of this kind and name, whatever its uid and version.
fn is_of<K: Resource<DynamicType = ()>>(owner: &OwnerReference, name: &str) -> bool {
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    group == K::group(&()) && owner.kind == K::kind(&()) && owner.name == name
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(edit: impl FnOnce(&mut Value)) -> Option<JournalClaim> {
        let mut claim = json!({
            "name": "journal-links-receiver-0", "namespace": "marketing", "uid": "u", "resourceVersion": "7",
        });
        edit(&mut claim);
        JournalClaim::of(&serde_json::from_value(claim).unwrap())
    }

    fn owner(version: &str, kind: &str, name: &str) -> Value {
        json!({"apiVersion": version, "kind": kind, "name": name, "uid": "dead"})
    }

    #[test]
    fn a_claim_belongs_to_the_webhook_of_its_name_unless_it_is_anothers() {
        let plain = claim(|_| {}).unwrap();
        assert_eq!(plain.webhook, ObjectKey::new("marketing", "links"));
        assert_eq!((plain.mark, plain.disowned), (None, None));
        let ours = owner("webhooks.linktree-operator.dev/v1alpha1", "LinktreeWebhook", "links");
        let set = owner("apps/v1", "StatefulSet", "links-receiver");
        let disowned = |owners: &[&Value]| claim(|it| it["ownerReferences"] = json!(owners)).map(|it| it.disowned);
        assert_eq!(disowned(&[&ours]), Some(Some(Vec::new())), "another version of the operator wrote it");
        assert_eq!(disowned(&[&set]), Some(None), "the StatefulSet controller owns this one");
        let [left] = disowned(&[&ours, &set]).unwrap().unwrap().try_into().unwrap();
        assert_eq!(left.kind, "StatefulSet");
        for other in [
            owner("apps/v1", "StatefulSet", "other"),
            owner("apps/v1", "Deployment", "links-receiver"),
            owner("webhooks.linktree-operator.dev/v1alpha1", "LinktreeWebhook", "other"),
            owner("v1", "LinktreeWebhook", "links"),
        ] {
            assert_eq!(disowned(&[&ours, &other]), None, "{other}");
        }
        assert_eq!(claim(|it| it["deletionTimestamp"] = "2026-01-01T00:00:00Z".into()), None);
        assert_eq!(claim(|it| it["name"] = "journal-links".into()), None);
        assert_eq!(claim(|it| it["uid"] = Value::Null), None);
    }
}
