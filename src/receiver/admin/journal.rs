//! `GET /journal`, `GET /journal/POSITION` and `GET /dropped` on the admin port: the entries of the journal and the events
//! that were given up, for requests with the route's admin token. Read-only.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use bytes::Bytes;
use serde::Deserialize;

use super::auth;
use crate::{
    receiver::{
        config::Current,
        journal::{JournalError, Position, inspect::Inspect},
    },
    route::journal::{Body, Detail, DroppedPage, Page},
};

/// The largest and the default number of entries in a page.
const PAGE_MAX: usize = 500;
const PAGE_DEFAULT: usize = 100;

/// The state of the journal API.
#[derive(Clone)]
pub struct JournalApi {
    pub config: Current,
    pub journal: Arc<dyn Inspect>,
}

impl std::fmt::Debug for JournalApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalApi").finish_non_exhaustive()
    }
}

/// The routes of the journal, to merge into the admin port's router.
pub fn router(api: JournalApi) -> Router {
    Router::new()
        .route("/journal", get(list))
        .route("/journal/{position}", get(show))
        .route("/dropped", get(dropped))
        .with_state(api)
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    after: Position,
    limit: Option<usize>,
}

async fn list(
    State(api): State<JournalApi>,
    header: HeaderMap,
    Query(Range { after, limit }): Query<Range>,
) -> Result<Json<Page>, StatusCode> {
    auth::authorize(&api.config, &header)?;
    let limit = limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    // Requests one entry more than the page holds, to know whether there is a next page.
    let mut entries = api.journal.list(after, limit + 1).await.map_err(|error| unavailable(&error))?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|entry| entry.position);
    Ok(Json(Page { entries, next }))
}

async fn dropped(
    State(api): State<JournalApi>,
    header: HeaderMap,
    Query(Range { after, limit }): Query<Range>,
) -> Result<Json<DroppedPage>, StatusCode> {
    auth::authorize(&api.config, &header)?;
    let limit = limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let mut dropped = api.journal.dropped(after, limit + 1).await.map_err(|error| unavailable(&error))?;
    let more = dropped.len() > limit;
    dropped.truncate(limit);
    let next = dropped.last().filter(|_| more).map(|event| event.number);
    Ok(Json(DroppedPage { dropped, next }))
}

async fn show(
    State(api): State<JournalApi>,
    header: HeaderMap,
    Path(position): Path<Position>,
) -> Result<Json<Detail>, StatusCode> {
    let config = auth::authorize(&api.config, &header)?;
    let found = api.journal.show(position).await.map_err(|error| unavailable(&error))?;
    let (entry, bytes, sinks) = found.ok_or(StatusCode::NOT_FOUND)?;
    // The body was redacted before it was stored, but the route may redact more fields now.
    Ok(Json(Detail { entry, body: body(config.redaction.apply(bytes)), sinks }))
}

fn body(body: Bytes) -> Body {
    match String::from_utf8(body.into()) {
        Ok(text) => Body::Text(text),
        Err(error) => Body::Hex(hex::encode(error.into_bytes())),
    }
}

fn unavailable(error: &JournalError) -> StatusCode {
    tracing::debug!(%error, "cannot read the journal");
    StatusCode::SERVICE_UNAVAILABLE
}
