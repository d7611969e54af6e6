//! Errors of calls to Linktree, and how to handle each.

use std::time::Duration;

/// The error of a failed call. Its message never contains the token or any part of the request.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ApiError {
    /// 401: the token is wrong or revoked.
    #[error("Linktree rejected the token (401): {message}")]
    TokenRejected { message: String },
    /// 403: the account's plan does not include webhooks.
    #[error("the account's plan does not include webhooks (403): {message}")]
    PlanExcludesWebhooks { message: String },
    /// 404 on one subscription: it does not exist (any more).
    #[error("the subscription does not exist (404)")]
    NotFound,
    /// 404, 405 or 501 on a collection or a method: this Linktree does not offer the call.
    #[error("Linktree does not offer this call ({status})")]
    Unsupported { status: u16 },
    /// 409: another subscription has this url.
    #[error("another subscription has this url (409): {message}")]
    Conflict { message: String },
    /// 400 or 422: the request itself is invalid, and a retry would be rejected too.
    #[error("Linktree rejected the request ({status}): {message}")]
    Invalid { status: u16, message: String },
    /// Not sent, because the caller's request budget is used up for now. Retry after `wait`; the request is expected to
    /// be sent at `about`.
    #[error("the request budget is used up: the request is due at about {about}")]
    Throttled { wait: Duration, about: jiff::Timestamp },
    /// 429: the request budget is used up.
    #[error("too many requests (429)")]
    TooManyRequests { retry_after: Option<Duration> },
    /// 5xx, or any status this contract does not name.
    #[error("Linktree responded with {status}")]
    Server { status: u16, retry_after: Option<Duration> },
    /// The response is incomplete or breaks the contract. A write may have taken effect.
    #[error("Linktree's response could not be read: {problem}")]
    Unreadable { problem: String },
    /// No response before the deadline. A write may have taken effect.
    #[error("Linktree did not respond within {} s", after.as_secs_f64())]
    TimedOut { after: Duration },
    /// The connection failed. A write may have taken effect unless `before_sending`.
    #[error("Linktree could not be reached: {problem}")]
    Unreachable { problem: String, before_sending: bool },
}

/// How to retry after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryClass {
    /// The failure is temporary: retry, but not before `after` has passed if there is one.
    Transient { after: Option<Duration> },
    /// The failure stays until a user changes the token, the plan or the spec.
    Permanent,
    /// Not a failure of the service: the object does not exist, or this Linktree does not offer the call.
    Absent,
}

impl ApiError {
    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        match self {
            ApiError::TokenRejected { .. }
            | ApiError::PlanExcludesWebhooks { .. }
            | ApiError::Conflict { .. }
            | ApiError::Invalid { .. } => RetryClass::Permanent,
            ApiError::NotFound | ApiError::Unsupported { .. } => RetryClass::Absent,
            ApiError::Throttled { wait, .. } => RetryClass::Transient { after: Some(*wait) },
            ApiError::TooManyRequests { retry_after } | ApiError::Server { retry_after, .. } => {
                RetryClass::Transient { after: *retry_after }
            }
            ApiError::Unreadable { .. } | ApiError::TimedOut { .. } | ApiError::Unreachable { .. } => {
                RetryClass::Transient { after: None }
            }
        }
    }

    /// Whether a write with this error may have taken effect all the same. Such a write must not be repeated before the
    /// account has been listed again.
    #[must_use]
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            ApiError::Server { .. } | ApiError::Unreadable { .. } | ApiError::TimedOut { .. } => true,
            ApiError::Unreachable { before_sending, .. } => !before_sending,
            ApiError::TokenRejected { .. }
            | ApiError::PlanExcludesWebhooks { .. }
            | ApiError::NotFound
            | ApiError::Unsupported { .. }
            | ApiError::Conflict { .. }
            | ApiError::Invalid { .. }
            | ApiError::Throttled { .. }
            | ApiError::TooManyRequests { .. } => false,
        }
    }

    /// Whether Linktree sent this error in a response, in contrast to a missing or unreadable response.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        match self {
            ApiError::TokenRejected { .. }
            | ApiError::PlanExcludesWebhooks { .. }
            | ApiError::NotFound
            | ApiError::Unsupported { .. }
            | ApiError::Conflict { .. }
            | ApiError::Invalid { .. }
            | ApiError::TooManyRequests { .. }
            | ApiError::Server { .. } => true,
            ApiError::Throttled { .. }
            | ApiError::Unreadable { .. }
            | ApiError::TimedOut { .. }
            | ApiError::Unreachable { .. } => false,
        }
    }

    /// The error's label value in metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            ApiError::TokenRejected { .. } => "token_rejected",
            ApiError::PlanExcludesWebhooks { .. } => "plan_excludes_webhooks",
            ApiError::NotFound => "not_found",
            ApiError::Unsupported { .. } => "unsupported",
            ApiError::Conflict { .. } => "conflict",
            ApiError::Invalid { .. } => "invalid",
            ApiError::Throttled { .. } => "not_yet",
            ApiError::TooManyRequests { .. } => "too_many_requests",
            ApiError::Server { .. } => "server",
            ApiError::Unreadable { .. } => "unreadable",
            ApiError::TimedOut { .. } => "timed_out",
            ApiError::Unreachable { .. } => "unreachable",
        }
    }
}
