//! The claims of the journals' volumes. They have no owner and outlive their webhook by an hour, so that a webhook that
//! is recreated or restored within it takes its journal up again.
//!
//! Sweeps find the claims by their labels and not by their webhooks: a webhook may go without its finalizer, or while no
//! operator runs.

use std::{collections::HashSet, time::Duration};

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;

use self::{
    claim::JournalClaim,
    counted::Counted,
    decide::{Action, Terms, User},
    mark::Mark,
};
use super::{context::Context, render::metadata::RECEIVER};
use crate::{
    api::webhook::LinktreeWebhook,
    clock,
    operator::kubernetes::{
        metadata::MetadataOf,
        names::{self, MANAGED_BY},
    },
};

mod claim;
mod counted;
mod decide;
mod mark;

/// Maximum and minimum interval between two sweeps. It is a sixtieth of the time that claims are kept.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_secs(60);
const SWEEP_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Delay of a sweep after a webhook has appeared or is gone, in which more of them may.
const SETTLE: Duration = Duration::from_secs(2);
/// Timeout of one sweep. The next one continues.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(300);
/// Number of claims per page of the list.
const PAGE_SIZE: u32 = 100;
/// Maximum number of pages that one sweep reads, and of claims whose users it reads.
const PAGES_MAX: usize = 500;
const DUE_MAX: usize = 1000;

/// The claims of one scope.
pub struct JournalClaims<'a> {
    pub context: &'a Context,
    pub claims: Api<MetadataOf<PersistentVolumeClaim>>,
    /// Time that a claim outlives its webhook.
    pub keep: Duration,
}

impl JournalClaims<'_> {
    /// Sweeps the claims; never completes. The caches must be synced, and this process must lead.
    pub async fn sweep(&self) {
        let interval = (self.keep / 60).clamp(SWEEP_INTERVAL_MIN, SWEEP_INTERVAL_MAX);
        let mut counted = Counted::default();
        let mut failed = false;
        loop {
            failed = match tokio::time::timeout(SWEEP_TIMEOUT, self.sweep_once(&mut counted)).await {
                Ok(Ok(())) => false,
                Ok(Err(error)) => {
                    if !failed {
                        tracing::warn!(%error, "sweep of journal claims failed, retrying");
                    }
                    true
                }
                Err(_) => {
                    tracing::warn!("sweep of journal claims timed out, continuing");
                    true
                }
            };
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = self.context.states.changed() => tokio::time::sleep(SETTLE).await,
            }
        }
    }

    /// Changes each claim that needs it. A failure of one claim does not stop the sweep; the first is returned at its
    /// end.
    async fn sweep_once(&self, counted: &mut Counted) -> Result<(), kube::Error> {
        let terms = Terms { keep: self.keep };
        let labels = format!("app.kubernetes.io/name={RECEIVER},app.kubernetes.io/managed-by={MANAGED_BY}");
        let mut page = ListParams::default().labels(&labels).limit(PAGE_SIZE);
        let (mut seen, mut due, mut result) = (HashSet::new(), 0, Ok(()));
        for _ in 0..PAGES_MAX {
            let list = self.claims.list(&page).await?;
            for claim in list.items.iter().filter_map(|claim| JournalClaim::of(claim.meta())) {
                let has_webhook = self.context.index.has(&claim.webhook);
                let now = clock::steady();
                let time = if claim.mark.is_some() { counted.of(&claim.uid, now) } else { Duration::ZERO };
                seen.insert(claim.uid.clone());
                if due < DUE_MAX && terms.is_due(&claim, has_webhook, time) {
                    due += 1;
                    let settled = self.settle(&claim, has_webhook, time).await;
                    if settled.is_ok() {
                        counted.begin(&claim.uid, now);
                    }
                    result = result.and(settled);
                }
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => {
                    counted.retain(&seen);
                    return result;
                }
            }
        }
        result
    }

    /// Makes the change that a claim needs, unless the claim has changed meanwhile.
    async fn settle(&self, claim: &JournalClaim, has_webhook: bool, counted: Duration) -> Result<(), kube::Error> {
        let user = if has_webhook { Some(User::Webhook) } else { self.user(claim).await? };
        let terms = Terms { keep: self.keep };
        let Some(action) = terms.decide(claim, user, counted, clock::now()) else { return Ok(()) };
        let namespace = &claim.webhook.namespace;
        let changed = match action {
            Action::Keep => self.annotate(claim, Mark::removed()).await,
            Action::Mark(mark) => self.annotate(claim, mark.annotations()).await,
            Action::Delete => self.delete(claim).await,
        };
        match changed {
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(()),
            Ok(()) => {
                tracing::info!(namespace, claim = claim.name, ?action, "journal claim changed");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The object that uses a claim whose webhook the index lacks. It is read from the API server, since the index may
    /// lag behind.
    async fn user(&self, claim: &JournalClaim) -> Result<Option<User>, kube::Error> {
        let (client, namespace) = (&self.context.cluster.client, &claim.webhook.namespace);
        let webhooks: Api<MetadataOf<LinktreeWebhook>> = Api::namespaced(client.clone(), namespace);
        if webhooks.get_opt(&claim.webhook.name).await?.is_some() {
            return Ok(Some(User::Webhook));
        }
        let sets: Api<MetadataOf<StatefulSet>> = Api::namespaced(client.clone(), namespace);
        let set = sets.get_opt(&names::receiver(&claim.webhook.name)).await?;
        Ok(set.map(|_| User::StatefulSet))
    }

    async fn annotate(&self, claim: &JournalClaim, annotations: serde_json::Value) -> Result<(), kube::Error> {
        let JournalClaim { uid, resource_version, .. } = claim;
        let mut patch =
            json!({"metadata": {"uid": uid, "resourceVersion": resource_version, "annotations": annotations}});
        if let Some(owners) = &claim.disowned {
            patch["metadata"]["ownerReferences"] = json!(owners);
        }
        let manager = self.context.cluster.manager.as_str().to_owned();
        let params = PatchParams { field_manager: Some(manager), ..PatchParams::default() };
        self.api(claim).patch(&claim.name, &params, &Patch::Merge(patch)).await.map(drop)
    }

    async fn delete(&self, claim: &JournalClaim) -> Result<(), kube::Error> {
        let preconditions =
            Preconditions { uid: Some(claim.uid.clone()), resource_version: Some(claim.resource_version.clone()) };
        let only = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        self.api(claim).delete(&claim.name, &only).await.map(drop)
    }

    fn api(&self, claim: &JournalClaim) -> Api<MetadataOf<PersistentVolumeClaim>> {
        Api::namespaced(self.context.cluster.client.clone(), &claim.webhook.namespace)
    }
}
