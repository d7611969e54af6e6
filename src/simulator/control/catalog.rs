//! Links, the profile and milestones: what happens on Linktree. Each change is an event to all who want it.

use std::sync::Arc;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::{Map, Value, json};

use super::Ctl;
use crate::{
    linktree::{event::EventType, wire::SubscriptionId},
    simulator::{
        answer::{Id, JsonBody},
        deliver::Sender,
        state::{
            State as World,
            catalog::{Event, LinkChange, Milestone, ProfileChange},
            refusal::Refusal,
        },
    },
};

/// A change, and in which account.
#[derive(Debug)]
pub(super) struct In<T> {
    account: Option<String>,
    change: T,
}

/// By hand, since a flattened field would take no notice of misspelt ones.
impl<'de, T: DeserializeOwned> Deserialize<'de> for In<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let account = fields.remove("account").map_or(Ok(None), Deserialize::deserialize);
        let change = T::deserialize(Value::Object(fields));
        Ok(In { account: account.map_err(D::Error::custom)?, change: change.map_err(D::Error::custom)? })
    }
}

pub(super) async fn create_link(
    State(sender): Ctl,
    JsonBody(body): JsonBody<In<LinkChange>>,
) -> Result<Json<Value>, Refusal> {
    happen(&sender, |world, _| {
        let account = world.accounts.find(body.account.as_deref())?;
        let id = world.new_link_id();
        world.page_mut(account)?.create_link(id, body.change)
    })
}

pub(super) async fn update_link(
    State(sender): Ctl,
    Id(id): Id,
    JsonBody(change): JsonBody<LinkChange>,
) -> Result<Json<Value>, Refusal> {
    happen(&sender, |world, _| world.page_with_link(&id)?.update_link(&id, change))
}

pub(super) async fn delete_link(State(sender): Ctl, Id(id): Id) -> Result<Json<Value>, Refusal> {
    happen(&sender, |world, real| {
        let now = world.clock.on_the_wire(world.clock.now(real));
        world.page_with_link(&id)?.delete_link(&id, now)
    })
}

pub(super) async fn update_profile(
    State(sender): Ctl,
    JsonBody(body): JsonBody<In<ProfileChange>>,
) -> Result<Json<Value>, Refusal> {
    happen(&sender, |world, _| {
        let account = world.accounts.find(body.account.as_deref())?;
        Ok(world.page_mut(account)?.update_profile(body.change))
    })
}

pub(super) async fn reach_milestone(
    State(sender): Ctl,
    JsonBody(milestone): JsonBody<Milestone>,
) -> Result<Json<Value>, Refusal> {
    happen(&sender, |world, _| world.page_with_link(&milestone.link_id)?.reach(&milestone))
}

/// Any event, also one that Linktree does not have.
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

pub(super) async fn emit(State(sender): Ctl, JsonBody(event): JsonBody<AnyEvent>) -> Result<Json<Value>, Refusal> {
    let AnyEvent { account, event_type, data, subscription } = event;
    let Some(subscription) = subscription else {
        return happen(&sender, |world, _| {
            Ok(Event { account: world.accounts.find(account.as_deref())?, event_type, data })
        });
    };
    let deliveries = sender.shared.with(|world, real| {
        world.subscriptions.get(&subscription).ok_or(Refusal::NotFound)?;
        world.deliver(&[subscription], &event_type, &data, real)
    })?;
    Ok(Json(json!({"type": event_type, "data": data, "deliveries": deliveries})))
}

/// Makes something happen and delivers the event of it.
fn happen(
    sender: &Arc<Sender>,
    act: impl FnOnce(&mut World, Timestamp) -> Result<Event, Refusal>,
) -> Result<Json<Value>, Refusal> {
    sender.shared.with(|world, real| {
        let event = act(world, real)?;
        let deliveries = world.emit(&event, real)?;
        Ok(Json(json!({"type": event.event_type, "data": event.data, "deliveries": deliveries})))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_may_name_its_account_and_a_misspelt_field_is_refused() {
        let read = |json| serde_json::from_str::<In<LinkChange>>(json);
        let named = read(r#"{"account":"acc_1","title":"Shop"}"#).unwrap();
        assert_eq!((named.account.as_deref(), named.change.title.as_deref()), (Some("acc_1"), Some("Shop")));
        assert_eq!(read("{}").unwrap().account, None);
        assert!(read(r#"{"titel":"Shop"}"#).is_err());
        assert!(read(r#"{"account":1}"#).is_err());
    }
}
