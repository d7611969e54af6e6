//! Middleware of every call to the API: first faults and the call log, then token, budget and plan.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{AUTHORIZATION, CONTENT_LENGTH, RETRY_AFTER},
    },
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use futures::{StreamExt, stream};

use crate::{
    linktree::wire::ErrorBody,
    simulator::{
        shared::Shared,
        state::{calls::Call, faults::ApiFault, limits::Budget},
    },
};

const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// The largest response that can be truncated; every response is smaller.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// A response extension: the id of the token's account, for the call log.
#[derive(Clone, Debug)]
struct AccountId(String);

/// A response extension: the connection is dropped instead of sending the response.
#[derive(Clone, Copy, Debug)]
struct Dropped;

pub(super) async fn admit(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    admit_for(Budget::Overall, &shared, request, next).await
}

pub(super) async fn admit_to_webhooks(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let offered = shared.with(|state, _| state.offers.check(request.method().as_str(), request.uri().path()));
    match offered {
        Ok(()) => admit_for(Budget::WebhookManagement, &shared, request, next).await,
        Err(rejection) => rejection.into_response(),
    }
}

async fn admit_for(budget: Budget, shared: &Shared, mut request: Request, next: Next) -> Response {
    let admission = shared.with(|state, real| state.admit(authorization(&request), budget, real));
    let mut response = match admission.verdict {
        Ok(account) => {
            request.extensions_mut().insert(account);
            next.run(request).await
        }
        Err(rejection) => rejection.into_response(),
    };
    if let Some(remaining) = admission.remaining {
        response.headers_mut().insert(REMAINING, remaining.into());
    }
    if let Some(account_id) = admission.account_id {
        response.extensions_mut().insert(AccountId(account_id));
    }
    response
}

fn authorization(request: &Request) -> Option<&str> {
    request.headers().get(AUTHORIZATION)?.to_str().ok()
}

/// Injects the fault that is set for this call, if any, and logs the call.
pub(super) async fn inject_fault_and_log(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().as_str().to_owned(), request.uri().clone());
    let fault = shared.with(|state, _| state.fault(&method, uri.path(), authorization(&request)));
    let response = match &fault {
        Some(fault) => inject_fault(fault, request, next).await,
        None => next.run(request).await,
    };
    let status = response.extensions().get::<Dropped>().is_none().then(|| response.status().as_u16());
    let path = uri.path_and_query().map(|it| it.as_str()).unwrap_or_default().to_owned();
    let account = response.extensions().get::<AccountId>().map(|it| it.0.clone());
    let name = fault.as_ref().map(ApiFault::name);
    tracing::info!(method, path, status, account, fault = name, "call");
    shared.with(|state, real| {
        let at = state.clock.now(real);
        state.calls.add(Call { at, method, path, status, account, fault: name });
    });
    if let Some(ApiFault::Delay { milliseconds }) = fault {
        // The delay comes after the call is logged, because a caller that closes the connection cancels this task.
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    response
}

async fn inject_fault(fault: &ApiFault, request: Request, next: Next) -> Response {
    match fault {
        ApiFault::Status { status, retry_after } => answer_status(*status, retry_after.as_deref()),
        ApiFault::Delay { .. } => next.run(request).await,
        ApiFault::DropBefore => dropped(StatusCode::OK.into_response()),
        ApiFault::DropAfter => dropped(next.run(request).await),
        ApiFault::Truncate => truncated(next.run(request).await).await,
        ApiFault::Html => Html("<!doctype html><title>Sign in</title><h1>Sign in</h1>").into_response(),
    }
}

fn answer_status(status: u16, retry_after: Option<&str>) -> Response {
    // `from_u16` never fails here: an invalid status is rejected when the fault is set.
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = ErrorBody { error: "fault".to_owned(), message: "a fault of the simulator".to_owned() };
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(Ok(value)) = retry_after.map(HeaderValue::from_str) {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

/// A response of which nothing is sent: its body fails before the server has flushed the head.
fn dropped(mut response: Response) -> Response {
    response.headers_mut().remove(CONTENT_LENGTH);
    response.extensions_mut().insert(Dropped);
    *response.body_mut() = Body::from_stream(stream::once(connection_reset()));
    response
}

/// A response of which only the head and half of the body are sent.
async fn truncated(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, ANSWER_MAX).await.unwrap_or_default();
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    let half = body.slice(..body.len() / 2);
    // The pause lets the server flush before the body fails.
    let failure = async {
        tokio::task::yield_now().await;
        connection_reset().await
    };
    Response::from_parts(parts, Body::from_stream(stream::iter([Ok(half)]).chain(stream::once(failure))))
}

async fn connection_reset() -> Result<Bytes, std::io::Error> {
    Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
}
