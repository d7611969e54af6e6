//! Conversions from requests to values and from rejections to responses, for the API and the control endpoints.

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

use super::state::rejection::Rejection;

/// The largest request body of either port, in bytes.
pub(super) const BODY_MAX: usize = 64 * 1024;

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        let headers = response.headers_mut();
        match self {
            Rejection::TokenMissing | Rejection::TokenUnknown => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Rejection::TooManyRequests { retry_after_seconds } => {
                headers.insert(RETRY_AFTER, retry_after_seconds.into());
            }
            Rejection::Malformed(_)
            | Rejection::PlanExcludesWebhooks { .. }
            | Rejection::NotFound
            | Rejection::MethodNotAllowed
            | Rejection::DuplicateUrl
            | Rejection::Impossible(_)
            | Rejection::TooLarge
            | Rejection::NotDeclaredAsJson
            | Rejection::Unprocessable(_) => {}
        }
        response
    }
}

/// The JSON body of a request: rejected with 415 if its content type is not JSON, 413 if too large, 400 if not JSON,
/// 422 if its fields are wrong for the call.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Rejection> {
        if !is_declared_as_json(request.headers()) {
            return Err(Rejection::NotDeclaredAsJson);
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Rejection::TooLarge,
            _ => Rejection::Malformed("the body cannot be read".to_owned()),
        })?;
        read_object(&body).map(JsonBody)
    }
}

/// Parses a JSON object. serde alone would also accept an array of the fields in order.
///
/// # Errors
/// 400 if it is not JSON, 422 if its fields are wrong for the call.
pub(super) fn read_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejection> {
    let value = serde_json::from_slice(body).map_err(|error| Rejection::Malformed(format!("not JSON: {error}")))?;
    match value {
        Value::Object(object) => {
            T::deserialize(Value::Object(object)).map_err(|error| Rejection::Unprocessable(error.to_string()))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Rejection::Unprocessable("not a JSON object".to_owned()))
        }
    }
}

fn is_declared_as_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// The variable segment of a path; one that is not UTF-8 is rejected with 404.
#[derive(Debug)]
pub(super) struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let path = <Path<String> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Id(id)).map_err(|_| Rejection::NotFound)
    }
}

/// The query of a request's URL; rejected with 400 if it is malformed.
#[derive(Debug)]
pub(super) struct QueryOf<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| QueryOf(query)).map_err(|rejection| Rejection::Malformed(rejection.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linktree::wire::CreateSubscription;

    #[test]
    fn a_body_that_is_not_json_is_malformed_and_another_object_is_unprocessable() {
        let rejection = |body: &[u8]| read_object::<CreateSubscription>(body).unwrap_err().status().as_u16();
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
            assert_eq!(rejection(body.as_bytes()), status, "{body}");
        }
        assert_eq!(rejection(b"\"\xff\""), 400);
    }
}
