//! Polls a settled webhook to decide whether it is still settled. A poll costs one request to the receiver and
//! sometimes a probe; a full reconciliation costs half a dozen requests to the API server as well.

use std::time::Duration;

use url::Url;

use super::{
    context::Context,
    observe,
    plan::SETTLED,
    rest::{Rest, Surroundings},
    state::ProbeDue,
    told::Told,
};
use crate::{
    clock,
    operator::{kubernetes::object_key::ObjectKey, watch::index::IndexEntry},
};

/// The result of a poll.
#[derive(Debug)]
pub enum Glance {
    /// The webhook is still settled. Contains the delay until the next poll.
    AtRest(Duration),
    /// The webhook must be reconciled in full. Contains the answers that the poll fetched, for reuse.
    Look(Box<Told>),
}

/// Polls one webhook, given its index entry.
pub async fn at(context: &Context, webhook: &IndexEntry) -> Glance {
    let mut told = Told::default();
    match rests(context, webhook, &mut told).await {
        Some(next) => Glance::AtRest(next),
        None => Glance::Look(Box::new(told)),
    }
}

async fn rests(context: &Context, entry: &IndexEntry, told: &mut Told) -> Option<Duration> {
    let webhook = &*entry.key;
    let rest = context.states.with(webhook, |state| state.rest()).flatten()?;
    let now = clock::now();
    let surroundings = Surroundings {
        version: entry.version,
        subscription: entry.subscription.clone(),
        objects_unchanged: context.versions.all_current(webhook, now),
        connection: observe::connection(context, &ObjectKey::new(&webhook.namespace, &entry.connection)),
        now,
    };
    if !rest.lasts(&surroundings) || !receiver_says_the_same(context, &rest, told).await {
        return None;
    }
    if let Some(newer) = rest.seen_in(&surroundings.connection) {
        context.states.with(webhook, |state| state.rests(Some(newer)));
    }
    leads_to_the_same(context, entry, &rest, told).await.then(|| SETTLED.min(rest.left(now)))
}

/// Whether the receiver reports the same status as when the webhook was settled. An external receiver is not polled.
async fn receiver_says_the_same(context: &Context, rest: &Rest, told: &mut Told) -> bool {
    let Some(receiver) = &rest.receiver else { return true };
    let status = context.receivers.client.status(receiver.address, &receiver.admin_token).await;
    let same = status.as_ref().is_some_and(|status| receiver.says_the_same(status));
    told.receiver = Some((receiver.address, receiver.admin_token.clone(), status));
    same
}

/// Whether a probe of the URL in the webhook's status has the same result as the last one. Probes only if that result
/// has expired.
async fn leads_to_the_same(context: &Context, entry: &IndexEntry, rest: &Rest, told: &mut Told) -> bool {
    let (webhook, now) = (&*entry.key, clock::now());
    let Some(url) = entry.url.as_deref() else { return false };
    let before = match context.states.with(webhook, |state| state.probe_due(url, now)) {
        Some(ProbeDue::Again(before)) => before,
        Some(ProbeDue::No) => return true,
        Some(ProbeDue::OtherUrl) | None => return false,
    };
    // Parsed late, since most polls end before they need the URL.
    let Ok(url) = Url::parse(url) else { return false };
    let challenge = rest.receiver.as_ref().map(|receiver| &receiver.challenge);
    let result = context.receivers.prober.probe(&url, challenge).await;
    let same = result == before;
    context.states.with(webhook, |state| state.probed(&url, result.clone(), same, now));
    told.probe = Some((url, result));
    same
}
