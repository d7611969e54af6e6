//! The decisions for a webhook whose subscription, or the one with its URL, may not be touched: it is not proven to be
//! this webhook's. None has a step.

use super::{absent::without_subscription, outcome::Subscription};
use crate::{
    api::{
        condition::{ConditionType, Reason},
        webhook_status::SubscriptionStatus,
    },
    linktree::wire,
    operator::{
        account::Snapshot,
        kubernetes::{conditions::Finding, object_key::ObjectKey},
        webhook::{
            decide::journal,
            observed::Observed,
            spec::{Endpoint, Spec},
            subscription_record,
        },
    },
};

/// A subscription has the webhook's URL but may not be adopted.
pub(super) fn foreign(observed: &Observed, known: &wire::Subscription) -> Subscription {
    let message = format!(
        "subscription {} has this webhook's URL, and adoptionPolicy is Never: delete it at Linktree, or set adoptionPolicy to IfURLMatches",
        known.id
    );
    without_subscription(unregistered(observed), Finding::new(false, Reason::Conflict, message), Vec::new())
}

/// A subscription has the webhook's URL, and nothing proves that it is not another cluster's.
pub(super) fn unproven(spec: &Spec, observed: &Observed, known: &wire::Subscription) -> Subscription {
    let id = &known.id;
    let by_id = format!("set subscription.adoptionPolicy to ByID and subscription.id to {id}");
    let next = match spec.endpoint {
        Endpoint::Managed(_) => {
            format!("it is adopted once the URL leads to this webhook's own receiver; to adopt it before, {by_id}")
        }
        Endpoint::External => format!("if it is this webhook's, {by_id}"),
    };
    let message = format!("subscription {id} has this webhook's URL, and may belong to another cluster: {next}");
    without_subscription(unregistered(observed), Finding::new(false, Reason::AwaitingProof, message), Vec::new())
}

/// Another webhook has a subscription with the same URL.
pub(super) fn url_conflict(observed: &Observed, other: &ObjectKey) -> Subscription {
    let message =
        format!("webhook {other} has a subscription with this URL: use a different URL, for example with another path");
    without_subscription(unregistered(observed), Finding::new(false, Reason::Conflict, message), Vec::new())
}

/// Another webhook owns the subscription with the id in this webhook's status or spec. The status loses the id, so that
/// this webhook's deletion does not delete the subscription.
pub(super) fn id_conflict(other: &ObjectKey) -> Subscription {
    let message = format!(
        "webhook {other} owns the subscription with this id: delete this webhook, or name another subscription"
    );
    without_subscription(None, Finding::new(false, Reason::Conflict, message), Vec::new())
}

/// The connection's token belongs to another account than the webhook's subscription.
pub(super) fn other_account(observed: &Observed, snapshot: &Snapshot) -> Subscription {
    let subscription =
        observed.subscription_id().map_or("the subscription".to_owned(), |id| format!("subscription {id}"));
    let account = |id: Option<&String>| id.map_or("another account".to_owned(), |id| format!("account {id}"));
    let (before, now) = (
        account(observed.status.account.as_ref().and_then(|account| account.id.as_ref())),
        account(snapshot.account.as_ref().map(|account| &account.id)),
    );
    let state = match &snapshot.account {
        Some(_) => format!("the connection's token belongs to {now}, but {subscription} is in {before}"),
        None => format!("the connection's token was changed, and {subscription} is not in its account"),
    };
    let message = format!(
        "{state}, where it may still be active: put a token of that account into the Secret again; or delete {subscription} there, and delete and recreate this webhook"
    );
    Subscription {
        status: observed.status.subscription.clone(),
        registered: Finding::new(false, Reason::AccountChanged, message),
        up_to_date: observed.carry_over(ConditionType::UpToDate),
        enabled: observed.carry_over(ConditionType::SubscriptionEnabled),
        at_risk: journal::last_reported(observed),
        steps: Vec::new(),
    }
}

/// The status without an earlier subscription or intent: the subscription with the URL is not this webhook's.
fn unregistered(observed: &Observed) -> Option<SubscriptionStatus> {
    let begun = observed.status.subscription.as_ref()?.registration_time.clone()?;
    Some(subscription_record::absent(Some(begun)))
}
