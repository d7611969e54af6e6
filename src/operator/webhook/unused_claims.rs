//! Deletes the claim of a journal once its webhook has been gone for some time. The claim has no owner reference: with
//! the uid of a webhook that was restored or re-created, Kubernetes would delete the journal.
//!
//! The time is counted by this process from when it first finds the claim without its webhook, on the monotonic clock:
//! neither a restart nor a clock that is set deletes a journal too early.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, Preconditions},
    core::NamespaceResourceScope,
};

use super::render::metadata::journal_claim_of;
use crate::{
    api::webhook::LinktreeWebhook,
    clock,
    operator::{
        kubernetes::{metadata::MetadataOf, names, object_key::ObjectKey},
        watch::index::WebhookIndex,
    },
};

/// The size of a page of claims.
const PAGE: u32 = 500;
/// Claims are listed this many times while one is kept, at most once a second.
const LISTS: u32 = 12;
const PERIOD_MIN: Duration = Duration::from_secs(1);

/// A claim whose webhook does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Unused {
    webhook: ObjectKey,
    claim: String,
    uid: String,
}

/// Since when each unused claim has been seen.
#[derive(Debug, Default)]
struct Seen(HashMap<Unused, Instant>);

impl Seen {
    /// Records the unused claims that a list found. Returns those that were found `keep` ago, and in each list since.
    fn record(&mut self, found: Vec<Unused>, keep: Duration, now: Instant) -> Vec<Unused> {
        let before = std::mem::take(&mut self.0);
        let since = |claim: Unused| {
            let since = before.get(&claim).copied().unwrap_or(now);
            (claim, since)
        };
        self.0 = found.into_iter().map(since).collect();
        let is_due = |since: Instant| now.saturating_duration_since(since) >= keep;
        self.0.iter().filter(|(_, since)| is_due(**since)).map(|(claim, _)| claim.clone()).collect()
    }
}

/// The claims of one scope.
pub struct UnusedClaims<'a> {
    pub client: &'a Client,
    /// `None`: all namespaces.
    pub namespace: Option<&'a str>,
    pub index: &'a WebhookIndex,
    /// How long a claim is kept without its webhook.
    pub keep: Duration,
}

impl UnusedClaims<'_> {
    /// Deletes unused claims; never completes. Call it once the scope is synced and this process leads.
    pub async fn delete(&self) {
        let mut seen = Seen::default();
        loop {
            tokio::time::sleep((self.keep / LISTS).max(PERIOD_MIN)).await;
            let due = match self.list().await {
                Ok(found) => seen.record(found, self.keep, clock::monotonic()),
                Err(error) => {
                    tracing::debug!(%error, "journal claims not listed");
                    continue;
                }
            };
            for unused in due {
                let (namespace, claim) = (unused.webhook.namespace.as_str(), unused.claim.as_str());
                match self.delete_one(&unused).await {
                    Ok(true) => tracing::info!(namespace, claim, "journal of a deleted webhook deleted"),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(namespace, claim, %error, "journal claim not deleted, retrying"),
                }
            }
        }
    }

    async fn list(&self) -> Result<Vec<Unused>, kube::Error> {
        let api: Api<MetadataOf<PersistentVolumeClaim>> = match self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let selector =
            format!("app.kubernetes.io/managed-by={},app.kubernetes.io/component=receiver", names::MANAGED_BY);
        let mut params = ListParams::default().labels(&selector).limit(PAGE);
        let mut unused = Vec::new();
        loop {
            let page = api.list(&params).await?;
            unused.extend(page.items.iter().filter_map(|claim| self.unused(claim)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(unused),
            }
        }
    }

    /// The claim, if it is one of a journal, and the scope has no webhook for it.
    fn unused(&self, claim: &MetadataOf<PersistentVolumeClaim>) -> Option<Unused> {
        let meta = claim.meta();
        let webhook = meta.labels.as_ref()?.get("app.kubernetes.io/instance")?;
        let (namespace, claim) = (meta.namespace.as_deref()?, meta.name.clone()?);
        let webhook = ObjectKey::new(namespace, webhook);
        let is_unused =
            meta.deletion_timestamp.is_none() && claim == journal_claim_of(&webhook.name) && !self.index.has(&webhook);
        let uid = meta.uid.clone()?;
        is_unused.then_some(Unused { webhook, claim, uid })
    }

    /// Deletes the claim unless its webhook exists, or its StatefulSet, which was then orphaned on purpose.
    async fn delete_one(&self, Unused { webhook, claim, uid }: &Unused) -> Result<bool, kube::Error> {
        let receiver = names::receiver(&webhook.name);
        if self.exists::<LinktreeWebhook>(webhook, &webhook.name).await?
            || self.exists::<StatefulSet>(webhook, &receiver).await?
        {
            return Ok(false);
        }
        let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let api: Api<MetadataOf<PersistentVolumeClaim>> = Api::namespaced(self.client.clone(), &webhook.namespace);
        match api.delete(claim, &params).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn exists<K>(&self, webhook: &ObjectKey, name: &str) -> Result<bool, kube::Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug,
    {
        let api: Api<MetadataOf<K>> = Api::namespaced(self.client.clone(), &webhook.namespace);
        Ok(api.get_opt(name).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_due_once_it_was_unused_in_each_list_for_long_enough() {
        let claim = |name: &str| Unused {
            webhook: ObjectKey::new("marketing", name),
            claim: journal_claim_of(name),
            uid: format!("uid-of-{name}"),
        };
        let (keep, start) = (Duration::from_secs(3600), clock::monotonic());
        let at = |minutes: u64| start + Duration::from_secs(minutes * 60);
        let mut seen = Seen::default();
        assert_eq!(seen.record(vec![claim("a"), claim("b")], keep, at(0)), []);
        assert_eq!(seen.record(vec![claim("a")], keep, at(30)), [], "the webhook b exists again");
        assert_eq!(seen.record(vec![claim("a"), claim("b")], keep, at(59)), []);
        assert_eq!(seen.record(vec![claim("a"), claim("b")], keep, at(60)), [claim("a")]);
        let other = Unused { uid: "another".into(), ..claim("a") };
        assert_eq!(seen.record(vec![other.clone(), claim("b")], keep, at(118)), [], "another claim of that name");
        assert_eq!(seen.record(vec![other, claim("b")], keep, at(119)), [claim("b")]);
        assert_eq!(seen.record(vec![], keep, at(400)), []);
        assert!(seen.0.is_empty());
    }
}
