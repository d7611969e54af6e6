//! Why a request is refused, at the API or at the control endpoints. The statuses are known from sibling pages of the
//! same API; the words in the body are assumed.

use http::StatusCode;

use crate::linktree::wire::ErrorBody;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: not JSON, or a query that cannot be read.
    Malformed(String),
    /// 401: no bearer token.
    TokenMissing,
    /// 401: a bearer token of no account.
    TokenUnknown,
    /// 403: the account's plan does not include webhooks.
    PlanExcludesWebhooks { plan: String },
    /// 404: nothing there, or not this account's.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 409: the account has a subscription with this url.
    DuplicateUrl,
    /// 409: the thing asked for is not possible in the present state.
    Impossible(String),
    /// 413.
    TooLarge,
    /// 415: the body is not declared as JSON.
    NotDeclaredAsJson,
    /// 422: JSON, but not what the call takes.
    Unprocessable(String),
    /// 429.
    TooManyRequests { retry_after_seconds: u64 },
}

impl Refusal {
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
            Refusal::TokenMissing | Refusal::TokenUnknown => StatusCode::UNAUTHORIZED,
            Refusal::PlanExcludesWebhooks { .. } => StatusCode::FORBIDDEN,
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::DuplicateUrl | Refusal::Impossible(_) => StatusCode::CONFLICT,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::NotDeclaredAsJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    #[must_use]
    pub fn body(&self) -> ErrorBody {
        let (error, message) = match self {
            Refusal::Malformed(problem) => ("bad_request", problem.clone()),
            Refusal::TokenMissing => ("unauthorized", "send the token as Authorization: Bearer TOKEN".into()),
            Refusal::TokenUnknown => ("unauthorized", "the token is wrong or revoked".into()),
            Refusal::PlanExcludesWebhooks { plan } => {
                ("plan_excludes_webhooks", format!("the plan {plan} does not include webhooks"))
            }
            Refusal::NotFound => ("not_found", "there is nothing here".into()),
            Refusal::MethodNotAllowed => ("method_not_allowed", "this path does not take this method".into()),
            Refusal::DuplicateUrl => ("duplicate_url", "another webhook of this account has this url".into()),
            Refusal::Impossible(problem) => ("conflict", problem.clone()),
            Refusal::TooLarge => ("too_large", "the body is too large".into()),
            Refusal::NotDeclaredAsJson => ("unsupported_media_type", "send application/json".into()),
            Refusal::Unprocessable(problem) => ("unprocessable", problem.clone()),
            Refusal::TooManyRequests { .. } => ("too_many_requests", "the request budget is used up".into()),
        };
        ErrorBody { error: error.into(), message }
    }
}
