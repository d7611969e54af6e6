//! The error of an invalid spec, and the checks that several of the spec's parts share.

use std::collections::BTreeSet;

use crate::{linktree::event::EventType, operator::kubernetes::guarded::FieldProblem};

/// The first invalid field of a spec, with the problem and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidSpec {
    pub field: String,
    pub problem: String,
}

impl From<&FieldProblem> for InvalidSpec {
    /// The error of a field that does not parse. The schema rejects most of these, but not in objects that were written
    /// under another version of it.
    fn from(problem: &FieldProblem) -> Self {
        InvalidSpec { field: problem.field.clone(), problem: problem.explanation() }
    }
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
