//! The result of performing a plan's steps, from which the status is computed.

use jiff::Timestamp;

use super::{observed::Child, plan::HandledRedrive};
use crate::{
    api::{condition::ConditionType, webhook::LinktreeWebhook, webhook_status::SubscriptionAccount},
    linktree::{error::ApiError, wire::SubscriptionId},
    operator::kubernetes::apply::memory::Applied,
};

/// The result of the steps that were performed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The number of steps that succeeded.
    pub performed: usize,
    /// The webhook as the last step that changed it left it: with the finalizer, or with the start of the registration.
    pub written: Option<Box<LinktreeWebhook>>,
    /// The webhook had changed since it was read: the remaining steps were skipped, and the next reconciliation decides
    /// again.
    pub outdated: bool,
    /// The registration that was recorded, and the account that it was sent to.
    pub begun: Option<Begun>,
    /// The id of the subscription that was created.
    pub registered: Option<SubscriptionId>,
    /// The value of the user's rotation request that was completed.
    pub rotated: Option<String>,
    /// The child objects that were applied, as the API server kept them.
    pub applied: Vec<(Child, Applied)>,
    /// The user's request to send dead letters again that the receiver accepted or rejected.
    pub redriven: Option<HandledRedrive>,
    /// Whether an attempt to re-enable the subscription succeeded; `None` if none was made.
    pub recovery: Option<bool>,
    /// Linktree has accepted an update of the subscription's URL or events.
    pub updated: bool,
    /// The finalizer was removed, so the webhook may no longer exist.
    pub released: bool,
    pub failures: Vec<Failure>,
}

/// A registration that was recorded in the status.
#[derive(Clone, Debug)]
pub struct Begun {
    pub at: Timestamp,
    pub account: Option<SubscriptionAccount>,
    /// Linktree has rejected it, or it was not sent: it has created no subscription.
    pub is_void: bool,
}

/// A step that failed, as the status reports it.
#[derive(Debug)]
pub enum Failure {
    /// One of the receiver's objects, or the finalizer, could not be written.
    Kubernetes { problem: String },
    /// The Ingress or HTTPRoute could not be written.
    Exposure { problem: String },
    /// The Secret for the signing secret from Linktree is not the operator's.
    SecretNotOurs { problem: String, created: bool },
    /// The signing secret from Linktree could not be stored. `created`: Linktree had created it, so it is lost.
    SecretNotStored { problem: String, created: bool },
    /// The receiver has not handled the request to send dead letters again.
    Redrive { problem: String },
    /// A request to Linktree failed. `condition_type`: the condition that it should have made true.
    Linktree { condition_type: ConditionType, error: ApiError },
}

impl Failure {
    /// Whether the step only waits for the request budget, which is no failure.
    #[must_use]
    pub fn waits(&self) -> bool {
        match self {
            Failure::Linktree { error, .. } => matches!(error, ApiError::Throttled { .. }),
            Failure::Kubernetes { .. }
            | Failure::Exposure { .. }
            | Failure::SecretNotOurs { .. }
            | Failure::SecretNotStored { .. }
            | Failure::Redrive { .. } => false,
        }
    }
}

impl Outcome {
    /// The webhook after the steps: as they wrote it, or as it was `read`.
    #[must_use]
    pub fn left<'a>(&'a self, read: &'a LinktreeWebhook) -> &'a LinktreeWebhook {
        self.written.as_deref().unwrap_or(read)
    }

    /// The error of the failed request to Linktree, with the condition that the request should have made true.
    ///
    /// There is at most one, since the first failure skips the remaining requests.
    #[must_use]
    pub fn linktree_error(&self) -> Option<(ConditionType, &ApiError)> {
        self.failures.iter().find_map(|failure| match failure {
            Failure::Linktree { condition_type, error } => Some((*condition_type, error)),
            Failure::Kubernetes { .. }
            | Failure::Exposure { .. }
            | Failure::SecretNotOurs { .. }
            | Failure::SecretNotStored { .. }
            | Failure::Redrive { .. } => None,
        })
    }

    /// Replaces the time at which a throttled request is due with the one to report.
    pub fn report_forecast(&mut self, mut reported: impl FnMut(Timestamp) -> Timestamp) {
        for failure in &mut self.failures {
            if let Failure::Linktree { error: ApiError::Throttled { about, .. }, .. } = failure {
                *about = reported(*about);
            }
        }
    }

    /// Whether Linktree created a signing secret that could not be stored.
    #[must_use]
    pub fn secret_lost(&self) -> bool {
        let is_lost = |failure: &Failure| match failure {
            Failure::SecretNotStored { created, .. } | Failure::SecretNotOurs { created, .. } => *created,
            Failure::Kubernetes { .. }
            | Failure::Exposure { .. }
            | Failure::Redrive { .. }
            | Failure::Linktree { .. } => false,
        };
        self.failures.iter().any(is_lost)
    }
}
