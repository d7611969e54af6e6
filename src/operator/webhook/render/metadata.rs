//! Metadata that all child objects of a webhook share: name, labels, selector and owner reference.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use crate::{
    api::webhook::LinktreeWebhook,
    operator::{kubernetes::names::MANAGED_BY, webhook::spec::Spec},
};

/// The value of the label `app.kubernetes.io/name` on the receivers' objects.
pub const RECEIVER: &str = "linktree-receiver";

pub(super) fn metadata(spec: &Spec, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(spec.name.namespace.clone()),
        labels: Some(labels(spec)),
        owner_references: Some(vec![owner(spec)]),
        ..ObjectMeta::default()
    }
}

/// The owner reference to the webhook.
#[must_use]
pub fn owner(spec: &Spec) -> OwnerReference {
    OwnerReference {
        api_version: LinktreeWebhook::api_version(&()).into_owned(),
        kind: LinktreeWebhook::kind(&()).into_owned(),
        name: spec.name.name.clone(),
        uid: spec.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// The selector of the receiver's pods. It must never change, since the selector of a StatefulSet is immutable.
pub(super) fn selector(spec: &Spec) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), RECEIVER.to_owned()),
        ("app.kubernetes.io/instance".to_owned(), spec.name.name.clone()),
    ])
}

pub(super) fn labels(spec: &Spec) -> BTreeMap<String, String> {
    let mut labels = selector(spec);
    labels.insert("app.kubernetes.io/component".to_owned(), "receiver".to_owned());
    labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned());
    labels
}

/// The port of the receiver's Service, unless the receiver terminates TLS itself.
pub const SERVICE_PORT: u16 = 80;
