//! Snapshot of an account's subscriptions: the last list with our own later writes replayed on it. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::linktree::wire::{Account, Subscription, SubscriptionId};

/// Snapshot of an account's subscriptions: the last list with our own later writes replayed on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Start of the list: the snapshot contains every subscription that existed then.
    pub listed_at: Timestamp,
    /// The account's id, user name and plan, if Linktree's API returns them.
    pub account: Option<Account>,
    pub subscriptions: Vec<Subscription>,
    /// Subscriptions that the list should have contained and did not. Nothing is known about an id that is neither here
    /// nor listed: another operator may have created it since.
    pub absent: BTreeSet<SubscriptionId>,
}

impl Snapshot {
    /// Whether the snapshot shows that this subscription exists, or that it does not exist.
    #[must_use]
    pub fn knows_of(&self, id: &SubscriptionId) -> bool {
        self.absent.contains(id) || self.subscriptions.iter().any(|known| known.id == *id)
    }
}

/// One of our own writes to a subscription at Linktree.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Upsert(Subscription),
    Delete(SubscriptionId),
}

impl Write {
    /// Applies the write to a snapshot from a list that may not contain it.
    pub(super) fn replay(&self, snapshot: &mut Snapshot) {
        let Snapshot { subscriptions, absent, .. } = snapshot;
        match self {
            Write::Upsert(written) => {
                absent.remove(&written.id);
                match subscriptions.iter_mut().find(|known| known.id == written.id) {
                    Some(known) => *known = written.clone(),
                    None => subscriptions.push(written.clone()),
                }
            }
            Write::Delete(id) => {
                subscriptions.retain(|known| known.id != *id);
                absent.insert(id.clone());
            }
        }
    }
}
