//! The result of a request and all that follows from it: the answer (in the Linktree page's exact words), the count and
//! the label in metrics and log. Pure.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::Full;

use super::admit::Rejection;
use crate::{
    receiver::journal::{Appended, JournalError},
    route,
};

/// `Retry-After` of a 503, in seconds: the delay of Linktree's own first retry.
const RETRY_AFTER_SECONDS: &str = "10";

/// The result of a request. Each has one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Verified and new: stored.
    Verified,
    /// Verified and already stored.
    Duplicate,
    /// Verified, but its delivery id is stored with another body. Stored.
    Conflict,
    MissingHeader,
    /// Malformed credentials.
    Malformed {
        recent: bool,
    },
    Unverified {
        recent: bool,
    },
    Stale {
        off: i64,
    },
    /// There is no key, or no route file, yet.
    NotConfigured,
    Overloaded,
    JournalFull,
    JournalFailed,
    /// HTTP/1.1 without exactly one valid `Host` (RFC 9112, section 3.2).
    BadHost,
    NotFound,
    MethodNotAllowed,
    /// The body is larger than the route allows.
    TooLarge,
    /// The body has a content encoding; the signature covers the plain body, so it must be sent plain.
    Encoded,
    /// The transfer encoding is not exactly `chunked`.
    TransferEncoded,
    /// The body was not received in time.
    BodyTimeout,
    /// The connection closed within the body.
    BodyBroken,
    /// The header is larger than the limits of the server, which answers it itself.
    HeaderTooLarge,
    /// Not a valid HTTP request; the server answers it itself.
    BadRequest,
}

/// The field of [`crate::route::status::DeliveryCounts`] that counts a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    Verified,
    Duplicate,
    Conflict,
    RejectedMissingHeader,
    RejectedMalformed,
    RejectedSignature,
    RejectedStale,
    RejectedRequest,
    Unavailable,
}

