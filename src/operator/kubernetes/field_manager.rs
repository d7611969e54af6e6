//! The field manager of the operator's writes. It names the operator's namespace and release, so that the writes of two
//! operators can be distinguished. Pure.

use std::sync::Arc;

use sha2::{Digest, Sha256};

/// The name of the operator's software, and the beginning of its field managers.
pub const SOFTWARE: &str = "linktree-webhook-operator";

/// Maximum length of a field manager in Kubernetes.
const LENGTH_MAX: usize = 128;

/// The field manager of this operator. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldManager(Arc<str>);

impl FieldManager {
    /// The field manager of the operator with this namespace and name.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        let full = format!("{SOFTWARE}/{namespace}/{name}");
        if full.len() <= LENGTH_MAX {
            return FieldManager(full.into());
        }
        let short: String = format!("{SOFTWARE}/{namespace}/").chars().take(LENGTH_MAX - 17).collect();
        FieldManager(format!("{short}.{}", hex::encode(&Sha256::digest(full)[..8])).into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace and name of the operator, separated by `/`.
    #[must_use]
    pub fn operator(&self) -> &str {
        operator_of(&self.0).unwrap_or(&self.0)
    }
}

/// The namespace and name of the operator with this field manager; `None` if it is another client's.
#[must_use]
pub fn operator_of(manager: &str) -> Option<&str> {
    manager.strip_prefix(SOFTWARE)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_manager_names_the_operator_within_the_limit() {
        let manager = FieldManager::new("linktree-system", "linktree");
        assert_eq!(manager.as_str(), "linktree-webhook-operator/linktree-system/linktree");
        assert_eq!(manager.operator(), "linktree-system/linktree");
        for other in ["kubectl", SOFTWARE, "linktree-webhook-operator-x/a"] {
            assert_eq!(operator_of(other), None, "{other}");
        }
        let long = |end: &str| FieldManager::new(&"n".repeat(63), &format!("{}{end}", "x".repeat(62)));
        assert_ne!(long("a"), long("b"));
        assert!(long("a").as_str().len() <= LENGTH_MAX);
    }
}
