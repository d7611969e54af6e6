//! Digests for comparing values within one process.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A 64-bit digest of a value, comparable only within one process.
#[must_use]
pub fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
