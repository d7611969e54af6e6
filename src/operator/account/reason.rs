//! Maps errors of calls to Linktree to condition reasons.

use crate::{api::condition::Reason, linktree::error::ApiError};

/// The condition reason for a failed call, on the connection and on the webhooks that use it.
#[must_use]
pub fn reason(error: &ApiError) -> Reason {
    match error {
        ApiError::TokenRejected { .. } => Reason::TokenRejected,
        ApiError::PlanExcludesWebhooks { .. } => Reason::PlanExcludesWebhooks,
        ApiError::Throttled { .. } | ApiError::TooManyRequests { .. } => Reason::QuotaExhausted,
        ApiError::NotFound
        | ApiError::Unsupported { .. }
        | ApiError::Conflict { .. }
        | ApiError::Invalid { .. }
        | ApiError::Server { .. }
        | ApiError::Unreadable { .. }
        | ApiError::TimedOut { .. }
        | ApiError::Unreachable { .. } => Reason::LinktreeUnavailable,
    }
}
