//! Control endpoints that change links, the profile and milestones. Each change is sent as an event to the
//! subscriptions to its type.

use std::sync::Arc;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::{Map, Value, json};

use crate::{
    linktree::{event::EventType, wire::SubscriptionId},
    simulator::{
        answer::{Id, JsonBody},
        deliver::{Sender, SenderState},
        state::{
            State as SimState,
            catalog::{Event, LinkChange, Milestone, ProfileChange},
            rejection::Rejection,
        },
    },
};

/// The body of a request: a change, and the account to make it in (the first one if absent).
#[derive(Debug)]
pub(super) struct In<T> {
    account: Option<String>,
    change: T,
}

/// Implemented by hand, because serde's `flatten` would accept misspelt fields.
impl<'de, T: DeserializeOwned> Deserialize<'de> for In<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let account = fields.remove("account").map_or(Ok(None), Deserialize::deserialize);
        let change = T::deserialize(Value::Object(fields));
        Ok(In { account: account.map_err(D::Error::custom)?, change: change.map_err(D::Error::custom)? })
    }
}

pub(super) async fn create_link(
    State(sender): SenderState,
    JsonBody(body): JsonBody<In<LinkChange>>,
) -> Result<Json<Value>, Rejection> {
    apply_and_emit(&sender, |state, _| {
        let account = state.accounts.find(body.account.as_deref())?;
        let id = state.new_link_id();
        state.page_mut(account)?.create_link(id, body.change)
    })
}

pub(super) async fn update_link(
    State(sender): SenderState,
    Id(id): Id,
    JsonBody(change): JsonBody<LinkChange>,
) -> Result<Json<Value>, Rejection> {
    apply_and_emit(&sender, |state, _| state.page_with_link(&id)?.update_link(&id, change))
}

pub(super) async fn delete_link(State(sender): SenderState, Id(id): Id) -> Result<Json<Value>, Rejection> {
    apply_and_emit(&sender, |state, real| {
        let now = state.clock.on_the_wire(state.clock.now(real));
        state.page_with_link(&id)?.delete_link(&id, now)
    })
}

pub(super) async fn update_profile(
    State(sender): SenderState,
    JsonBody(body): JsonBody<In<ProfileChange>>,
) -> Result<Json<Value>, Rejection> {
    apply_and_emit(&sender, |state, _| {
        let account = state.accounts.find(body.account.as_deref())?;
        Ok(state.page_mut(account)?.update_profile(body.change))
    })
}

pub(super) async fn reach_milestone(
    State(sender): SenderState,
    JsonBody(milestone): JsonBody<Milestone>,
) -> Result<Json<Value>, Rejection> {
    apply_and_emit(&sender, |state, _| state.page_with_link(&milestone.link_id)?.reach(&milestone))
}

/// Any event, even of a type that Linktree does not have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnyEvent {
    account: Option<String>,
    #[serde(rename = "type")]
    event_type: EventType,
    #[serde(default)]
    data: Value,
    subscription: Option<SubscriptionId>,
}

pub(super) async fn emit(
    State(sender): SenderState,
    JsonBody(event): JsonBody<AnyEvent>,
) -> Result<Json<Value>, Rejection> {
    let AnyEvent { account, event_type, data, subscription } = event;
    let Some(subscription) = subscription else {
        return apply_and_emit(&sender, |state, _| {
            Ok(Event { account: state.accounts.find(account.as_deref())?, event_type, data })
        });
    };
    let deliveries = sender.shared.with(|state, real| {
        state.subscriptions.get(&subscription).ok_or(Rejection::NotFound)?;
        state.deliver(&[subscription], &event_type, &data, real)
    })?;
    Ok(Json(json!({"type": event_type, "data": data, "deliveries": deliveries})))
}

/// Applies a change and delivers its event.
fn apply_and_emit(
    sender: &Arc<Sender>,
    act: impl FnOnce(&mut SimState, Timestamp) -> Result<Event, Rejection>,
) -> Result<Json<Value>, Rejection> {
    sender.shared.with(|state, real| {
        let event = act(state, real)?;
        let deliveries = state.emit(&event, real)?;
        Ok(Json(json!({"type": event.event_type, "data": event.data, "deliveries": deliveries})))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_may_name_its_account_and_a_misspelt_field_is_rejected() {
        let read = |json| serde_json::from_str::<In<LinkChange>>(json);
        let named = read(r#"{"account":"acc_1","title":"Shop"}"#).unwrap();
        assert_eq!((named.account.as_deref(), named.change.title.as_deref()), (Some("acc_1"), Some("Shop")));
        assert_eq!(read("{}").unwrap().account, None);
        assert!(read(r#"{"titel":"Shop"}"#).is_err());
        assert!(read(r#"{"account":1}"#).is_err());
    }
}
