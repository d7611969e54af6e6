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

impl Range {
    /// The number of entries in a page.
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
    }

    /// Cuts `entries`, of which one more than the page holds was requested, to the page. Returns the number after which
    /// the next page begins; `None` without a next page.
    fn cut<T>(&self, entries: &mut Vec<T>, number: impl Fn(&T) -> i64) -> Option<i64> {
        let more = entries.len() > self.limit();
        entries.truncate(self.limit());
        entries.last().filter(|_| more).map(number)
    }
}

async fn list(
    State(api): State<JournalApi>,
    header: HeaderMap,
    Query(range): Query<Range>,
) -> Result<Json<Page>, StatusCode> {
    auth::authorize(&api.config, &header)?;
    let entries = api.journal.list(range.after, range.limit() + 1).await;
    let mut entries = entries.map_err(|error| unavailable(&error))?;
    let next = range.cut(&mut entries, |entry| entry.position);
    Ok(Json(Page { entries, next }))
}

async fn dropped(
    State(api): State<JournalApi>,
    header: HeaderMap,
    Query(range): Query<Range>,
) -> Result<Json<DroppedPage>, StatusCode> {
    auth::authorize(&api.config, &header)?;
    let dropped = api.journal.dropped(range.after, range.limit() + 1).await;
    let mut dropped = dropped.map_err(|error| unavailable(&error))?;
    let next = range.cut(&mut dropped, |event| event.number);
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
