//! The result of the subscription's rules, and the health that they require.

use crate::{
    api::webhook_status::SubscriptionStatus,
    operator::{kubernetes::conditions::Finding, webhook::plan::Step},
};

/// The drift field of the url.
pub(in crate::operator::webhook::decide) const URL: &str = "url";
/// The drift field of the events.
pub(in crate::operator::webhook::decide) const EVENTS: &str = "events";

/// What the rules on the subscription found out.
pub(in crate::operator::webhook::decide) struct Subscription {
    pub(in crate::operator::webhook::decide) status: Option<SubscriptionStatus>,
    pub(in crate::operator::webhook::decide) registered: Finding,
    pub(in crate::operator::webhook::decide) up_to_date: Finding,
    pub(in crate::operator::webhook::decide) enabled: Finding,
    pub(in crate::operator::webhook::decide) at_risk: Finding,
    pub(in crate::operator::webhook::decide) steps: Vec<Step>,
}

impl Subscription {
    /// Linktree's own word that its deliveries do not arrive.
    pub(in crate::operator::webhook::decide) fn failing(&self) -> bool {
        self.at_risk.holds()
    }

    /// Linktree still sends to another url.
    pub(in crate::operator::webhook::decide) fn moves(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.drift.iter().any(|drift| drift.field == URL))
    }
}

/// What must be in order before Linktree is told to send.
pub(in crate::operator::webhook::decide) enum Health<'a> {
    Bundled {
        receiver: &'a Finding,
        endpoint: &'a Finding,
        keys: &'a Finding,
    },
    /// All that is known of somebody's own receiver is that it answers.
    External {
        endpoint: &'a Finding,
    },
}

impl<'a> Health<'a> {
    /// The first that is not in order.
    pub(super) fn first_problem(&self) -> Option<&'a Finding> {
        let needed = match self {
            Health::Bundled { receiver, endpoint, keys } => vec![*receiver, *endpoint, *keys],
            Health::External { endpoint } => vec![*endpoint],
        };
        needed.into_iter().find(|finding| !finding.holds())
    }

    /// Whether deliveries can come in. The keys may only come with the registration.
    pub(super) fn answers(&self) -> bool {
        match self {
            Health::Bundled { receiver, endpoint, keys: _ } => receiver.holds() && endpoint.holds(),
            Health::External { endpoint } => endpoint.holds(),
        }
    }
}
