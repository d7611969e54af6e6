//! The error of a failed reconciliation.

use std::time::Duration;

/// The reason why a reconciliation failed; the object is requeued.
///
/// An expected state is not an error: it becomes a finding or an outcome, and the status reports it.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("the Kubernetes API request failed: {0}")]
    Kubernetes(#[from] kube::Error),
    #[error("an object could not be serialized to JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the reconciliation timed out after {} s", after.as_secs())]
    TimedOut { after: Duration },
}
