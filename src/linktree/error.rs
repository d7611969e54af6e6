//! What can go wrong with a call to Linktree, and what may be done about it.

use std::time::Duration;

/// A failed call. Its text never holds the token, nor anything of the request.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ApiError {
    /// 401: the token is wrong or revoked.
    #[error("Linktree refused the token (401): {message}")]
    TokenRejected { message: String },
    /// 403: the account's plan does not include webhooks.
    #[error("the account's plan does not include webhooks (403): {message}")]
    PlanExcludesWebhooks { message: String },
    /// 404 on one subscription: it is not there (any more).
    #[error("no such subscription (404)")]
    NotFound,
    /// 404, 405 or 501 on a collection or a method: this Linktree does not offer the call.
    #[error("Linktree does not offer this call ({status})")]
    Unsupported { status: u16 },
    /// 409: another subscription has this url.
    #[error("another subscription has this url (409): {message}")]
    Conflict { message: String },
    /// 400 or 422: the request as such is refused, and will be again.
    #[error("Linktree refused the request ({status}): {message}")]
    Invalid { status: u16, message: String },
    /// Not sent: whoever calls has a budget of requests, and it is not this one's turn. To be tried again after `wait`; its
    /// turn is at `about`.
    #[error("it waits for its turn in the request budget, about {about}")]
    Throttled { wait: Duration, about: jiff::Timestamp },
    /// 429: the request budget is used up.
    #[error("too many requests (429)")]
    TooManyRequests { retry_after: Option<Duration> },
    /// 5xx, or any status this contract does not name.
    #[error("Linktree answered {status}")]
    Server { status: u16, retry_after: Option<Duration> },
    /// The answer was cut off or is not what the contract says. A write may have taken effect.
    #[error("Linktree's answer could not be read: {problem}")]
    Unreadable { problem: String },
    /// No answer before the deadline. A write may have taken effect.
    #[error("Linktree did not answer within {after:?}")]
    TimedOut { after: Duration },
    /// No connection, or it broke. A write may have taken effect unless `before_sending`.
    #[error("Linktree could not be reached: {problem}")]
    Unreachable { problem: String, before_sending: bool },
}

/// What an error means for the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryClass {
    /// It will pass: try again, not before the given delay where there is one.
    Transient { after: Option<Duration> },
    /// It stays until a person changes something (token, plan, spec).
    Permanent,
    /// Not an error of the service at all: the thing is gone, or the call does not exist.
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

    /// Whether a write that ended so may nevertheless have taken effect. It then must not be repeated blindly:
    /// the account is listed again first.
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

    /// Whether it is what Linktree answered, rather than that there was no answer to read.
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

    /// A static word for metrics.
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
