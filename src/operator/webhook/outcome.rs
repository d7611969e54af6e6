//! The result of a plan's steps, for the status.

use crate::{
    api::{condition::ConditionType, webhook::LinktreeWebhook},
    linktree::{error::ApiError, wire::SubscriptionId},
};

/// The result of the steps that were performed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The number of steps that succeeded.
    pub performed: usize,
    /// The webhook as a step wrote it: with the finalizer, or the intent to register.
    pub written: Option<Box<LinktreeWebhook>>,
    /// The webhook has changed since it was read: the other steps were skipped, and the next reconciliation decides
    /// again.
    pub outdated: bool,
    /// The subscription that was created.
    pub registered: Option<SubscriptionId>,
    /// The rotation request that was completed.
    pub rotated: Option<String>,
    /// Whether the attempt to re-enable the subscription succeeded; `None` without an attempt.
    pub recovery: Option<bool>,
    /// The finalizer is removed: the object may no longer exist.
    pub released: bool,
    pub failures: Vec<Failure>,
}

/// A step that failed, as the status reports it.
#[derive(Debug)]
pub enum Failure {
    /// One of the receiver's objects, or the finalizer, could not be written.
    Kubernetes { problem: String },
    /// The Ingress or HTTPRoute could not be written.
    Exposure { problem: String },
    /// The signing secret from Linktree could not be stored. `created`: one was created, and is lost.
    SecretNotStored { problem: String, created: bool },
    /// A request to Linktree failed. `condition_type`: the condition it was meant to fulfil.
    Linktree { condition_type: ConditionType, error: ApiError },
}

impl Failure {
    /// Whether the request was only delayed by the request budget, which is no failure.
    #[must_use]
    pub fn waits(&self) -> bool {
        match self {
            Failure::Linktree { error, .. } => matches!(error, ApiError::Throttled { .. }),
            Failure::Kubernetes { .. } | Failure::Exposure { .. } | Failure::SecretNotStored { .. } => false,
        }
    }
}

impl Outcome {
    /// The webhook after the steps; `read` if they did not write it.
    #[must_use]
    pub fn left<'a>(&'a self, read: &'a LinktreeWebhook) -> &'a LinktreeWebhook {
        self.written.as_deref().unwrap_or(read)
    }

    /// The failed request to Linktree, with the condition it was meant to fulfil.
    ///
    /// There is at most one, because a failure skips the remaining requests.
    #[must_use]
    pub fn linktree_error(&self) -> Option<(ConditionType, &ApiError)> {
        self.failures.iter().find_map(|failure| match failure {
            Failure::Linktree { condition_type, error } => Some((*condition_type, error)),
            Failure::Kubernetes { .. } | Failure::Exposure { .. } | Failure::SecretNotStored { .. } => None,
        })
    }

    /// Whether Linktree created a secret that could not be stored.
    #[must_use]
    pub fn secret_lost(&self) -> bool {
        self.failures.iter().any(|failure| matches!(failure, Failure::SecretNotStored { created: true, .. }))
    }
}
