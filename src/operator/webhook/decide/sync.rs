//! A person asked to have Linktree looked at now.

use jiff::Timestamp;

use super::subscription::list_after;
use crate::operator::webhook::{
    observed::{Connection, Observed},
    plan::Step,
};

/// The request that is handled with this look, or what it still takes. The probe is made afresh as long as one is there.
pub(super) fn decide(observed: &Observed, now: Timestamp) -> (Option<String>, Vec<Step>) {
    let Some(request) = &observed.sync_request else { return (None, Vec::new()) };
    let listed_at = match &observed.connection {
        Connection::Listed { snapshot, .. } => Some(snapshot.listed_at),
        Connection::Unlisted => None,
        // There is nobody to ask, and the conditions say why.
        Connection::Unusable { .. } => return (Some(request.value.clone()), Vec::new()),
    };
    if listed_at.is_some_and(|listed_at| listed_at >= request.noticed_at) {
        (Some(request.value.clone()), Vec::new())
    } else {
        (None, list_after(Some(request.noticed_at), now))
    }
}
