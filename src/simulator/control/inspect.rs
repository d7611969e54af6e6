//! Control endpoints that show the simulator's state and the calls to its API; secrets only on request, tokens never.
//! All times are in real time, in seconds since the epoch.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::simulator::{
    answer::QueryOf,
    deliver::SenderState,
    state::{
        State as SimState,
        accounts::{Account, AccountKey},
        calls::Call,
        clock::Clock,
        deliveries::{Answer, Attempt, Delivery, DeliveryState},
        rejection::Rejection,
        subscriptions::Subscription,
    },
};

#[derive(Debug, Deserialize)]
pub(super) struct StateQuery {
    #[serde(default)]
    secrets: bool,
}

pub(super) async fn state(
    State(sender): SenderState,
    QueryOf(query): QueryOf<StateQuery>,
) -> Result<Json<Value>, Rejection> {
    sender.shared.with(|state, _| {
        let accounts: Result<Vec<_>, _> = state.accounts.iter().map(|(key, it)| account_view(state, key, it)).collect();
        let subscriptions: Vec<_> =
            state.subscriptions.iter().map(|it| subscription_view(state, it, query.secrets)).collect();
        let deliveries: Vec<_> = state.deliveries.iter().map(|it| delivery_view(&state.clock, it)).collect();
        Ok(Json(json!({
            "offset_seconds": state.clock.offset().as_secs(),
            "resign_retries": state.resign_retries,
            "offers": state.offers,
            "accounts": accounts?,
            "subscriptions": subscriptions,
            "deliveries": deliveries,
            "faults": {"api": state.faults.api, "deliveries": state.faults.deliveries},
        })))
    })
}

fn account_view(state: &SimState, key: AccountKey, account: &Account) -> Result<Value, Rejection> {
    let page = state.page(key)?;
    Ok(json!({"id": account.id, "plan": account.plan, "profile": page.profile, "links": page.links}))
}

fn subscription_view(state: &SimState, subscription: &Subscription, secrets: bool) -> Value {
    let mut view = json!(subscription.on_the_wire(&state.clock, secrets));
    view["account"] = json!(state.accounts.get(subscription.account).map(|account| &account.id));
    view["disable_due"] = json!(subscription.disable_due().map(|at| state.clock.on_the_wire(at)));
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

/// A receiver's response, or the reason why there is none.
pub(super) fn answer_view(answer: &Answer) -> Value {
    match answer {
        Answer::Status { status, body } => json!({"status": status, "body": body}),
        Answer::None { problem } => json!({"problem": problem}),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct CallsQuery {
    /// Returns only the calls after this number.
    #[serde(default)]
    since: u64,
}

pub(super) async fn calls(State(sender): SenderState, QueryOf(query): QueryOf<CallsQuery>) -> Json<Value> {
    Json(sender.shared.with(|state, _| {
        let calls = state.calls.since(query.since);
        json!({"calls": calls.map(|(number, call)| call_view(&state.clock, number, call)).collect::<Vec<_>>()})
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
