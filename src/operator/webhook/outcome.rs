//! What came of a plan's steps, as far as the status has to know.

use crate::{
    api::{condition::ConditionType, webhook::LinktreeWebhook},
    linktree::{error::ApiError, wire::SubscriptionId},
};

#[derive(Debug, Default)]
pub struct Outcome {
    /// How many steps were performed.
    pub performed: usize,
    /// The webhook as a step has left it: with the finalizer, or the intent to register.
    pub written: Option<Box<LinktreeWebhook>>,
    /// The webhook has changed since it was read: nothing more was done, and all is to be decided anew.
    pub outdated: bool,
    /// The subscription that was made.
    pub registered: Option<SubscriptionId>,
    /// The request for a new secret that was handled.
    pub rotated: Option<String>,
    /// It was tried to enable the subscription again, and whether that succeeded.
    pub recovery: Option<bool>,
    /// The finalizer is off: there may be no object any more.
    pub released: bool,
    pub failures: Vec<Failure>,
}

#[derive(Debug)]
pub enum Failure {
    /// One of the receiver's objects, or the finalizer, could not be written.
    Kubernetes { problem: String },
    /// The Ingress or HTTPRoute could not be written.
    Exposure { problem: String },
    /// The signing secret from Linktree could not be kept. `made`: there is one already, which now nobody has.
    NotKept { problem: String, made: bool },
    /// The condition that stays unfulfilled, and why.
    Linktree { of: ConditionType, error: ApiError },
}

impl Failure {
    /// Nothing failed: it was not its turn in the request budget.
    #[must_use]
    pub fn waits(&self) -> bool {
        match self {
            Failure::Linktree { error, .. } => matches!(error, ApiError::Throttled { .. }),
            Failure::Kubernetes { .. } | Failure::Exposure { .. } | Failure::NotKept { .. } => false,
        }
    }
}

impl Outcome {
    /// The webhook, which was read as `read`, as the steps have left it.
    #[must_use]
    pub fn left<'a>(&'a self, read: &'a LinktreeWebhook) -> &'a LinktreeWebhook {
        self.written.as_deref().unwrap_or(read)
    }

    /// The failed call to Linktree, of which there is at most one: it ends that side of the plan. With the condition it
    /// was to fulfil.
    #[must_use]
    pub fn linktree_error(&self) -> Option<(ConditionType, &ApiError)> {
        self.failures.iter().find_map(|failure| match failure {
            Failure::Linktree { of, error } => Some((*of, error)),
            Failure::Kubernetes { .. } | Failure::Exposure { .. } | Failure::NotKept { .. } => None,
        })
    }

    /// Linktree made a secret that nobody has.
    #[must_use]
    pub fn secret_lost(&self) -> bool {
        self.failures.iter().any(|failure| matches!(failure, Failure::NotKept { made: true, .. }))
    }
}
