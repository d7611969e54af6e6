//! Decides whether an object must be applied. Pure.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    compare::{Comparison, Difference, Prefer, compare, owned},
    desired::Desired,
    field_owners::FieldOwners,
    memory::Memory,
    ownership::{Foreign, foreign},
};
use crate::operator::kubernetes::{
    digest::digest,
    field_manager::{FieldManager, operator_of},
};

/// The relation of a live object to the desired one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The object is as desired.
    Met,
    /// The object must be applied: it is missing, the desired object is a new one, or other clients changed it.
    Apply {
        /// The uid of the object to change; `None` if it does not exist.
        onto: Option<String>,
        /// The fields that other clients changed after the last apply, or added.
        reverts: Vec<Difference>,
    },
    /// The object differs and is not written now: the API server did not keep these fields of the last apply, or other
    /// clients change them again and again. They are applied again later.
    Kept(Vec<Difference>),
    /// The object is not ours and is left alone.
    Foreign(Foreign),
    /// Another operator applies the object: its namespace and name.
    AnotherOperator { operator: String },
}

impl Standing {
    /// Whether the apply that this requires reverts what other clients did after the last one.
    #[must_use]
    pub fn is_revert(&self) -> bool {
        match self {
            Standing::Apply { onto, reverts } => onto.is_none() || !reverts.is_empty(),
            Standing::Met | Standing::Kept(_) | Standing::Foreign(_) | Standing::AnotherOperator { .. } => false,
        }
    }

    /// Whether the object is ours or does not exist.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        match self {
            Standing::Met | Standing::Apply { .. } | Standing::Kept(_) => true,
            Standing::Foreign(_) | Standing::AnotherOperator { .. } => false,
        }
    }

    /// An object that does not exist.
    #[must_use]
    pub fn missing() -> Self {
        Standing::Apply { onto: None, reverts: Vec::new() }
    }
}

/// The client on whose behalf the decision is made.
#[derive(Clone, Copy, Debug)]
pub struct Applier<'a> {
    pub manager: &'a FieldManager,
    /// Whether objects that another operator applies are taken over.
    pub takes_over: bool,
}

/// Decides about an object, given the memory of its last apply; `live` is `None` if it does not exist.
#[must_use]
pub fn decide(
    desired: &Desired,
    live: Option<&Value>,
    memory: Option<&Memory>,
    applier: Applier<'_>,
    now: Timestamp,
) -> Standing {
    let memory = memory.filter(|memory| memory.is_of(desired.digest()));
    let Some(live) = live else {
        return match memory {
            Some(memory) if !memory.may_create(now) => {
                Standing::Kept(vec![Difference { field: "the whole object".to_owned(), manager: None }])
            }
            Some(_) | None => Standing::missing(),
        };
    };
    if let Some(foreign) = foreign(desired.value(), live) {
        return Standing::Foreign(foreign);
    }
    if let Some(operator) = another_operator(live, applier) {
        return Standing::AnotherOperator { operator };
    }
    let onto = live["metadata"]["uid"].as_str().map(str::to_owned);
    let changed = || {
        let owners = FieldOwners::of(live, applier.manager.as_str());
        let Comparison { differing, added, restored: _ } = compare(desired.value(), live, &owners, Prefer::Live);
        (differing, added)
    };
    match memory {
        // After a restart, a difference may also be the previous version's.
        None => Standing::Apply { onto, reverts: changed().1 },
        Some(memory) if memory.is_met_by(footprint(desired, live)) => match memory.differences() {
            [] => Standing::Met,
            _ if memory.may_repeat(now) => Standing::Apply { onto, reverts: Vec::new() },
            kept => Standing::Kept(kept.to_vec()),
        },
        Some(memory) => {
            let (differing, added) = changed();
            let known = memory.differences();
            let later = differing.into_iter().filter(|it| !known.contains(it)).chain(added).collect();
            if memory.may_revert(now) { Standing::Apply { onto, reverts: later } } else { Standing::Kept(later) }
        }
    }
}

/// The other operator that applies this object, if ours does not.
fn another_operator(live: &Value, applier: Applier<'_>) -> Option<String> {
    let entries = live["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let applied =
        entries.iter().filter(|it| it["operation"] == "Apply" && it["subresource"].as_str().is_none_or(str::is_empty));
    let mut managers = applied.filter_map(|entry| entry["manager"].as_str());
    if applier.takes_over || managers.clone().any(|manager| manager == applier.manager.as_str()) {
        return None;
    }
    managers.find_map(operator_of).map(str::to_owned)
}

/// A digest of the part of an object that the operator owns, comparable only within one process.
#[must_use]
pub fn footprint(desired: &Desired, live: &Value) -> u64 {
    digest(&owned(desired.value(), live).to_string())
}

#[cfg(test)]
mod tests;
