//! The error responses of the API server.

use serde_json::{Value, json};

use super::store::Key;

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusError {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}

impl StatusError {
    pub fn absent(key: &Key) -> Self {
        StatusError { code: 404, reason: "NotFound", message: format!("{} {:?} not found", key.kind.plural, key.name) }
    }

    pub fn exists(key: &Key) -> Self {
        let message = format!("{} {:?} already exists", key.kind.plural, key.name);
        StatusError { code: 409, reason: "AlreadyExists", message }
    }

    pub fn conflict(key: &Key) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {:?}: the object has been modified",
            key.kind.plural, key.name
        );
        StatusError { code: 409, reason: "Conflict", message }
    }

    pub fn invalid(key: &Key, problem: &str) -> Self {
        StatusError {
            code: 422,
            reason: "Invalid",
            message: format!("{} {:?} is invalid: {problem}", key.kind.kind, key.name),
        }
    }

    pub fn unknown_path() -> Self {
        StatusError {
            code: 404,
            reason: "NotFound",
            message: "the server could not find the requested resource".to_owned(),
        }
    }

    pub fn expired() -> Self {
        StatusError { code: 410, reason: "Expired", message: "too old resource version".to_owned() }
    }

    /// The `Status` object of the response.
    pub fn body(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        })
    }
}
