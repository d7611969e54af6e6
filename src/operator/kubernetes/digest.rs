//! Digests for comparing values within one process.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A 64-bit digest of a value. Only equality counts, and only within one process.
#[must_use]
pub fn digest(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
