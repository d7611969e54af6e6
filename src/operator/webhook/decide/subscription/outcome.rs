//! The result of the subscription's rules, and the health of the receiver that they require.

use crate::{
    api::webhook_status::SubscriptionStatus,
    operator::{kubernetes::conditions::Finding, webhook::plan::Step},
};

/// `field` of a drift of the subscription's URL.
pub const URL: &str = "url";
/// `field` of a drift of the subscription's events.
pub const EVENTS: &str = "events";

/// The findings, status and steps that the subscription's rules determine.
pub struct Subscription {
    pub status: Option<SubscriptionStatus>,
    pub registered: Finding,
    pub up_to_date: Finding,
    pub enabled: Finding,
    pub at_risk: Finding,
    pub steps: Vec<Step>,
}

impl Subscription {
    /// Whether Linktree reports that deliveries fail.
    pub fn failing(&self) -> bool {
        self.at_risk.holds()
    }

    /// Whether Linktree still sends to a URL other than the spec's.
    pub fn moves(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.drift.iter().any(|drift| drift.field == URL))
    }
}

/// The findings that must be true before the operator makes Linktree send deliveries.
pub enum Health<'a> {
    Bundled {
        receiver: &'a Finding,
        endpoint: &'a Finding,
        keys: &'a Finding,
    },
    /// A receiver that the operator does not run: only its response to the operator's probe is known.
    External {
        endpoint: &'a Finding,
    },
}

impl<'a> Health<'a> {
    /// The first required finding that is not true.
    pub(super) fn first_problem(&self) -> Option<&'a Finding> {
        let needed = match self {
            Health::Bundled { receiver, endpoint, keys } => vec![*receiver, *endpoint, *keys],
            Health::External { endpoint } => vec![*endpoint],
        };
        needed.into_iter().find(|finding| !finding.holds())
    }

    /// Whether deliveries can reach the receiver.
    ///
    /// Signing keys are not required: the response to the registration may contain the secret.
    pub(super) fn answers(&self) -> bool {
        match self {
            Health::Bundled { receiver, endpoint, keys: _ } => receiver.holds() && endpoint.holds(),
            Health::External { endpoint } => endpoint.holds(),
        }
    }
}
