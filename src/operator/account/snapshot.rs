//! The account's subscriptions as they were listed, and what our own writes made of them since. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::linktree::wire::{Account, Subscription, SubscriptionId};

/// The account's subscriptions as they were listed, brought up to date with our own writes since.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When the list was *begun*: a subscription made before that is in it.
    pub listed_at: Timestamp,
    /// Whose account it is, if Linktree tells.
    pub account: Option<Account>,
    pub subscriptions: Vec<Subscription>,
    /// Those that were looked for and are not there. Of one that is neither here nor there nothing is known: another operator
    /// may have made it since.
    pub absent: BTreeSet<SubscriptionId>,
}

impl Snapshot {
    /// Whether it tells if there is such a subscription.
    #[must_use]
    pub fn knows_of(&self, id: &SubscriptionId) -> bool {
        self.absent.contains(id) || self.subscriptions.iter().any(|known| known.id == *id)
    }
}

/// What one of our writes made of a subscription.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Stands(Subscription),
    Gone(SubscriptionId),
}

impl Write {
    pub(super) fn replay(&self, snapshot: &mut Snapshot) {
        let Snapshot { subscriptions, absent, .. } = snapshot;
        match self {
            Write::Stands(written) => {
                absent.remove(&written.id);
                match subscriptions.iter_mut().find(|known| known.id == written.id) {
                    Some(known) => *known = written.clone(),
                    None => subscriptions.push(written.clone()),
                }
            }
            Write::Gone(id) => {
                subscriptions.retain(|known| known.id != *id);
                absent.insert(id.clone());
            }
        }
    }
}
