//! Sync requests: the user asks for a new list of the account now.

use jiff::Timestamp;

use super::subscription::list_after;
use crate::operator::webhook::{
    observed::{Connection, Observed},
    plan::Step,
};

/// The sync request that this reconciliation completes, or the steps it still needs.
///
/// While one is pending, each reconciliation also probes the URL again.
pub(super) fn decide(observed: &Observed, now: Timestamp) -> (Option<String>, Vec<Step>) {
    let Some(request) = &observed.sync_request else { return (None, Vec::new()) };
    let listed_at = match &observed.connection {
        Connection::Listed { snapshot, .. } => Some(snapshot.listed_at),
        Connection::Unlisted => None,
        // Linktree cannot be called; the conditions say why.
        Connection::Unusable { .. } => return (Some(request.value.clone()), Vec::new()),
    };
    if listed_at.is_some_and(|listed_at| listed_at >= request.noticed_at) {
        (Some(request.value.clone()), Vec::new())
    } else {
        (None, list_after(Some(request.noticed_at), now))
    }
}
