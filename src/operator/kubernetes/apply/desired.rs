//! A desired object. Pure.

use kube::Resource;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::operator::kubernetes::digest::digest;

/// A desired object, which is compared with the live one and applied if that differs.
#[derive(Clone, PartialEq)]
pub struct Desired {
    pub name: String,
    pub(super) value: Value,
    digest: u64,
}

impl Desired {
    /// Wraps the desired object, which has no status and no metadata that the server sets.
    ///
    /// # Errors
    /// When the object cannot be serialized to JSON, which the types of the Kubernetes API always can.
    pub fn new<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Result<Self, serde_json::Error> {
        let mut value = serde_json::to_value(object)?;
        let digest = digest(&Sha256::digest(serde_json::to_vec(&value)?).as_slice());
        value["apiVersion"] = K::api_version(&()).into();
        value["kind"] = K::kind(&()).into();
        Ok(Desired { name: object.meta().name.clone().unwrap_or_default(), value, digest })
    }

    /// A digest of the desired object, comparable only within one process.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The JSON object that is sent to the API server.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }
}

/// Without the value, which may be a Secret's.
impl std::fmt::Debug for Desired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desired").field("name", &self.name).finish_non_exhaustive()
    }
}
