//! `POST /redrive` and `GET /redrive` on the admin port: sends stored events again, for requests with the route's admin
//! token.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};

use super::auth;
use crate::{
    receiver::{
        config::Current,
        journal::{
            JournalError,
            redrive::{Matched, PENDING_MAX, PER_SECOND_MAX, Part, Redrive, Redriver, Source},
        },
    },
    route::redrive::{EventReference, RedriveAnswer, RedriveRequest, Redrives, Selection},
};

/// The limits of a request: its body, and its id, in bytes.
const BODY_MAX: usize = 16 * 1024;
const ID_MAX: usize = 256;
const PER_SECOND_DEFAULT: u32 = 10;
/// Selects the dead letters of every sink.
const ALL: &str = "*";

/// A status and the reason for it.
type Problem = (StatusCode, String);

/// The state of the redrive API.
#[derive(Clone)]
pub struct RedriveApi {
    pub config: Current,
    pub journal: Arc<dyn Redriver>,
}

impl std::fmt::Debug for RedriveApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedriveApi").finish_non_exhaustive()
    }
}

/// The route `/redrive`, to merge into the admin port's router.
pub fn router(api: RedriveApi) -> Router {
    let methods = get(list).post(redrive).layer(DefaultBodyLimit::max(BODY_MAX));
    Router::new().route("/redrive", methods).with_state(api)
}

async fn list(State(api): State<RedriveApi>, header: HeaderMap) -> Result<Json<Redrives>, Problem> {
    auth::authorize(&api.config, &header).map_err(|status| (status, String::new()))?;
    let redrives = api.journal.redrives().await.map_err(|error| unavailable(&error))?;
    Ok(Json(Redrives { redrives }))
}

async fn redrive(
    State(api): State<RedriveApi>,
    header: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<RedriveAnswer>), Problem> {
    let config = auth::authorize(&api.config, &header).map_err(|status| (status, String::new()))?;
    let sinks: Vec<&str> = config.route.sinks.iter().map(|sink| sink.name.as_str()).collect();
    let request = serde_json::from_slice(&body).map_err(|error| bad(format!("the request is not valid: {error}")))?;
    let Plan { id, per_second, choices } = plan(request, &sinks)?;
    // Its events may have left the selection since it was accepted.
    if let Some(matched) = api.journal.accepted(&id).await.map_err(|error| unavailable(&error))? {
        return Ok((StatusCode::ACCEPTED, Json(RedriveAnswer { matched })));
    }
    let mut parts = Vec::with_capacity(choices.len());
    for Choice { wanted, target } in choices {
        let (source, matched) = api.find(wanted, &sinks).await?;
        parts.push(Part { source, target, matched });
    }
    let accepted = api.journal.redrive(Redrive { id, per_second, parts }).await.map_err(|error| unavailable(&error))?;
    let matched = accepted.ok_or_else(|| {
        let problem = format!("{PENDING_MAX} redrives are incomplete: wait until one is complete (GET /redrive)");
        (StatusCode::TOO_MANY_REQUESTS, problem)
    })?;
    Ok((StatusCode::ACCEPTED, Json(RedriveAnswer { matched })))
}

impl RedriveApi {
    /// The events of a selection.
    async fn find(&self, wanted: Wanted, sinks: &[&str]) -> Result<(Source, Matched), Problem> {
        let source = match wanted {
            Wanted::Source(source) => source,
            Wanted::Delivery(id) => {
                let found = self.journal.find_delivery(&id).await.map_err(|error| unavailable(&error))?;
                let position = found.ok_or_else(|| missing("the journal has no event with this delivery id".into()))?;
                return self.one(position).await;
            }
            Wanted::Position(position) => return self.one(position).await,
        };
        let matched = self.journal.matched(source.clone()).await.map_err(|error| unavailable(&error))?;
        match &source {
            Source::DeadLetters { sink } if matched.count == 0 && !sinks.contains(&sink.as_str()) => {
                Err(missing(format!("{sink:?} is not a sink of the webhook and has no dead letters")))
            }
            Source::DeadLetters { .. } | Source::Received { .. } => Ok((source, matched)),
        }
    }

