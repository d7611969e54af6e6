//! A glance at a webhook: whether it is still at rest. Costs one request to its receiver, and now and then a probe; a look
//! costs half a dozen requests to the API server besides.

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

/// What a glance came to.
#[derive(Debug)]
pub enum Glance {
    /// A look would find all as the last one left it. When to look again.
    AtRest(Duration),
    /// A look is needed, which need not ask again for this.
    Look(Box<Told>),
}

/// Glances at the webhook, which its watch shows like this.
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
    leads_to_the_same(context, entry, told).await.then(|| SETTLED.min(rest.left(now)))
}

/// Somebody's own receiver says nothing.
async fn receiver_says_the_same(context: &Context, rest: &Rest, told: &mut Told) -> bool {
    let Some(receiver) = &rest.receiver else { return true };
    let status = context.receivers.client.status(receiver.address, &receiver.admin_token).await;
    let same = status.as_ref().is_some_and(|status| receiver.says_the_same(status));
    told.receiver = Some((receiver.address, receiver.admin_token.clone(), status));
    same
}

/// Probes the public URL, which is the one in the status of a webhook at rest, again if the last probe is too old to be
/// believed: whether it finds the same.
async fn leads_to_the_same(context: &Context, entry: &IndexEntry, told: &mut Told) -> bool {
    let (webhook, now) = (&*entry.key, clock::now());
    let Some(url) = entry.url.as_deref() else { return false };
    let before = match context.states.with(webhook, |state| state.probe_due(url, now)) {
        Some(ProbeDue::Again(before)) => before,
        Some(ProbeDue::No) => return true,
        Some(ProbeDue::Elsewhere) | None => return false,
    };
    // Most glances need no probe, and so no more than the text.
    let Ok(url) = Url::parse(url) else { return false };
    let result = context.receivers.prober.probe(&url).await;
    let same = result == before;
    context.states.with(webhook, |state| state.probed(&url, result.clone(), same, now));
    told.probe = Some((url, result));
    same
}
