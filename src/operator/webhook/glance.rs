//! A glance at a webhook: whether it is still at rest. Costs one request to its receiver, and now and then a probe; a look
//! costs half a dozen requests to the API server besides.

use std::{net::IpAddr, time::Duration};

use url::Url;

use super::{
    decide::SETTLED,
    observe,
    observed::ProbeResult,
    rest::{Rest, Surroundings},
    state::ProbeDue,
};
use crate::{
    clock,
    linktree::secret::Secret,
    operator::{context::Context, watch::index::Member},
    route::status::ReceiverStatus,
};

/// What a glance came to.
#[derive(Debug)]
pub enum Glance {
    /// A look would find all as the last one left it. When to look again.
    AtRest(Duration),
    /// A look is needed, which need not ask again for this.
    Look(Box<Told>),
}

/// What others told during a glance.
#[derive(Debug, Default)]
pub struct Told {
    receiver: Option<(IpAddr, Secret, Option<ReceiverStatus>)>,
    probe: Option<(Url, ProbeResult)>,
}

impl Told {
    /// What the receiver at this address said to whoever holds this token, nothing included; `None` if it was not asked.
    pub fn by_receiver(&self, address: IpAddr, admin_token: &Secret) -> Option<&Option<ReceiverStatus>> {
        let (asked, with, status) = self.receiver.as_ref()?;
        (*asked == address && with == admin_token).then_some(status)
    }

    /// What a probe of this url found.
    pub fn by_probe(&self, url: &Url) -> Option<&ProbeResult> {
        self.probe.as_ref().filter(|(probed, _)| probed == url).map(|(_, result)| result)
    }
}

/// Glances at the webhook, which its watch shows like this.
pub async fn at(context: &Context, webhook: &Member) -> Glance {
    let mut told = Told::default();
    match rests(context, webhook, &mut told).await {
        Some(next) => Glance::AtRest(next),
        None => Glance::Look(Box::new(told)),
    }
}

async fn rests(context: &Context, member: &Member, told: &mut Told) -> Option<Duration> {
    let webhook = &*member.key;
    let rest = context.with_memory(webhook, |memory| memory.rest()).flatten()?;
    let now = clock::now();
    let surroundings = Surroundings {
        version: member.version,
        subscription: member.subscription.clone(),
        objects_unchanged: context.seen.all_as_read(webhook, now),
        connection: observe::connection(context, &(webhook.0.clone(), member.connection.clone())),
        now,
    };
    if !rest.lasts(&surroundings) || !receiver_says_the_same(context, &rest, told).await {
        return None;
    }
    if let Some(newer) = rest.seen_in(&surroundings.connection) {
        context.with_memory(webhook, |memory| memory.rests(Some(newer)));
    }
    leads_to_the_same(context, member, told).await.then(|| SETTLED.min(rest.left(now)))
}

/// Somebody's own receiver says nothing.
async fn receiver_says_the_same(context: &Context, rest: &Rest, told: &mut Told) -> bool {
    let Some(receiver) = &rest.receiver else { return true };
    let status = context.shared.receivers.status(receiver.address, &receiver.admin_token).await;
    let same = status.as_ref().is_some_and(|status| receiver.says_the_same(status));
    told.receiver = Some((receiver.address, receiver.admin_token.clone(), status));
    same
}

/// Probes the public URL, which is the one in the status of a webhook at rest, again if the last probe is too old to be
/// believed: whether it finds the same.
async fn leads_to_the_same(context: &Context, member: &Member, told: &mut Told) -> bool {
    let (webhook, now) = (&*member.key, clock::now());
    let Some(url) = member.url.as_deref() else { return false };
    let before = match context.with_memory(webhook, |memory| memory.probe_due(url, now)) {
        Some(ProbeDue::Again(before)) => before,
        Some(ProbeDue::No) => return true,
        Some(ProbeDue::Elsewhere) | None => return false,
    };
    // Most glances need no probe, and so no more than the text.
    let Ok(url) = Url::parse(url) else { return false };
    let result = context.shared.prober.probe(&url).await;
    let same = result == before;
    context.with_memory(webhook, |memory| memory.probed(&url, result.clone(), same, now));
    told.probe = Some((url, result));
    same
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn what_was_told_counts_only_for_who_was_asked() {
        let (token, other) = (Secret::new("admin"), Secret::new("another"));
        let (url, elsewhere) = (Url::parse("https://a/").unwrap(), Url::parse("https://b/").unwrap());
        let result = ProbeResult::Unexpected { problem: String::new() };
        let told = Told { receiver: Some((HERE, token.clone(), None)), probe: Some((url.clone(), result.clone())) };
        assert_eq!(told.by_receiver(HERE, &token), Some(&None), "that it does not answer is an answer");
        assert_eq!(told.by_receiver(HERE, &other), None);
        assert_eq!(told.by_receiver([127, 0, 0, 2].into(), &token), None);
        assert_eq!((told.by_probe(&url), told.by_probe(&elsewhere)), (Some(&result), None));
        assert_eq!(Told::default().by_receiver(HERE, &token), None, "nobody was asked");
    }
}
