//! What to do about a webhook that is being deleted: its subscription goes first, then the finalizer. It never hangs:
//! that Linktree has no such subscription counts as done, and after a deadline the object is let go with a word about
//! what may stay behind.

use std::time::Duration;

use jiff::Timestamp;

use super::subscription::list_after;
use crate::{
    api::condition::{ConditionType, Reason},
    operator::{
        kubernetes::conditions::{self, Finding},
        webhook::{
            observed::{Connection, Observed},
            plan::{Plan, Step},
            spec::Deletion,
        },
    },
};

const RETRY: Duration = Duration::from_secs(5);

/// The plan for a webhook that is being deleted. `url` is the one it was registered with.
#[must_use]
pub fn decide(terms: Deletion, url: Option<&str>, observed: &Observed, deleted_at: Timestamp, now: Timestamp) -> Plan {
    let deadline = deleted_at.saturating_add(terms.deadline).unwrap_or(Timestamp::MAX);
    let steps = match (observed.finalizer, terms.unsubscribe) {
        (false, _) => Vec::new(),
        (true, false) => vec![Step::RemoveFinalizer { orphan: None }],
        (true, true) => steps(url, observed, deadline, now),
    };
    let message = why_held(observed, now).unwrap_or_else(|| waits_for(&observed.connection, deadline));
    Plan {
        steps,
        findings: vec![
            (ConditionType::Ready, Finding::new(false, Reason::Terminating, message.clone())),
            (ConditionType::Reconciling, Finding::new(true, Reason::Terminating, message)),
        ],
        subscription: observed.status.subscription.clone(),
        awaited_milestones: observed.status.awaited_milestones.clone(),
        handled_sync_request: None,
        requeue: RETRY,
        rests: false,
    }
}

/// What is under way; or, where the account cannot be asked, as after a restart without its token, why nothing is.
fn waits_for(connection: &Connection, deadline: Timestamp) -> String {
    let left_behind = format!("it is left behind at {}", conditions::whole_seconds(deadline));
    match connection {
        Connection::Listed { .. } => {
            format!("deleting the subscription at Linktree first; if that does not succeed {left_behind}")
        }
        Connection::Unlisted => {
            format!("the subscription at Linktree goes first, once the account was listed; without that {left_behind}")
        }
        Connection::Unusable { message, .. } => {
            format!("the subscription at Linktree cannot be deleted: {message}; unless that is mended {left_behind}")
        }
    }
}

/// Between a failed call and the next try the status goes on saying what failed: a look in between knows no better.
fn why_held(observed: &Observed, now: Timestamp) -> Option<String> {
    observed.hold_until.filter(|until| now < *until)?;
    let said = conditions::find(&observed.status.conditions, ConditionType::Reconciling)?;
    (said.reason == Reason::Terminating.as_str()).then(|| said.message.clone())
}

fn steps(url: Option<&str>, observed: &Observed, deadline: Timestamp, now: Timestamp) -> Vec<Step> {
    let subscription = observed.status.subscription.as_ref();
    let id = observed.subscription_id();
    let begun = subscription.and_then(|subscription| subscription.registration_time.as_ref()).map(|time| time.0);
    let begun = begun.max(observed.unresolved);
    if id.is_none() && begun.is_none() {
        return vec![Step::RemoveFinalizer { orphan: None }];
    }
    if now >= deadline {
        let orphan = id.map_or_else(|| url.unwrap_or_default().to_owned(), |id| id.0);
        return vec![Step::RemoveFinalizer { orphan: Some(orphan) }];
    }
    let Connection::Listed { snapshot, capabilities, .. } = &observed.connection else { return Vec::new() };
    // No waiting brings a call that is not there.
    if let (Some(id), true) = (&id, capabilities.lacks_delete()) {
        return vec![Step::RemoveFinalizer { orphan: Some(id.0.clone()) }];
    }
    if observed.hold_until.is_some_and(|until| now < until) {
        return Vec::new();
    }
    let by_url =
        snapshot.subscriptions.iter().find(|known| Some(known.url.as_str()) == url).map(|known| known.id.clone());
    match id.or(by_url) {
        Some(id) => vec![Step::Unsubscribe { id }, Step::RemoveFinalizer { orphan: None }],
        // A registration was begun and its end is not known: only a list taken since then says that there is none.
        None if begun.is_some_and(|begun| snapshot.listed_at < begun) => list_after(begun, now),
        None => vec![Step::RemoveFinalizer { orphan: None }],
    }
}
