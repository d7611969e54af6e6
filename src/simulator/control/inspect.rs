//! What can be seen of the simulator: its state, and the calls made to it. Secrets only on request, tokens never. All
//! times are as on the wire, in seconds since the epoch of the world outside.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Ctl;
use crate::simulator::{
    answer::QueryOf,
    state::{
        State as World,
        accounts::{Account, AccountKey},
        calls::Call,
        clock::Clock,
        deliveries::{Answer, Attempt, Delivery, DeliveryState},
        refusal::Refusal,
        subscriptions::Subscription,
    },
};

#[derive(Debug, Deserialize)]
pub(super) struct StateQuery {
    #[serde(default)]
    secrets: bool,
}

pub(super) async fn state(State(sender): Ctl, QueryOf(query): QueryOf<StateQuery>) -> Result<Json<Value>, Refusal> {
    sender.shared.with(|world, _| {
        let accounts: Result<Vec<_>, _> = world.accounts.iter().map(|(key, it)| account_view(world, key, it)).collect();
        let subscriptions: Vec<_> =
            world.subscriptions.iter().map(|it| subscription_view(world, it, query.secrets)).collect();
        let deliveries: Vec<_> = world.deliveries.iter().map(|it| delivery_view(&world.clock, it)).collect();
        Ok(Json(json!({
            "offset_seconds": world.clock.offset().as_secs(),
            "resign_retries": world.resign_retries,
            "offers": world.offers,
            "accounts": accounts?,
            "subscriptions": subscriptions,
            "deliveries": deliveries,
            "faults": {"api": world.faults.api, "deliveries": world.faults.deliveries},
        })))
    })
}

fn account_view(world: &World, key: AccountKey, account: &Account) -> Result<Value, Refusal> {
    let page = world.page(key)?;
    Ok(json!({"id": account.id, "plan": account.plan, "profile": page.profile, "links": page.links}))
}

fn subscription_view(world: &World, subscription: &Subscription, secrets: bool) -> Value {
    let mut view = json!(subscription.on_the_wire(&world.clock, secrets));
    view["account"] = json!(world.accounts.get(subscription.account).map(|account| &account.id));
    view["disable_due"] = json!(subscription.disable_due().map(|at| world.clock.on_the_wire(at)));
    view
}

fn delivery_view(clock: &Clock, delivery: &Delivery) -> Value {
    let (state, due) = match delivery.state {
        DeliveryState::Waiting { due } => ("waiting", Some(clock.on_the_wire(due))),
        DeliveryState::Sending => ("sending", None),
        DeliveryState::Delivered => ("delivered", None),
        DeliveryState::GivenUp => ("given-up", None),
        DeliveryState::Dropped => ("dropped", None),
    };
    json!({
        "id": delivery.id,
        "subscription": delivery.subscription,
        "type": delivery.event_type,
        "state": state,
        "due": due,
        "attempts": delivery.attempts.iter().map(|it| attempt_view(clock, it)).collect::<Vec<_>>(),
    })
}

fn attempt_view(clock: &Clock, attempt: &Attempt) -> Value {
    json!({
        "at": clock.on_the_wire(attempt.at),
        "answer": answer_view(&attempt.answer),
        "further": attempt.further.iter().map(answer_view).collect::<Vec<_>>(),
    })
}

/// A receiver's answer, or why there is none.
pub(super) fn answer_view(answer: &Answer) -> Value {
    match answer {
        Answer::Status { status, body } => json!({"status": status, "body": body}),
        Answer::None { problem } => json!({"problem": problem}),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct CallsQuery {
    /// Only the calls after this number.
    #[serde(default)]
    since: u64,
}

pub(super) async fn calls(State(sender): Ctl, QueryOf(query): QueryOf<CallsQuery>) -> Json<Value> {
    Json(sender.shared.with(|world, _| {
        let calls = world.calls.since(query.since);
        json!({"calls": calls.map(|(number, call)| call_view(&world.clock, number, call)).collect::<Vec<_>>()})
    }))
}

fn call_view(clock: &Clock, number: u64, call: &Call) -> Value {
    let Call { at, method, path, status, account, fault } = call;
    json!({
        "number": number,
        "at": clock.on_the_wire(*at),
        "method": method,
        "path": path,
        "status": status,
        "account": account,
        "fault": fault,
    })
}
