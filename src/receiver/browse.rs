//! `GET /journal` and `GET /journal/POSITION` on the admin port: what is in the journal, for whoever has the route's
//! admin token. It changes nothing.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use bytes::Bytes;
use serde::Deserialize;

use super::{
    config::{Config, Current},
    journal::{JournalError, Position, inspect::Inspect},
    status::authorized,
};
use crate::route::journal::{Body, Detail, Page};

/// The largest page, and how long one is by itself.
const LIMIT_MAX: usize = 500;
const LIMIT: usize = 100;

/// Where entries come from.
#[derive(Clone)]
pub struct Shelf {
    pub config: Current,
    pub journal: Arc<dyn Inspect>,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf").finish_non_exhaustive()
    }
}

/// The routes, to be merged into the admin router.
pub fn router(shelf: Shelf) -> Router {
    Router::new().route("/journal", get(list)).route("/journal/{position}", get(show)).with_state(shelf)
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    after: Position,
    limit: Option<usize>,
}

async fn list(
    State(shelf): State<Shelf>,
    header: HeaderMap,
    Query(Range { after, limit }): Query<Range>,
) -> Result<Json<Page>, StatusCode> {
    shelf.admit(&header)?;
    let limit = limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    // One more than is shown tells whether there is another page.
    let mut entries = shelf.journal.list(after, limit + 1).await.map_err(|error| unavailable(&error))?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|entry| entry.position);
    Ok(Json(Page { entries, next }))
}

async fn show(
    State(shelf): State<Shelf>,
    header: HeaderMap,
    Path(position): Path<Position>,
) -> Result<Json<Detail>, StatusCode> {
    let config = shelf.admit(&header)?;
    let found = shelf.journal.show(position).await.map_err(|error| unavailable(&error))?;
    let (entry, body, sinks) = found.ok_or(StatusCode::NOT_FOUND)?;
    // It was redacted when it was kept, but the route may ask for more now.
    Ok(Json(Detail { entry, body: shown(config.redaction.apply(body)), sinks }))
}

impl Shelf {
    /// The route in use, for whoever may know it.
    fn admit(&self, header: &HeaderMap) -> Result<Arc<Config>, StatusCode> {
        let config = self.config.borrow().clone().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        if authorized(header, &config.route.admin_token) { Ok(config) } else { Err(StatusCode::UNAUTHORIZED) }
    }
}

fn shown(body: Bytes) -> Body {
    match String::from_utf8(body.into()) {
        Ok(text) => Body::Text(text),
        Err(error) => Body::Hex(hex::encode(error.into_bytes())),
    }
}

fn unavailable(error: &JournalError) -> StatusCode {
    tracing::debug!(%error, "cannot read the journal");
    StatusCode::SERVICE_UNAVAILABLE
}
