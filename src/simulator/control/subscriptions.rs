//! Control endpoints that change subscriptions without the API, and send forged deliveries to them.

use axum::{Json, body::Bytes, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::inspect::answer_view;
use crate::{
    linktree::{
        event::EventType,
        secret::Secret,
        wire::{RotatedSecret, Subscription, SubscriptionId, UpdateSubscription},
    },
    simulator::{
        answer::{Id, JsonBody, read_object},
        deliver::SenderState,
        state::{forgery::Forgery, rejection::Rejection},
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSubscription {
    account: Option<String>,
    url: String,
    events: Vec<EventType>,
}

pub(super) async fn add(
    State(sender): SenderState,
    JsonBody(new): JsonBody<NewSubscription>,
) -> Result<Json<Subscription>, Rejection> {
    let added = sender.shared.with(|state, real| {
        let account = state.accounts.find(new.account.as_deref())?;
        state.add(account, new.url, new.events, real)
    });
    added.map(Json)
}

pub(super) async fn edit(
    State(sender): SenderState,
    Id(id): Id,
    JsonBody(change): JsonBody<UpdateSubscription>,
) -> Result<Json<Subscription>, Rejection> {
    sender.shared.with(|state, real| state.edit(&SubscriptionId(id), change, real)).map(Json)
}

pub(super) async fn remove(State(sender): SenderState, Id(id): Id) -> Result<StatusCode, Rejection> {
    sender.shared.with(|state, _| state.remove(&SubscriptionId(id))).map(|()| StatusCode::NO_CONTENT)
}

/// The new secret; a random one if absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    signing_secret: Option<Secret>,
}

pub(super) async fn rotate_secret(
    State(sender): SenderState,
    Id(id): Id,
    body: Bytes,
) -> Result<Json<RotatedSecret>, Rejection> {
    let Rotation { signing_secret } = if body.is_empty() { Rotation::default() } else { read_object(&body)? };
    let id = SubscriptionId(id);
    let secret = sender.shared.with(|state, _| match signing_secret {
        Some(secret) => state.set_secret(&id, secret),
        None => state.rotate_secret(&id),
    });
    secret.map(|signing_secret| Json(RotatedSecret { signing_secret }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForgeRequest {
    subscription: SubscriptionId,
    kind: Forgery,
}

pub(super) async fn forge(
    State(sender): SenderState,
    JsonBody(ForgeRequest { subscription, kind }): JsonBody<ForgeRequest>,
) -> Result<Json<Value>, Rejection> {
    let request = sender.shared.with(|state, real| state.forge(&subscription, kind, real))?;
    let answer = sender.send(&request).await;
    Ok(Json(json!({"delivery_id": request.delivery_id, "answer": answer_view(&answer)})))
}
