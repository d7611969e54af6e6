//! The in-memory record of what was applied for a webhook, and of the operator that it was left to. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::observed::Child;
use crate::operator::kubernetes::apply::memory::{Applied, Memory};

/// The last apply of each child object.
#[derive(Clone, Debug, Default)]
pub struct AppliedChildren {
    children: BTreeMap<Child, Memory>,
    /// The other operator that was last reported to manage the webhook.
    left_to: Option<String>,
}

impl AppliedChildren {
    /// The last apply of a child object.
    #[must_use]
    pub fn get(&self, child: Child) -> Option<&Memory> {
        self.children.get(&child)
    }

    /// Records an apply of a child object. `is_revert`: it reverted a later change.
    pub fn record(&mut self, child: Child, applied: Applied, is_revert: bool, now: Timestamp) {
        let memory = Memory::after(self.children.get(&child), applied, is_revert, now);
        self.children.insert(child, memory);
    }

    /// Records that another operator manages the webhook; `false` if it was recorded already.
    pub fn leave_to(&mut self, operator: &str) -> bool {
        let is_new = self.left_to.as_deref() != Some(operator);
        self.left_to = Some(operator.to_owned());
        is_new
    }
}