    async fn one(&self, position: i64) -> Result<(Source, Matched), Problem> {
        let exists = self.journal.exists(position).await.map_err(|error| unavailable(&error))?;
        if !exists {
            return Err(missing(format!("the journal has no event at position {position}")));
        }
        let always = Source::Received { from: i64::MIN, to: i64::MAX };
        Ok((always, Matched { count: 1, first: position, last: position }))
    }
}

/// A valid request.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    id: String,
    per_second: u32,
    choices: Vec<Choice>,
}

/// The events of a request for one sink.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    wanted: Wanted,
    target: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Source(Source),
    Position(i64),
    Delivery(String),
}

/// Checks a request to a webhook with these sinks. Pure.
fn plan(request: RedriveRequest, sinks: &[&str]) -> Result<Plan, Problem> {
    let RedriveRequest { id, select, target_sink, max_per_second } = request;
    if id.is_empty() || id.len() > ID_MAX || id.chars().any(char::is_control) {
        return Err(bad(format!("id must have 1 to {ID_MAX} bytes without control characters")));
    }
    let per_second = max_per_second.unwrap_or(PER_SECOND_DEFAULT);
    if !(1..=PER_SECOND_MAX).contains(&per_second) {
        return Err(bad(format!("maxPerSecond must be 1 to {PER_SECOND_MAX}")));
    }
    let known = |sink: &str| sinks.contains(&sink);
    if let Some(target) = target_sink.as_deref().filter(|target| !known(target)) {
        return Err(missing(format!("targetSink {target:?} is not a sink of the webhook")));
    }
    let target = |target: Option<String>| {
        target.ok_or_else(|| bad("targetSink is missing: name the sink to send these events to".to_owned()))
    };
    let choices = match select {
        Selection::DeadLetters { sink } => match (sink.filter(|sink| sink != ALL), target_sink) {
            (Some(sink), None) if !known(&sink) => {
                let problem = format!("{sink:?} is not a sink of the webhook: name the sink to send to in targetSink");
                return Err(missing(problem));
            }
            (Some(sink), target) => {
                let target = target.unwrap_or_else(|| sink.clone());
                vec![Choice { wanted: Wanted::Source(Source::DeadLetters { sink }), target }]
            }
            (None, None) => sinks.iter().map(|&sink| own_dead_letters(sink)).collect(),
            (None, Some(_)) => {
                return Err(bad("targetSink needs the name of the sink whose dead letters to send".into()));
            }
        },
        Selection::Event(EventReference::Position(position)) => {
            vec![Choice { wanted: Wanted::Position(position), target: target(target_sink)? }]
        }
        Selection::Event(EventReference::DeliveryId(id)) => {
            vec![Choice { wanted: Wanted::Delivery(id), target: target(target_sink)? }]
        }
        Selection::Received { from_time: from, to_time: to } => {
            if from >= to {
                return Err(bad("received.fromTime must be before received.toTime".to_owned()));
            }
            vec![Choice { wanted: Wanted::Source(Source::Received { from, to }), target: target(target_sink)? }]
        }
    };
    if choices.is_empty() {
        return Err(missing("the webhook has no sinks".to_owned()));
    }
    Ok(Plan { id, per_second, choices })
}

fn own_dead_letters(sink: &str) -> Choice {
    let wanted = Wanted::Source(Source::DeadLetters { sink: sink.to_owned() });
    Choice { wanted, target: sink.to_owned() }
}

fn bad(problem: String) -> Problem {
    (StatusCode::BAD_REQUEST, problem)
}

fn missing(problem: String) -> Problem {
    (StatusCode::NOT_FOUND, problem)
}

fn unavailable(error: &JournalError) -> Problem {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

#[cfg(test)]
mod tests;
