//! Rejections of requests, by the API or the control endpoints. The statuses are known from sibling pages of the same
//! API; the texts in the body are assumed.

use http::StatusCode;

use crate::linktree::wire::ErrorBody;

/// Why a request is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// 400: not JSON, or a malformed query.
    Malformed(String),
    /// 401: no bearer token.
    TokenMissing,
    /// 401: an unknown bearer token.
    TokenUnknown,
    /// 403: the account's plan does not include webhooks.
    PlanExcludesWebhooks { plan: String },
    /// 404: the requested object does not exist, or belongs to another account.
    NotFound,
    /// 405: the path does not support the method.
    MethodNotAllowed,
    /// 409: the account has a subscription with this url.
    DuplicateUrl,
    /// 409: the request is impossible in the current state.
    Impossible(String),
    /// 413: the body is larger than the limit.
    TooLarge,
    /// 415: the body is not declared as JSON.
    NotDeclaredAsJson,
    /// 422: JSON that the call does not accept.
    Unprocessable(String),
    /// 429: the token's request budget is used up.
    TooManyRequests { retry_after_seconds: u64 },
}

impl Rejection {
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Rejection::Malformed(_) => StatusCode::BAD_REQUEST,
            Rejection::TokenMissing | Rejection::TokenUnknown => StatusCode::UNAUTHORIZED,
            Rejection::PlanExcludesWebhooks { .. } => StatusCode::FORBIDDEN,
            Rejection::NotFound => StatusCode::NOT_FOUND,
            Rejection::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Rejection::DuplicateUrl | Rejection::Impossible(_) => StatusCode::CONFLICT,
            Rejection::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Rejection::NotDeclaredAsJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Rejection::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Rejection::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    #[must_use]
    pub fn body(&self) -> ErrorBody {
        let (error, message) = match self {
            Rejection::Malformed(problem) => ("bad_request", problem.clone()),
            Rejection::TokenMissing => ("unauthorized", "send the token as Authorization: Bearer TOKEN".into()),
            Rejection::TokenUnknown => ("unauthorized", "the token is wrong or revoked".into()),
            Rejection::PlanExcludesWebhooks { plan } => {
                ("plan_excludes_webhooks", format!("the plan {plan} does not include webhooks"))
            }
            Rejection::NotFound => ("not_found", "not found".into()),
            Rejection::MethodNotAllowed => ("method_not_allowed", "this path does not support this method".into()),
            Rejection::DuplicateUrl => ("duplicate_url", "another webhook of this account has this url".into()),
            Rejection::Impossible(problem) => ("conflict", problem.clone()),
            Rejection::TooLarge => ("too_large", "the body is too large".into()),
            Rejection::NotDeclaredAsJson => ("unsupported_media_type", "send application/json".into()),
            Rejection::Unprocessable(problem) => ("unprocessable", problem.clone()),
            Rejection::TooManyRequests { .. } => ("too_many_requests", "the request budget is used up".into()),
        };
        ErrorBody { error: error.into(), message }
    }
}
