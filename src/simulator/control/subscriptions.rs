//! Subscriptions behind the API's back, and forged deliveries to them.

use axum::{Json, body::Bytes, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ctl, inspect::answer_view};
use crate::{
    linktree::{
        event::EventType,
        secret::Secret,
        wire::{RotatedSecret, Subscription, SubscriptionId, UpdateSubscription},
    },
    simulator::{
        answer::{Id, JsonBody, read_object},
        state::{forgery::Forgery, refusal::Refusal},
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
    State(sender): Ctl,
    JsonBody(new): JsonBody<NewSubscription>,
) -> Result<Json<Subscription>, Refusal> {
    let added = sender.shared.with(|world, real| {
        let account = world.accounts.find(new.account.as_deref())?;
        world.add(account, new.url, new.events, real)
    });
    added.map(Json)
}

pub(super) async fn edit(
    State(sender): Ctl,
    Id(id): Id,
    JsonBody(change): JsonBody<UpdateSubscription>,
) -> Result<Json<Subscription>, Refusal> {
    sender.shared.with(|world, real| world.edit(&SubscriptionId(id), change, real)).map(Json)
}

pub(super) async fn remove(State(sender): Ctl, Id(id): Id) -> Result<StatusCode, Refusal> {
    sender.shared.with(|world, _| world.remove(&SubscriptionId(id))).map(|()| StatusCode::NO_CONTENT)
}

/// What the new secret is to be; a random one if absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    signing_secret: Option<Secret>,
}

pub(super) async fn rotate_secret(State(sender): Ctl, Id(id): Id, body: Bytes) -> Result<Json<RotatedSecret>, Refusal> {
    let Rotation { signing_secret } = if body.is_empty() { Rotation::default() } else { read_object(&body)? };
    let id = SubscriptionId(id);
    let secret = sender.shared.with(|world, _| match signing_secret {
        Some(secret) => world.set_secret(&id, secret),
        None => world.rotate_secret(&id),
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
    State(sender): Ctl,
    JsonBody(ForgeRequest { subscription, kind }): JsonBody<ForgeRequest>,
) -> Result<Json<Value>, Refusal> {
    let request = sender.shared.with(|world, real| world.forge(&subscription, kind, real))?;
    let answer = sender.send(&request).await;
    Ok(Json(json!({"delivery_id": request.delivery_id, "answer": answer_view(&answer)})))
}