impl Verdict {
    /// Every verdict once, so that its metric begins at 0.
    pub const ALL: [Verdict; 21] = [
        Verdict::Verified,
        Verdict::Duplicate,
        Verdict::Conflict,
        Verdict::MissingHeader,
        Verdict::Malformed { recent: true },
        Verdict::Unverified { recent: true },
        Verdict::Stale { off: 0 },
        Verdict::NotConfigured,
        Verdict::Overloaded,
        Verdict::JournalFull,
        Verdict::JournalFailed,
        Verdict::BadHost,
        Verdict::NotFound,
        Verdict::MethodNotAllowed,
        Verdict::TooLarge,
        Verdict::Encoded,
        Verdict::TransferEncoded,
        Verdict::BodyTimeout,
        Verdict::BodyBroken,
        Verdict::HeaderTooLarge,
        Verdict::BadRequest,
    ];

    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Verdict::Verified | Verdict::Duplicate | Verdict::Conflict => StatusCode::OK,
            Verdict::MissingHeader => StatusCode::UNAUTHORIZED,
            Verdict::Malformed { .. } | Verdict::Unverified { .. } | Verdict::Stale { .. } => StatusCode::FORBIDDEN,
            // Every other status than 2xx feeds Linktree's failure clock, but a 4xx would also blame the sender.
            Verdict::NotConfigured | Verdict::Overloaded | Verdict::JournalFull | Verdict::JournalFailed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Verdict::NotFound => StatusCode::NOT_FOUND,
            Verdict::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Verdict::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Verdict::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Verdict::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Verdict::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Verdict::TransferEncoded => StatusCode::NOT_IMPLEMENTED,
            Verdict::BadHost | Verdict::BodyBroken | Verdict::BadRequest => StatusCode::BAD_REQUEST,
        }
    }

    /// The body of the answer. It reveals nothing about keys, routes or the journal.
    #[must_use]
    pub fn body(self) -> &'static str {
        match self {
            Verdict::Verified | Verdict::Conflict => r#"{"received":true}"#,
            Verdict::Duplicate => r#"{"duplicate":true}"#,
            Verdict::MissingHeader => route::UNSIGNED_ANSWER,
            Verdict::Malformed { .. } | Verdict::Unverified { .. } | Verdict::Stale { .. } => "Invalid signature",
            Verdict::NotConfigured | Verdict::Overloaded | Verdict::JournalFull | Verdict::JournalFailed => {
                "Unavailable"
            }
            Verdict::BadHost => "Bad host",
            Verdict::NotFound => "Not found",
            Verdict::MethodNotAllowed => "Method not allowed",
            Verdict::TooLarge => "Body too large",
            Verdict::Encoded => "Unsupported content encoding",
            Verdict::BodyTimeout => "Body not received in time",
            Verdict::BodyBroken => "Body incomplete",
            Verdict::TransferEncoded => "Unsupported transfer encoding",
            Verdict::HeaderTooLarge => "Header too large",
            Verdict::BadRequest => "Bad request",
        }
    }

    /// A static label for metrics and log.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Verdict::Verified => "verified",
            Verdict::Duplicate => "duplicate",
            Verdict::Conflict => "conflict",
            Verdict::MissingHeader => "missing_header",
            Verdict::Malformed { .. } => "malformed",
            Verdict::Unverified { .. } => "unverified",
            Verdict::Stale { .. } => "stale",
            Verdict::NotConfigured => "not_configured",
            Verdict::Overloaded => "overloaded",
            Verdict::JournalFull => "journal_full",
            Verdict::JournalFailed => "journal_failed",
            Verdict::BadHost => "bad_host",
            Verdict::NotFound => "not_found",
            Verdict::MethodNotAllowed => "method_not_allowed",
            Verdict::TooLarge => "too_large",
            Verdict::Encoded => "encoded",
            Verdict::BodyTimeout => "body_timeout",
            Verdict::BodyBroken => "body_broken",
            Verdict::TransferEncoded => "transfer_encoded",
            Verdict::HeaderTooLarge => "header_too_large",
            Verdict::BadRequest => "bad_request",
        }
    }

    /// The count that it belongs to; `None` if the request is not a delivery.
    #[must_use]
    pub fn bucket(self) -> Option<Bucket> {
        match self {
            Verdict::Verified => Some(Bucket::Verified),
            Verdict::Duplicate => Some(Bucket::Duplicate),
            Verdict::Conflict => Some(Bucket::Conflict),
            Verdict::MissingHeader => Some(Bucket::RejectedMissingHeader),
            Verdict::Malformed { .. } => Some(Bucket::RejectedMalformed),
            Verdict::Unverified { .. } => Some(Bucket::RejectedSignature),
            Verdict::Stale { .. } => Some(Bucket::RejectedStale),
            Verdict::NotConfigured | Verdict::Overloaded | Verdict::JournalFull | Verdict::JournalFailed => {
                Some(Bucket::Unavailable)
            }
            Verdict::TooLarge
            | Verdict::Encoded
            | Verdict::TransferEncoded
            | Verdict::BodyTimeout
            | Verdict::BodyBroken
            | Verdict::HeaderTooLarge => Some(Bucket::RejectedRequest),
            Verdict::BadHost | Verdict::NotFound | Verdict::MethodNotAllowed | Verdict::BadRequest => None,
        }
    }

    /// Whether the event was stored by this request.
    #[must_use]
    pub fn is_stored(self) -> bool {
        matches!(self, Verdict::Verified | Verdict::Conflict)
    }

    /// Whether the request had the headers of a delivery.
    #[must_use]
    pub fn has_delivery_headers(self) -> bool {
        let unread = [Verdict::MissingHeader, Verdict::TransferEncoded, Verdict::HeaderTooLarge];
        self.bucket().is_some() && !unread.contains(&self)
    }

    /// The answer. On the route's path it carries [`route::RECEIVER_HEADER`], by which the operator's probe recognises
    /// the receiver.
    #[must_use]
    pub fn response(self, on_path: bool) -> Response<Full<Bytes>> {
        let status = self.status();
        let mut response = Response::new(Full::new(Bytes::from_static(self.body().as_bytes())));
        *response.status_mut() = status;
        let header = response.headers_mut();
        let content_type = if status == StatusCode::OK { "application/json" } else { "text/plain; charset=utf-8" };
        header.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            header.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if on_path {
            header.insert(HeaderName::from_static(route::RECEIVER_HEADER), HeaderValue::from_static("1"));
        }
        match self {
            Verdict::MethodNotAllowed => {
                header.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            // The rest of the body has an unknown length, or is too long to discard: the connection is closed.
            Verdict::BadHost
            | Verdict::TooLarge
            | Verdict::TransferEncoded
            | Verdict::BodyTimeout
            | Verdict::BodyBroken
            | Verdict::HeaderTooLarge
            | Verdict::BadRequest => {
                header.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Verdict::Verified
            | Verdict::Duplicate
            | Verdict::Conflict
            | Verdict::MissingHeader
            | Verdict::Malformed { .. }
            | Verdict::Unverified { .. }
            | Verdict::Stale { .. }
            | Verdict::NotConfigured
            | Verdict::Overloaded
            | Verdict::JournalFull
            | Verdict::JournalFailed
            | Verdict::NotFound
            | Verdict::Encoded => {}
        }
        response
    }
}

impl From<Rejection> for Verdict {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::MissingHeader => Verdict::MissingHeader,
            Rejection::Malformed { recent } => Verdict::Malformed { recent },
            Rejection::Unverified { recent } => Verdict::Unverified { recent },
            Rejection::Stale { off } => Verdict::Stale { off },
            Rejection::NoKeys => Verdict::NotConfigured,
        }
    }
}

impl From<Result<Appended, JournalError>> for Verdict {
    fn from(result: Result<Appended, JournalError>) -> Self {
        match result {
            Ok(Appended::Stored) => Verdict::Verified,
            Ok(Appended::Duplicate) => Verdict::Duplicate,
            Ok(Appended::Conflict) => Verdict::Conflict,
            Err(JournalError::Overloaded) => Verdict::Overloaded,
            Err(JournalError::Full) => Verdict::JournalFull,
            Err(JournalError::Failed { .. } | JournalError::Closed) => Verdict::JournalFailed,
        }
    }
}
