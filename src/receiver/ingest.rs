//! Accepts deliveries: [`handler`] reads a request within a memory budget, [`admit`] verifies it, [`redact`] removes
//! configured fields, and the answer follows from the [`verdict`]. Only the handler does IO.

pub mod admit;
mod body_budget;
mod codings;
mod discard;
pub mod event;
pub mod handler;
pub mod limits;
pub mod redact;
pub mod verdict;
