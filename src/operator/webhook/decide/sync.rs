//! Sync requests: the user's annotation requests a new list of the account and a new probe now.

use jiff::Timestamp;

use super::subscription::list_after;
use crate::operator::webhook::{
    observed::{Connection, Observed},
    plan::Step,
};

/// The value of the sync request that this reconciliation completes, or else the steps that it still needs.
///
/// While a request is pending, each reconciliation also probes the URL again.
pub(super) fn decide(observed: &Observed, now: Timestamp) -> (Option<String>, Vec<Step>) {
    let Some(request) = &observed.sync_request else { return (None, Vec::new()) };
    let listed_at = match &observed.connection {
        Connection::Listed { snapshot, .. } => Some(snapshot.listed_at),
        Connection::Unlisted => None,
        // Linktree cannot be called, and the conditions report why: the request counts as completed.
        Connection::Unusable { .. } => return (Some(request.value.clone()), Vec::new()),
    };
    if listed_at.is_some_and(|listed_at| listed_at >= request.noticed_at) {
        (Some(request.value.clone()), Vec::new())
    } else {
        (None, list_after(Some(request.noticed_at), now))
    }
}
