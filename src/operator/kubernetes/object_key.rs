//! The namespace and name that identify an object of a kind.

use std::fmt;

use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};

use crate::api::webhook::LinktreeWebhook;

/// Namespace and name: identifies an object among all of its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    pub namespace: String,
    pub name: String,
}

impl ObjectKey {
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        ObjectKey { namespace: namespace.into(), name: name.into() }
    }

    /// The key of this namespaced object.
    #[must_use]
    pub fn of(object: &impl ResourceExt) -> Self {
        ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any())
    }

    /// The key of the `LinktreeConnection` in a webhook's spec, which is in the webhook's own namespace.
    #[must_use]
    pub fn connection_of(webhook: &LinktreeWebhook) -> Self {
        ObjectKey::new(webhook.namespace().unwrap_or_default(), webhook.spec.connection_ref.name.clone())
    }

    /// The same key as kube's `ObjectRef`.
    #[must_use]
    pub fn object_ref<K: Resource<DynamicType = ()>>(&self) -> ObjectRef<K> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
