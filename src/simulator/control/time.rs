//! Control endpoints that advance the clock or reset the state.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::inspect::answer_view;
use crate::simulator::{
    answer::JsonBody,
    deliver::{SenderState, Step, StepEvent},
    state::rejection::Rejection,
};

/// Maximum number of steps in the response to `POST /advance`; further ones are only counted.
const STEPS_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdvanceRequest {
    seconds: u64,
}

pub(super) async fn advance(
    State(sender): SenderState,
    JsonBody(AdvanceRequest { seconds }): JsonBody<AdvanceRequest>,
) -> Result<Json<Value>, Rejection> {
    let clock = Arc::clone(&sender.shared);
    // The advance runs in a separate task, which finishes even if the caller disconnects.
    let advancing = tokio::spawn(async move { sender.advance(Duration::from_secs(seconds)).await });
    let steps = advancing.await.map_err(|error| Rejection::Impossible(error.to_string()))??;
    Ok(Json(json!({
        "offset_seconds": clock.with(|state, _| state.clock.offset().as_secs()),
        "steps_total": steps.len(),
        "steps": steps.iter().take(STEPS_MAX).map(step_view).collect::<Vec<_>>(),
    })))
}

fn step_view(step: &Step) -> Value {
    let after_seconds = step.after.as_secs();
    match &step.what {
        StepEvent::Disabled(id) => json!({"after_seconds": after_seconds, "disabled": id}),
        StepEvent::Attempt { delivery, answer } => {
            json!({"after_seconds": after_seconds, "delivery": delivery, "answer": answer_view(answer)})
        }
    }
}

/// Resets the state. Attempts in flight end as if their subscriptions had been deleted.
pub(super) async fn reset(State(sender): SenderState) -> StatusCode {
    sender.shared.with(|state, _| state.reset());
    StatusCode::NO_CONTENT
}
