//! Whether a subscription is created for the first time, or again after Linktree has rejected it.

use crate::operator::account::request_queue::Priority;

/// Whether Linktree has rejected the creation of this subscription before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Creation {
    #[default]
    First,
    /// It has: what other webhooks request goes first.
    Again,
}

impl Creation {
    #[must_use]
    pub fn priority(self) -> Priority {
        match self {
            Creation::First => Priority::Create,
            Creation::Again => Priority::CreateAgain,
        }
    }
}
