//! Leaves out of an error response about a Secret what may quote the Secret: an admission webhook, a proxy or a broken API
//! server may repeat the object in its message, and messages are logged and reported in conditions. Pure.

use bytes::Bytes;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

/// The beginnings, after `… is forbidden: `, of the API server's own messages, which quote no object.
const OWN_MESSAGES: [&str; 2] = ["User \"", "exceeded quota: "];
/// A part of the API server's message about a change of an immutable Secret.
const IMMUTABLE: &str = "field is immutable when `immutable` is set";
/// Maximum length of such a message, in characters.
const MESSAGE_MAX: usize = 400;

/// Whether a request is about a Secret, or about all Secrets.
#[must_use]
pub(super) fn is_about_secrets(uri: &Uri) -> bool {
    let segments: Vec<&str> = uri.path().split('/').collect();
    matches!(segments.as_slice(), ["", "api", _, "secrets", ..] | ["", "api", _, "namespaces", _, "secrets", ..])
}

/// The body of an error response about a Secret, without what may quote the Secret.
#[must_use]
pub(super) fn without_contents(code: StatusCode, body: &Bytes) -> Bytes {
    let status: Value = serde_json::from_slice(body).unwrap_or_default();
    let reason = status["reason"].as_str().filter(|reason| REASONS.contains(reason));
    let message = match status["message"].as_str() {
        Some(message) if is_own(message) => message.chars().take(MESSAGE_MAX).collect(),
        Some(message) if message.contains(IMMUTABLE) => "the Secret is immutable".to_owned(),
        Some(_) | None => "the API server's message is left out, since it may quote a Secret".to_owned(),
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code.as_u16(), "reason": reason.unwrap_or_default(), "message": message,
    });
    Bytes::from(status.to_string())
}

/// Reasons of the API server. Another text may be anything.
const REASONS: [&str; 14] = [
    "AlreadyExists",
    "BadRequest",
    "Conflict",
    "Expired",
    "Forbidden",
    "Gone",
    "InternalError",
    "Invalid",
    "MethodNotAllowed",
    "NotFound",
    "ServiceUnavailable",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
];

fn is_own(message: &str) -> bool {
    let forbidden = message.strip_prefix("secrets ").and_then(|rest| rest.split_once("is forbidden: "));
    forbidden.is_some_and(|(name, cause)| name.len() <= 260 && OWN_MESSAGES.iter().any(|own| cause.starts_with(own)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_for_secrets_are_about_secrets() {
        for (path, expected) in [
            ("/api/v1/secrets?limit=25", true),
            ("/api/v1/namespaces/a/secrets", true),
            ("/api/v1/namespaces/a/secrets/b?dryRun=All", true),
            ("/api/v1/namespaces/secrets/pods/b", false),
            ("/apis/apps/v1/namespaces/a/statefulsets/secrets", false),
        ] {
            assert_eq!(is_about_secrets(&path.parse().unwrap()), expected, "{path}");
        }
    }

    #[test]
    fn only_the_api_servers_own_messages_are_kept() {
        let left_out = "the API server's message is left out, since it may quote a Secret";
        let rights = "secrets \"b\" is forbidden: User \"u\" cannot get resource \"secrets\" in API group \"\"";
        for (body, reason, message) in [
            (json!({"reason": "Forbidden", "message": rights}), "Forbidden", rights),
            (json!({"reason": "Forbidden", "message": "admission webhook denied: s3cret"}), "Forbidden", left_out),
            (
                json!({"reason": "Invalid", "message": format!("Secret \"s3cret\" is invalid: data: Forbidden: {IMMUTABLE}")}),
                "Invalid",
                "the Secret is immutable",
            ),
            (json!({"reason": "s3cret", "message": "secrets s3cret is forbidden: no"}), "", left_out),
            (json!("s3cret"), "", left_out),
        ] {
            let bytes = without_contents(StatusCode::FORBIDDEN, &Bytes::from(body.to_string()));
            let status: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(
                (status["reason"].as_str(), status["message"].as_str()),
                (Some(reason), Some(message)),
                "{body}"
            );
            assert_eq!(status["code"], 403);
        }
    }
}
