//! Linktree's API over HTTP. It only translates: the rules are in `state`, and [`gate`] applies tokens, budgets, faults
//! and the call log.

mod gate;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{BODY_MAX, Id, JsonBody, QueryOf},
    shared::Shared,
    state::{
        accounts::AccountKey,
        rejection::Rejection,
        subscriptions::{Cursor, PAGE_DEFAULT, PAGE_MAX},
    },
};
use crate::linktree::wire::{
    Account, CreateSubscription, RotatedSecret, Subscription, SubscriptionId, SubscriptionPage, UpdateSubscription,
};

type Sim = State<Arc<Shared>>;
/// The account of the request's token, added by [`gate`].
type Caller = Extension<AccountKey>;

pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let webhooks = Router::new()
        .route("/v1/webhooks", post(create).get(list))
        .route("/v1/webhooks/{id}", get(read).patch(update).delete(remove))
        .route("/v1/webhooks/{id}/rotate-secret", post(rotate_secret))
        .layer(from_fn_with_state(Arc::clone(shared), gate::admit_to_webhooks));
    let account = Router::new().route("/v1/me", get(me)).layer(from_fn_with_state(Arc::clone(shared), gate::admit));
    Router::new()
        .merge(webhooks)
        .merge(account)
        .fallback(async || Rejection::NotFound)
        .method_not_allowed_fallback(async || Rejection::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(Arc::clone(shared), gate::inject_fault_and_log))
        // `GET /v1/health` is not in the call log, because probes arrive every few seconds.
        .route("/v1/health", get(health))
        .method_not_allowed_fallback(async || Rejection::MethodNotAllowed)
        .with_state(Arc::clone(shared))
}

/// `GET /v1/health`. Assumed: that it needs no token, and its body.
async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

async fn me(State(sim): Sim, Extension(caller): Caller) -> Result<Json<Account>, Rejection> {
    sim.with(|state, _| state.me(caller)).map(Json)
}

async fn create(
    State(sim): Sim,
    Extension(caller): Caller,
    JsonBody(request): JsonBody<CreateSubscription>,
) -> Result<(StatusCode, Json<Value>), Rejection> {
    let (created, offers) = sim.with(|state, real| (state.register(caller, request, real), state.offers));
    let created = created?;
    let answer = if offers.returns_full_object() { json!(created) } else { json!({"id": created.id}) };
    Ok((StatusCode::CREATED, Json(answer)))
}

#[derive(Debug, Deserialize)]
struct PageQuery {
    cursor: Option<String>,
    limit: Option<usize>,
}

async fn list(
    State(sim): Sim,
    Extension(caller): Caller,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Json<SubscriptionPage>, Rejection> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Rejection::Malformed(format!("limit: between 1 and {PAGE_MAX}")));
    }
    let cursor = query.cursor.map_or(Some(Cursor::default()), |text| Cursor::parse(&text));
    let cursor = cursor.ok_or_else(|| Rejection::Malformed("cursor: not one of ours".to_owned()))?;
    Ok(Json(sim.with(|state, _| {
        let (page, next) = state.subscriptions.page(caller, cursor, limit);
        SubscriptionPage {
            data: page.into_iter().map(|it| it.on_the_wire(&state.clock, false)).collect(),
            next_cursor: next.map(|next| next.to_string()),
        }
    })))
}

async fn read(State(sim): Sim, Extension(caller): Caller, Id(id): Id) -> Result<Json<Subscription>, Rejection> {
    sim.with(|state, _| state.owned(caller, &SubscriptionId(id)).map(|it| it.on_the_wire(&state.clock, false)))
        .map(Json)
}

async fn update(
    State(sim): Sim,
    Extension(caller): Caller,
    Id(id): Id,
    JsonBody(change): JsonBody<UpdateSubscription>,
) -> Result<Json<Subscription>, Rejection> {
    sim.with(|state, real| state.update(caller, &SubscriptionId(id), change, real)).map(Json)
}

async fn remove(State(sim): Sim, Extension(caller): Caller, Id(id): Id) -> Result<StatusCode, Rejection> {
    let id = SubscriptionId(id);
    sim.with(|state, _| {
        state.owned(caller, &id)?;
        state.remove(&id)
    })?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rotate_secret(
    State(sim): Sim,
    Extension(caller): Caller,
    Id(id): Id,
) -> Result<Json<RotatedSecret>, Rejection> {
    let id = SubscriptionId(id);
    let signing_secret = sim.with(|state, _| {
        state.owned(caller, &id)?;
        state.rotate_secret(&id)
    })?;
    Ok(Json(RotatedSecret { signing_secret }))
}
