//! The decision for a webhook that is being deleted: delete its subscription at Linktree, then remove the finalizer.
//!
//! A deletion always completes: a subscription that Linktree does not have counts as deleted. After the deadline, the
//! finalizer is removed in any case, and an Event names the subscription that may be left behind.

use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::subscription::list_after;
use crate::{
    api::condition::{ConditionType, Reason},
    linktree::wire,
    operator::{
        kubernetes::conditions::{self, Finding},
        webhook::{
            account_identity,
            observed::{Connection, Observed},
            ownership,
            plan::{Plan, Step},
            spec::Deletion,
            subscription_record,
        },
    },
};

const RETRY: Duration = Duration::from_secs(5);

/// Decides the plan for a webhook that is being deleted; `url` is its registered URL.
#[must_use]
pub fn decide(terms: Deletion, url: Option<&str>, observed: &Observed, deleted_at: Timestamp, now: Timestamp) -> Plan {
    let deadline = deleted_at.saturating_add(terms.deadline).unwrap_or(Timestamp::MAX);
    let steps = match (observed.finalizer, terms.unsubscribe) {
        (false, _) => Vec::new(),
        (true, false) => vec![Step::RemoveFinalizer { orphan: None }],
        (true, true) => steps(url, observed, deadline, now),
    };
    let message = carried_over(observed, now).unwrap_or_else(|| progress(&observed.connection, deadline));
    Plan {
        steps,
        findings: vec![
            (ConditionType::Ready, Finding::new(false, Reason::Terminating, message.clone())),
            (ConditionType::Reconciling, Finding::new(true, Reason::Terminating, message)),
        ],
        subscription: observed.status.subscription.clone(),
        account: observed.status.account.clone(),
        awaited_milestones: observed.status.awaited_milestones.clone(),
        journal_forecast: None,
        handled_sync_request: None,
        rejected_redrive: None,
        requeue: RETRY,
        rests: false,
    }
}

/// The message of the deletion's conditions: the current step, or why the account cannot be used (for example after a
/// restart, if the token is gone).
fn progress(connection: &Connection, deadline: Timestamp) -> String {
    let left_behind = format!("it is left behind at {}", conditions::whole_seconds(deadline));
    match connection {
        Connection::Listed { .. } => {
            format!("deleting the subscription at Linktree; if that fails, {left_behind}")
        }
        Connection::Unlisted => {
            format!("the subscription is deleted once the account has been listed; otherwise {left_behind}")
        }
        Connection::Unusable { message, .. } => {
            format!("the subscription at Linktree cannot be deleted: {message}; without a fix {left_behind}")
        }
    }
}

/// The message about a failed call, kept from the status until the next attempt, since a reconciliation during the
/// backoff makes no call and has no newer result.
fn carried_over(observed: &Observed, now: Timestamp) -> Option<String> {
    observed.hold_until.filter(|until| now < *until)?;
    let previous = conditions::find(&observed.status.conditions, ConditionType::Reconciling)?;
    (previous.reason == Reason::Terminating.as_str()).then(|| previous.message.clone())
}

fn steps(url: Option<&str>, observed: &Observed, deadline: Timestamp, now: Timestamp) -> Vec<Step> {
    let id = observed.subscription_id();
    let intent = observed.status.subscription.as_ref().and_then(subscription_record::intent);
    // Without a proof that the subscription is this webhook's, it stays: another webhook or cluster may have it.
    let is_unproven = id.is_none() && (intent.is_none() || observed.url_taken_by.is_some());
    if is_unproven || observed.id_taken_by.is_some() {
        return vec![Step::RemoveFinalizer { orphan: None }];
    }
    let name = || id.clone().map_or_else(|| url.unwrap_or_default().to_owned(), |id| id.0);
    if account_identity::has_changed(&observed.status, &observed.connection) {
        let account = observed.status.account.as_ref().and_then(|account| account.id.as_ref());
        let account = account.map_or("the previous token's account".to_owned(), |id| format!("account {id}"));
        return vec![Step::RemoveFinalizer { orphan: Some(format!("{} of {account}", name())) }];
    }
    if now >= deadline {
        return vec![Step::RemoveFinalizer { orphan: Some(name()) }];
    }
    let Connection::Listed { snapshot, capabilities, .. } = &observed.connection else { return Vec::new() };
    // If Linktree's API has no DELETE, the finalizer would wait for the deadline in vain.
    if let (Some(id), true) = (&id, capabilities.lacks_delete()) {
        return vec![Step::RemoveFinalizer { orphan: Some(id.0.clone()) }];
    }
    if observed.hold_until.is_some_and(|until| now < until) {
        return Vec::new();
    }
    let begun = intent.max(observed.unresolved);
    let url = url.and_then(|url| Url::parse(url).ok());
    let has_url = |known: &&wire::Subscription| url.as_ref().is_some_and(|url| ownership::is_same_url(&known.url, url));
    let by_url = snapshot.subscriptions.iter().find(has_url);
    let (made_here, unproven) = match by_url {
        Some(known) if ownership::is_made_here(observed, known) => (Some(known.id.clone()), None),
        by_url => (None, by_url.map(|known| known.id.0.clone())),
    };
    match id.or(made_here) {
        Some(id) => vec![Step::Unsubscribe { id }, Step::RemoveFinalizer { orphan: None }],
        // A registration may have succeeded: only a list that began after it shows that the account has no subscription
        // for it.
        None if begun.is_some_and(|begun| snapshot.listed_at < begun) => list_after(begun, now),
        None => vec![Step::RemoveFinalizer { orphan: unproven }],
    }
}
