//! Control endpoints that set, list and clear injected faults.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::simulator::{
    answer::JsonBody,
    deliver::SenderState,
    state::{
        faults::{ApiRule, DeliveryRule},
        offers::Offers,
        rejection::Rejection,
    },
};

type Fields = Map<String, Value>;

/// Parses a fault's rule and rejects every field that the parsed rule does not have: a misspelt `times` must not make a
/// fault permanent.
fn read<T: DeserializeOwned + Serialize>(fields: &Fields) -> Result<T, Rejection> {
    let unprocessable = |error: serde_json::Error| Rejection::Unprocessable(error.to_string());
    let rule = T::deserialize(json!(fields)).map_err(unprocessable)?;
    let known = serde_json::to_value(&rule).map_err(unprocessable)?;
    match fields.keys().find(|field| known.get(field).is_none()) {
        Some(unknown) => Err(Rejection::Unprocessable(format!("unknown field \"{unknown}\" in a fault of this kind"))),
        None => Ok(rule),
    }
}

pub(super) async fn list_api(State(sender): SenderState) -> Json<Vec<ApiRule>> {
    Json(sender.shared.with(|state, _| state.faults.api.clone()))
}

pub(super) async fn add_api(
    State(sender): SenderState,
    JsonBody(fields): JsonBody<Fields>,
) -> Result<StatusCode, Rejection> {
    let rule = read(&fields)?;
    sender.shared.with(|state, _| state.faults.add_api(rule)).map(|()| StatusCode::NO_CONTENT)
}

pub(super) async fn clear_api(State(sender): SenderState) -> StatusCode {
    sender.shared.with(|state, _| state.faults.api.clear());
    StatusCode::NO_CONTENT
}

pub(super) async fn list_deliveries(State(sender): SenderState) -> Json<Vec<DeliveryRule>> {
    Json(sender.shared.with(|state, _| state.faults.deliveries.clone()))
}

pub(super) async fn add_delivery(
    State(sender): SenderState,
    JsonBody(fields): JsonBody<Fields>,
) -> Result<StatusCode, Rejection> {
    let rule = read(&fields)?;
    sender.shared.with(|state, _| state.faults.add_delivery(rule)).map(|()| StatusCode::NO_CONTENT)
}

pub(super) async fn clear_deliveries(State(sender): SenderState) -> StatusCode {
    sender.shared.with(|state, _| state.faults.deliveries.clear());
    StatusCode::NO_CONTENT
}

/// Settings of the simulator that can change at run time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    resign_retries: Option<bool>,
    only_5xx_disables: Option<bool>,
    keep_alive: Option<bool>,
    offers: Option<Offers>,
}

pub(super) async fn set(State(sender): SenderState, JsonBody(settings): JsonBody<Settings>) -> StatusCode {
    let Settings { resign_retries, only_5xx_disables, keep_alive, offers } = settings;
    sender.shared.with(|state, _| {
        state.only_5xx_disables = only_5xx_disables.unwrap_or(state.only_5xx_disables);
        state.keep_alive = keep_alive.unwrap_or(state.keep_alive);
        state.resign_retries = resign_retries.unwrap_or(state.resign_retries);
        state.offers = offers.unwrap_or(state.offers);
    });
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_is_rejected() {
        let fields = |json| serde_json::from_str::<Fields>(json).unwrap();
        assert_eq!(read::<ApiRule>(&fields(r#"{"kind":"html","times":1}"#)).unwrap().times, Some(1));
        assert!(read::<DeliveryRule>(&fields(r#"{"kind":"drop","subscription":"wh_1"}"#)).is_ok());
        for bad in
            [r#"{"kind":"html","tims":1}"#, r#"{"kind":"status","status":503,"tims":1}"#, r#"{"kind":"explode"}"#]
        {
            assert!(read::<ApiRule>(&fields(bad)).is_err(), "{bad}");
        }
    }
}
