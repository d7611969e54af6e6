//! Reads objects in a webhook's namespace, and records their observed versions.

use std::fmt::Debug;

use kube::{Api, core::NamespaceResourceScope};
use serde::Serialize;

use crate::operator::{
    kubernetes::{
        apply::live::LiveObject,
        guarded::{Guarded, GuardedApi, Parsed},
        object_key::ObjectKey,
    },
    watch::observed_versions::{Kind, Object, Version},
    webhook::{context::Context, spec::Spec},
};

/// Reads an object by name, and records its version or its absence.
pub(super) async fn read<K>(context: &Context, spec: &Spec, kind: Kind, name: &str) -> Result<Option<K>, kube::Error>
where
    K: Kubernetes,
{
    let webhook = key(spec);
    let object = Object::new(kind, &webhook.namespace, name);
    context.versions.begin_read(&webhook, object);
    let found = api::<K>(context, spec).get_opt(name).await?.map(Guarded::into_inner);
    context.versions.record_read(&webhook, object, Version::of_found(found.as_ref()), 0);
    Ok(found)
}

pub(super) fn key(spec: &Spec) -> ObjectKey {
    ObjectKey::new(&spec.name.namespace, &spec.name.name)
}

/// A namespaced Kubernetes kind that a webhook's reconciliation reads.
pub(super) trait Kubernetes:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Parsed + Serialize
{
}

impl<K> Kubernetes for K where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Parsed + Serialize
{
}

/// The API of a kind whose objects are read with all their fields.
pub(super) fn live_api<K: Kubernetes>(context: &Context, spec: &Spec) -> Api<LiveObject<K>> {
    Api::namespaced(context.cluster.client.clone(), &spec.name.namespace)
}

/// As [`read`], with all fields of the object.
pub(super) async fn read_live<K>(
    context: &Context,
    spec: &Spec,
    kind: Kind,
    name: &str,
) -> Result<Option<LiveObject<K>>, kube::Error>
where
    K: Kubernetes,
{
    let webhook = key(spec);
    let object = Object::new(kind, &webhook.namespace, name);
    context.versions.begin_read(&webhook, object);
    let found = live_api::<K>(context, spec).get_opt(name).await?;
    context.versions.record_read(&webhook, object, Version::of_found(found.as_ref()), 0);
    Ok(found)
}

pub(super) fn api<K: Kubernetes>(context: &Context, spec: &Spec) -> GuardedApi<K> {
    GuardedApi::namespaced(context.cluster.client.clone(), &spec.name.namespace)
}
