//! Moving the clock ahead, and starting over.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ctl, inspect::answer_view};
use crate::simulator::{
    answer::JsonBody,
    deliver::{Happened, Step},
    state::refusal::Refusal,
};

/// Steps told; more are only counted.
const STEPS_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdvanceRequest {
    seconds: u64,
}

pub(super) async fn advance(
    State(sender): Ctl,
    JsonBody(AdvanceRequest { seconds }): JsonBody<AdvanceRequest>,
) -> Result<Json<Value>, Refusal> {
    let clock = Arc::clone(&sender.shared);
    // In a task of its own: once begun, it is finished even if the caller goes away.
    let advancing = tokio::spawn(async move { sender.advance(Duration::from_secs(seconds)).await });
    let steps = advancing.await.map_err(|error| Refusal::Impossible(error.to_string()))??;
    Ok(Json(json!({
        "offset_seconds": clock.with(|world, _| world.clock.offset().as_secs()),
        "steps_total": steps.len(),
        "steps": steps.iter().take(STEPS_MAX).map(step_view).collect::<Vec<_>>(),
    })))
}

fn step_view(step: &Step) -> Value {
    let after_seconds = step.after.as_secs();
    match &step.what {
        Happened::Disabled(id) => json!({"after_seconds": after_seconds, "disabled": id}),
        Happened::Attempt { delivery, answer } => {
            json!({"after_seconds": after_seconds, "delivery": delivery, "answer": answer_view(answer)})
        }
    }
}

/// Attempts under way end as if their subscriptions had been deleted.
pub(super) async fn reset(State(sender): Ctl) -> StatusCode {
    sender.shared.with(|world, _| world.reset());
    StatusCode::NO_CONTENT
}
