//! Setting, listing and clearing faults.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::Ctl;
use crate::simulator::{
    answer::JsonBody,
    state::{
        faults::{ApiRule, DeliveryRule},
        offers::Offers,
        refusal::Refusal,
    },
};

type Fields = Map<String, Value>;

/// A rule of exactly these fields. What does not come out of the rule again was not understood: a misspelt `times` must
/// not make a fault last for ever.
fn read<T: DeserializeOwned + Serialize>(fields: &Fields) -> Result<T, Refusal> {
    let unprocessable = |error: serde_json::Error| Refusal::Unprocessable(error.to_string());
    let rule = T::deserialize(json!(fields)).map_err(unprocessable)?;
    let understood = serde_json::to_value(&rule).map_err(unprocessable)?;
    match fields.keys().find(|field| understood.get(field).is_none()) {
        Some(unknown) => Err(Refusal::Unprocessable(format!("there is no field {unknown:?} in such a fault"))),
        None => Ok(rule),
    }
}

pub(super) async fn list_api(State(sender): Ctl) -> Json<Vec<ApiRule>> {
    Json(sender.shared.with(|world, _| world.faults.api.clone()))
}

pub(super) async fn add_api(State(sender): Ctl, JsonBody(fields): JsonBody<Fields>) -> Result<StatusCode, Refusal> {
    let rule = read(&fields)?;
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
    JsonBody(fields): JsonBody<Fields>,
) -> Result<StatusCode, Refusal> {
    let rule = read(&fields)?;
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
    resign_retries: Option<bool>,
    offers: Option<Offers>,
}

pub(super) async fn set(State(sender): Ctl, JsonBody(settings): JsonBody<Settings>) -> StatusCode {
    let Settings { resign_retries, offers } = settings;
    sender.shared.with(|world, _| {
        world.resign_retries = resign_retries.unwrap_or(world.resign_retries);
        world.offers = offers.unwrap_or(world.offers);
    });
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_is_refused() {
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
