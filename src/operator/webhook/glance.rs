//! A glance at a webhook: whether it is still at rest. Costs one request to its receiver, and now and then a probe; a look
//! costs half a dozen requests to the API server besides.

use std::time::Duration;

use super::{
    decide::SETTLED,
    observe,
    rest::{Rest, Surroundings},
};
use crate::{
    clock,
    operator::{context::Context, key::Key, seen::Version},
};

/// Whether a look at the webhook, which its watch shows at this version, would find all as the last one left it: then when
/// to look again.
pub async fn at_rest(context: &Context, webhook: &Key, version: Version) -> Option<Duration> {
    let rest = context.with_memory(webhook, |memory| memory.rest()).flatten()?;
    let now = clock::now();
    let surroundings = Surroundings {
        version,
        objects_unchanged: context.seen.all_as_read(webhook, now),
        connection: observe::connection(context, &rest.connection),
        now,
    };
    if !rest.lasts(&surroundings) || !receiver_says_the_same(context, &rest).await {
        return None;
    }
    if let Some(newer) = rest.seen_in(&surroundings.connection) {
        context.with_memory(webhook, |memory| memory.rests(Some(newer)));
    }
    leads_to_the_same(context, webhook).await.then(|| SETTLED.min(rest.left(now)))
}

/// Somebody's own receiver says nothing.
async fn receiver_says_the_same(context: &Context, rest: &Rest) -> bool {
    let Some(receiver) = &rest.receiver else { return true };
    let status = context.shared.receivers.status(receiver.address, &receiver.admin_token).await;
    status.is_some_and(|status| receiver.says_the_same(&status))
}

/// Probes the public URL again if the last probe is too old to be believed: whether it finds the same.
async fn leads_to_the_same(context: &Context, webhook: &Key) -> bool {
    let now = clock::now();
    let Some((url, before)) = context.with_memory(webhook, |memory| memory.probe_due(now)).flatten() else {
        return true;
    };
    let result = context.shared.prober.probe(&url).await;
    let same = result == before;
    context.with_memory(webhook, |memory| memory.probed(url, result, same, now));
    same
}
