//! The position of an event in a journal.

/// The position of an event in the order of arrival. Higher is later.
pub type Position = i64;
