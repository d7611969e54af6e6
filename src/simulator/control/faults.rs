//! Setting, listing and clearing faults.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;

use crate::simulator::{
    answer::JsonBody,
    state::{
        faults::{ApiRule, DeliveryRule},
        refusal::Refusal,
    },
};

use super::Ctl;

pub(super) async fn list_api(State(sender): Ctl) -> Json<Vec<ApiRule>> {
    Json(sender.shared.with(|world, _| world.faults.api.clone()))
}

pub(super) async fn add_api(State(sender): Ctl, JsonBody(rule): JsonBody<ApiRule>) -> Result<StatusCode, Refusal> {
    sender.shared.with(|world, _| world.faults.add_api(rule)).map(|()| StatusCode::NO_CONTENT)
}

pub(super) async fn clear_api(State(sender): Ctl) -> StatusCode {
    sender.shared.with(|world, _| world.faults.api.clear());
    StatusCode::NO_CONTENT
}

pub(super) async fn list_deliveries(State(sender): Ctl) -> Json<Vec<DeliveryRule>> {
    Json(sender.shared.with(|world, _| world.faults.deliveries.clone()))
}

pub(super) async fn add_delivery(
    State(sender): Ctl,
    JsonBody(rule): JsonBody<DeliveryRule>,
) -> Result<StatusCode, Refusal> {
    sender.shared.with(|world, _| world.faults.add_delivery(rule)).map(|()| StatusCode::NO_CONTENT)
}

pub(super) async fn clear_deliveries(State(sender): Ctl) -> StatusCode {
    sender.shared.with(|world, _| world.faults.deliveries.clear());
    StatusCode::NO_CONTENT
}

/// What may be set while it runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    resign_retries: bool,
}

pub(super) async fn set(State(sender): Ctl, JsonBody(Settings { resign_retries }): JsonBody<Settings>) -> StatusCode {
    sender.shared.with(|world, _| world.resign_retries = resign_retries);
    StatusCode::NO_CONTENT
}
