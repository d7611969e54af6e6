//! Parses a response: status and headers into an [`ApiError`], the body into a value. Pure.

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use crate::{
    linktree::{error::ApiError, secret::Secret, wire::ErrorBody},
    retry_after,
};

/// The longest message of an error response that is shown to a user, in characters.
const MESSAGE_MAX: usize = 300;
/// The problem of a response that is JSON of another form.
const UNEXPECTED: &str = "JSON, but not what the contract says";
/// The response header with the requests left in the rate limit window. Assumed from sibling pages of the same API.
const REMAINING: &str = "x-ratelimit-remaining";

/// The target of a request, which decides on the meaning of a 404.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A collection or a fixed path: a 404 means that this Linktree does not offer the call.
    Collection,
    /// One subscription by its id: a 404 means that the subscription does not exist.
    Subscription,
}

/// Parses the body of a 2xx response as JSON. The error does not quote the body, which may contain a secret.
pub(super) fn json(body: &[u8]) -> Result<Value, ApiError> {
    read(body)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let problem = match error.classify() {
            serde_json::error::Category::Data => UNEXPECTED,
            serde_json::error::Category::Eof if body.is_empty() => "an empty body",
            serde_json::error::Category::Eof => "JSON that ends too early",
            serde_json::error::Category::Io | serde_json::error::Category::Syntax => "not JSON",
        };
        ApiError::Unreadable { problem: problem.to_owned() }
    })
}

/// The JSON of a 2xx response that may have no content: an empty body is `null`.
pub(super) fn json_or_empty(body: &[u8]) -> Result<Value, ApiError> {
    if body.trim_ascii().is_empty() { Ok(Value::Null) } else { json(body) }
}

/// The error of a response to a documented call that is JSON and lacks what is documented.
pub(super) fn unexpected() -> ApiError {
    ApiError::Unreadable { problem: UNEXPECTED.to_owned() }
}

/// The error of a response to an assumed call that is JSON and has another form: this Linktree does not offer the call
/// as it is assumed.
pub(super) fn not_offered() -> ApiError {
    ApiError::Unsupported { status: StatusCode::OK.as_u16() }
}

/// Accepts the body of a 2xx response that has no content: empty, or any JSON. Any other body is not Linktree's but
/// perhaps that of a proxy in front of it, and the call had no effect.
pub(super) fn read_any(body: &[u8]) -> Result<(), ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    read::<IgnoredAny>(body).map(drop)
}

/// The error for a non-2xx response.
pub(super) fn failure(
    target: Target,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    token: &Secret,
    now: Timestamp,
) -> ApiError {
    let message = || message(status, body, token);
    let retry_after = || retry_after::read(headers, now);
    let code = status.as_u16();
    match code {
        401 => ApiError::TokenRejected { message: message() },
        403 => ApiError::PlanExcludesWebhooks { message: message() },
        404 if target == Target::Subscription => ApiError::NotFound,
        404 | 405 | 501 => ApiError::Unsupported { status: code },
        409 => ApiError::Conflict { message: message() },
        400 | 422 => ApiError::Invalid { status: code, message: message() },
        429 => ApiError::TooManyRequests { retry_after: retry_after() },
        _ => ApiError::Server { status: code, retry_after: retry_after() },
    }
}

/// The requests left in the rate limit window, if the response has that header.
pub(super) fn remaining(headers: &HeaderMap) -> Option<u32> {
    headers.get(REMAINING)?.to_str().ok()?.trim().parse().ok()
}

/// Linktree's explanation of an error: one printable line of bounded length, without the token even if it is echoed.
fn message(status: StatusCode, body: &[u8], token: &Secret) -> String {
    let said = serde_json::from_slice::<ErrorBody>(body).unwrap_or_default();
    let said = [said.message, said.error].into_iter().find(|text| !text.trim().is_empty());
    let said = said.unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").to_owned());
    let said = if token.is_empty() { said } else { said.replace(token.expose(), "…") };
    said.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .map(|word| if varies(word) { "…" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(MESSAGE_MAX)
        .collect()
}

/// Whether a word is probably another one in each response: a request id or a time. A condition's message must not
/// contain it, since each change costs a status write.
fn varies(word: &str) -> bool {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    digits >= 6 || (digits >= 3 && word.chars().count() >= 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_omits_words_that_differ_in_each_response() {
        let body = r#"{"message":"url exists (request 7f3c9a1e-0b52-4c61-9d3e-2f8b6a51c0de, 2026-01-02T03:04:05Z, limit 1000)"}"#;
        let ApiError::Invalid { message, .. } = failure_of(Target::Collection, 422, body) else { panic!() };
        assert_eq!(message, "url exists (request … … limit 1000)");
    }

    fn failure_of(target: Target, status: u16, body: &str) -> ApiError {
        let status = StatusCode::from_u16(status).unwrap();
        failure(target, status, &HeaderMap::new(), body.as_bytes(), &Secret::new("lt_test_1"), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_status_means_what_the_contract_says() {
        use Target::{Collection, Subscription};
        for (target, status, kind) in [
            (Collection, 401, "token_rejected"),
            (Collection, 403, "plan_excludes_webhooks"),
            (Collection, 404, "unsupported"),
            (Subscription, 404, "not_found"),
            (Subscription, 405, "unsupported"),
            (Collection, 501, "unsupported"),
            (Collection, 409, "conflict"),
            (Collection, 400, "invalid"),
            (Collection, 422, "invalid"),
            (Collection, 429, "too_many_requests"),
            (Collection, 302, "server"),
            (Collection, 418, "server"),
            (Collection, 500, "server"),
            (Subscription, 503, "server"),
        ] {
            assert_eq!(failure_of(target, status, "").kind(), kind, "{status}");
        }
    }

    #[test]
    fn a_message_is_one_bounded_line_without_the_token() {
        let body =
            serde_json::json!({"message": format!("bad\n\u{1b}[31m lt_test_1 {}", "x".repeat(1000))}).to_string();
        let ApiError::Conflict { message } = failure_of(Target::Collection, 409, &body) else { panic!() };
        assert!(message.starts_with("bad [31m … xxx"), "{message}");
        assert_eq!(message.chars().count(), MESSAGE_MAX);
        let plain = ApiError::Conflict { message: "Conflict".into() };
        assert_eq!(failure_of(Target::Collection, 409, "<html>lt_test_1</html>"), plain);
    }

    #[test]
    fn an_unreadable_body_is_described_but_not_quoted() {
        for (body, problem) in
            [("", "an empty body"), (r#"{"id":"wh_"#, "JSON that ends too early"), ("<html>s3cret</html>", "not JSON")]
        {
            assert_eq!(json(body.as_bytes()), Err(ApiError::Unreadable { problem: problem.into() }), "{body}");
        }
    }
}
