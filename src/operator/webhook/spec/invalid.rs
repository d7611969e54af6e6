//! The error of an invalid spec, and the checks that several of the spec's parts share.

use std::collections::BTreeSet;

use crate::linktree::event::EventType;

/// The first invalid field of a spec, with the problem and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidSpec {
    pub field: String,
    pub problem: String,
}

pub(super) fn whole<T: TryFrom<i64>>(field: impl Into<String>, value: i64) -> Result<T, InvalidSpec> {
    T::try_from(value).map_err(|_| invalid(field, "is out of range: write a non-negative whole number"))
}

pub(super) fn invalid(field: impl Into<String>, problem: &str) -> InvalidSpec {
    InvalidSpec { field: format!("spec.{}", field.into()), problem: problem.to_owned() }
}

pub(super) fn event_types(names: &[String]) -> BTreeSet<EventType> {
    names.iter().map(|name| EventType::named(name)).collect()
}
