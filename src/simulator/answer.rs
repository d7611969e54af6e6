//! Turns refusals into answers and requests into values, for the API and the control endpoints alike.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::state::refusal::Refusal;

/// The largest body either port reads, in bytes.
pub(super) const BODY_MAX: usize = 64 * 1024;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        let headers = response.headers_mut();
        match self {
            Refusal::TokenMissing | Refusal::TokenUnknown => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Refusal::TooManyRequests { retry_after_seconds } => {
                headers.insert(RETRY_AFTER, retry_after_seconds.into());
            }
            Refusal::Malformed(_)
            | Refusal::PlanExcludesWebhooks { .. }
            | Refusal::NotFound
            | Refusal::MethodNotAllowed
            | Refusal::DuplicateUrl
            | Refusal::Impossible(_)
            | Refusal::TooLarge
            | Refusal::NotDeclaredAsJson
            | Refusal::Unprocessable(_) => {}
        }
        response
    }
}

/// A JSON body: 415 if not declared as such, 413 if too large, 400 if no JSON, 422 if not what the call takes.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        if !is_declared_as_json(request.headers()) {
            return Err(Refusal::NotDeclaredAsJson);
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge,
            _ => Refusal::Malformed("the body cannot be read".to_owned()),
        })?;
        read_object(&body).map(JsonBody)
    }
}

/// Only objects: serde would also take an array, its items being the fields in order.
///
/// # Errors
/// 400 if it is no JSON, 422 if not what the call takes.
pub(super) fn read_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let value = serde_json::from_slice(body).map_err(|error| Refusal::Malformed(format!("not JSON: {error}")))?;
    match value {
        Value::Object(object) => {
            T::deserialize(Value::Object(object)).map_err(|error| Refusal::Unprocessable(error.to_string()))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Refusal::Unprocessable("not a JSON object".to_owned()))
        }
    }
}

fn is_declared_as_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// The variable segment of a path; what is no UTF-8 names nothing.
#[derive(Debug)]
pub(super) struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = <Path<String> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Id(id)).map_err(|_| Refusal::NotFound)
    }
}

/// A query; 400 if it cannot be read.
#[derive(Debug)]
pub(super) struct QueryOf<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| QueryOf(query)).map_err(|rejection| Refusal::Malformed(rejection.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linktree::wire::CreateSubscription;

    #[test]
    fn what_is_no_json_is_malformed_and_what_is_no_such_object_is_unprocessable() {
        let refusal = |body: &[u8]| read_object::<CreateSubscription>(body).unwrap_err().status().as_u16();
        assert!(read_object::<CreateSubscription>(br#"{"url":"u","events":["link.created"],"more":1}"#).is_ok());
        for (body, status) in [
            ("", 400),
            ("{", 400),
            ("{}{}", 400),
            ("null", 422),
            ("{}", 422),
            (r#"["u",["link.created"]]"#, 422),
            (r#"{"url":1,"events":[]}"#, 422),
        ] {
            assert_eq!(refusal(body.as_bytes()), status, "{body}");
        }
        assert_eq!(refusal(b"\"\xff\""), 400);
    }
}
