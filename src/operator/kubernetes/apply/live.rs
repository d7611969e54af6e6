//! An object as the API server returned it, with all fields, also those that other clients or later versions added.

use std::{fmt, marker::PhantomData};

use kube::{Resource, core::ObjectMeta};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::operator::kubernetes::{
    guarded::{Guarded, Parsed},
    metadata::{RawMetadata, same_kind_as},
};

/// An object of kind `K` as JSON. Parsing it never fails on a value.
#[derive(Clone)]
pub struct LiveObject<K> {
    metadata: ObjectMeta,
    raw: Value,
    kind: PhantomData<fn() -> K>,
}

impl<K> LiveObject<K> {
    /// The object as JSON, with its `managedFields`.
    #[must_use]
    pub fn raw(&self) -> &Value {
        &self.raw
    }
}

impl<K: Parsed + Resource> LiveObject<K> {
    /// The object, without the fields that do not parse.
    ///
    /// # Errors
    /// None occurs, see [`Guarded`].
    pub fn parse(&self) -> Result<K, serde_json::Error> {
        Guarded::<K>::deserialize(&self.raw).map(Guarded::into_inner)
    }
}

/// Without the values, which may be a Secret's.
impl<K> fmt::Debug for LiveObject<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveObject").field("name", &self.metadata.name).finish_non_exhaustive()
    }
}

impl<'de, K> Deserialize<'de> for LiveObject<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Value::deserialize(deserializer)?;
        let metadata = raw.get("metadata").filter(|metadata| metadata.is_object());
        let metadata = metadata.map(RawMetadata::deserialize).transpose().map_err(Error::custom)?;
        Ok(LiveObject { metadata: metadata.unwrap_or_default().parse(), raw, kind: PhantomData })
    }
}

impl<K: Resource> Resource for LiveObject<K> {
    same_kind_as!(K);

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
