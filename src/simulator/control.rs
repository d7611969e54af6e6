//! The control endpoints, with which a user, a demonstration or a test changes Linktree from outside its API: JSON over
//! HTTP on a separate port, without credentials. `GET /` returns [`HELP`].

mod catalog;
mod faults;
mod inspect;
mod subscriptions;
mod time;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, patch, post},
};

use super::{answer::BODY_MAX, deliver::Sender, state::rejection::Rejection};

/// The response to `GET /`.
const HELP: &str = include_str!("control/help.txt");

pub(super) fn router(sender: Arc<Sender>) -> Router {
    Router::new()
        .route("/", get(async || HELP))
        .route("/state", get(inspect::state))
        .route("/calls", get(inspect::calls))
        .route("/advance", post(time::advance))
        .route("/reset", post(time::reset))
        .route("/links", post(catalog::create_link))
        .route("/links/{id}", patch(catalog::update_link).delete(catalog::delete_link))
        .route("/profile", patch(catalog::update_profile))
        .route("/milestones", post(catalog::reach_milestone))
        .route("/events", post(catalog::emit))
        .route("/subscriptions", post(subscriptions::add))
        .route("/subscriptions/{id}", patch(subscriptions::edit).delete(subscriptions::remove))
        .route("/subscriptions/{id}/rotate-secret", post(subscriptions::rotate_secret))
        .route("/deliveries/forge", post(subscriptions::forge))
        .route("/settings", patch(faults::set))
        .route("/faults/api", get(faults::list_api).post(faults::add_api).delete(faults::clear_api))
        .route(
            "/faults/deliveries",
            get(faults::list_deliveries).post(faults::add_delivery).delete(faults::clear_deliveries),
        )
        .fallback(async || Rejection::NotFound)
        .method_not_allowed_fallback(async || Rejection::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(sender)
}
