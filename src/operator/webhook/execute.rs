//! Performs the steps of a plan in order. Apart from the status write, no other stage of a reconciliation changes
//! anything in the cluster or at Linktree.
//!
//! A failed step skips the remaining steps of its side ([`Side`]). The outcome contains the failure; it is not an error
//! of the reconciliation, so that the status is written in any case.

use std::{collections::BTreeSet, fmt::Debug, net::IpAddr, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{Pod, Secret as KubernetesSecret, Service, ServiceAccount},
        networking::v1::{Ingress, NetworkPolicy},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    runtime::events::EventType,
};
use serde_json::json;

use super::{
    account_identity,
    context::{Cluster, Connections},
    observed::{Child, Part, StaleObject},
    outcome::{Begun, Failure, Outcome},
    plan::{HandledRedrive, Step},
    receiver_client::{Receivers, Redriven},
    render::{Rendered, exposure::ExposureObject},
    spec::Spec,
    subscription_record::registering,
};
use crate::{
    api::{condition::ConditionType, webhook::LinktreeWebhook, webhook_status::SubscriptionAccount},
    clock,
    linktree::{
        client::Linktree,
        error::ApiError,
        wire::{CreateSubscription, Subscription, SubscriptionId, SubscriptionStatus, UpdateSubscription},
    },
    operator::{
        account::{Account, rate_limited_client::RateLimitedClient, request_queue::Priority},
        kubernetes::{
            annotations::ROUTE_DIGEST_ANNOTATION,
            apply::{self, Desired, live::LiveObject, memory::Applied},
            gateway::HTTPRoute,
            guarded::{Guarded, GuardedApi, Parsed},
            names::FINALIZER,
            object_key::ObjectKey,
        },
    },
    route::redrive::RedriveRequest,
};

mod secret;

/// The clients and objects with which the steps of one webhook are performed.
pub struct Executor<'a> {
    pub cluster: &'a Cluster,
    pub connections: &'a Connections,
    pub receivers: &'a dyn Receivers,
    pub webhook: &'a LinktreeWebhook,
    /// The parsed and the rendered spec; `None` for a deletion, whose steps do not need them since the spec may be
    /// invalid.
    pub spec: Option<(&'a Spec, &'a Rendered)>,
    pub account: Option<Arc<Account>>,
}

/// A group of steps: when one fails, the others of its group are skipped, but not those of other groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Kubernetes,
    /// The Ingress or HTTPRoute. An admission webhook may reject it, which must not stop the other steps.
    Exposure,
    Receiver,
    Linktree,
}

/// The error of one step.
enum StepError {
    Kubernetes(kube::Error),
    Exposure(kube::Error),
    /// The receiver has not handled a request to send dead letters again.
    Redrive(String),
    Linktree(ConditionType, ApiError),
    /// The Secret for a secret from Linktree is not ours.
    SecretNotOurs {
        problem: String,
        created: bool,
    },
    /// A secret from Linktree, or the placeholder of the dry run, could not be stored. `created`: Linktree created it.
    SecretNotStored {
        error: kube::Error,
        created: bool,
    },
}

impl From<kube::Error> for StepError {
    fn from(error: kube::Error) -> Self {
        StepError::Kubernetes(error)
    }
}

impl Executor<'_> {
    /// Performs the steps in order and returns their results.
    pub async fn execute(&self, steps: &[Step]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut failed: Vec<Side> = Vec::new();
        for step in steps.iter() {
            let side = side(step);
            if outcome.outdated {
                break;
            }
            if failed.contains(&side) {
                continue;
            }
            match self.perform(step, &mut outcome).await {
                Ok(()) => outcome.performed += 1,
                Err(error) => {
                    failed.push(side);
                    if *step == Step::AddFinalizer {
                        // Without the finalizer, a deletion of the webhook would leave its subscription behind: send
                        // nothing to Linktree.
                        failed.push(Side::Linktree);
                    }
                    outcome.failures.push(self.failure(error));
                }
            }
        }
        outcome
    }

    async fn perform(&self, step: &Step, outcome: &mut Outcome) -> Result<(), StepError> {
        match step {
            Step::AddFinalizer => {
                let added = self.set_finalizers(|finalizers| finalizers.push(FINALIZER.to_owned())).await?;
                outcome.written = Some(Box::new(added));
            }
            Step::Apply(child, onto) => self.apply(*child, onto.as_deref(), outcome).await?,
            Step::Remove(stale) => self.remove(stale).await.map_err(StepError::Exposure)?,
            Step::RefreshPodMount { pod } => self.refresh_pod_mount(pod).await?,
            Step::Redrive { address, request } => self.redrive(*address, request, outcome).await?,
            Step::RequestList => self.request_list(),
            Step::RecordRegistration { at, creation } => {
                // The slot comes first: a recorded registration that is then not sent would make another list of the
                // account necessary.
                self.acquire_slot(creation.priority(), ConditionType::Registered)?;
                self.record_registration(*at, outcome).await?;
            }
            Step::Register { creation } => self.register(*creation, outcome).await?,
            Step::Adopt { id } => {
                self.publish(
                    EventType::Normal,
                    "Adopted",
                    format!("adopted subscription {id}, which has this webhook's URL"),
                )
                .await;
            }
            Step::DryRunSecretWrite => self.dry_run_secret_write().await?,
            Step::RotateSecret { id, keep_previous, request } => {
                self.rotate_secret(id, *keep_previous, request.as_ref(), outcome).await?;
            }
            Step::Update { id, change } => self.update(id, change, outcome).await?,
            Step::Reenable { id } => self.reenable(id, outcome).await?,
            Step::Unsubscribe { id } => self.unsubscribe(id).await?,
            Step::RemoveFinalizer { orphan } => self.remove_finalizer(orphan.as_deref(), outcome).await?,
        }
        Ok(())
    }

    /// Acquires the slot for the next request to Linktree. If it is throttled, the error is reported on
    /// `condition_type`.
    fn acquire_slot(&self, priority: Priority, condition_type: ConditionType) -> Result<(), StepError> {
        let Some(account) = &self.account else { return Ok(()) };
        account
            .acquire_slot(priority, &ObjectKey::of(self.webhook))
            .map_err(|error| StepError::Linktree(condition_type, error))
    }

    fn failure(&self, error: StepError) -> Failure {
        match error {
            StepError::Kubernetes(error) => Failure::Kubernetes { problem: error.to_string() },
            StepError::Exposure(error) => Failure::Exposure { problem: error.to_string() },
            StepError::Redrive(problem) => Failure::Redrive { problem },
            StepError::SecretNotOurs { problem, created } => Failure::SecretNotOurs { problem, created },
            StepError::SecretNotStored { error, created } => {
                Failure::SecretNotStored { problem: error.to_string(), created }
            }
            StepError::Linktree(condition_type, error) => {
                // The request may have taken effect, or its error shows that the last list is out of date.
                if error.may_have_taken_effect() || matches!(error, ApiError::Conflict { .. } | ApiError::NotFound) {
                    self.request_list();
                }
                Failure::Linktree { condition_type, error }
            }
        }
    }

    async fn apply(&self, child: Child, onto: Option<&str>, outcome: &mut Outcome) -> Result<(), StepError> {
        let Some((_, rendered)) = self.spec else { return Ok(()) };
        let children = &rendered.children;
        let applied = match child {
            Child::Exposure => self.expose(children.exposure.as_ref(), onto).await.map_err(StepError::Exposure)?,
            Child::ServiceAccount => self.apply_as::<ServiceAccount>(&children.service_account, onto).await?,
            Child::Service => self.apply_as::<Service>(&children.service, onto).await?,
            Child::NetworkPolicy => self.apply_as::<NetworkPolicy>(&children.network_policy, onto).await?,
            Child::RouteSecret => self.apply_as::<KubernetesSecret>(&rendered.route_secret, onto).await?,
            Child::StatefulSet => self.apply_as::<StatefulSet>(&children.stateful_set, onto).await?,
        };
        outcome.applied.extend(applied.map(|applied| (child, applied)));
        Ok(())
    }

    async fn expose(
        &self,
        object: Option<&ExposureObject>,
        onto: Option<&str>,
    ) -> Result<Option<Applied>, kube::Error> {
        match object {
            None => Ok(None),
            Some(ExposureObject::Ingress(ingress)) => self.apply_as::<Ingress>(ingress, onto).await,
            Some(ExposureObject::HttpRoute(route)) => self.apply_as::<HTTPRoute>(route, onto).await,
        }
    }

    async fn apply_as<K>(&self, desired: &Desired, onto: Option<&str>) -> Result<Option<Applied>, kube::Error>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug,
    {
        desired.apply(&self.live_api::<K>(), onto, &self.cluster.manager).await
    }

    /// Deletes the object with the observed UID, but not a later object with the same name.
    async fn remove(&self, stale: &StaleObject) -> Result<(), kube::Error> {
        let Some((spec, _)) = self.spec else { return Ok(()) };
        let (name, StaleObject { part, uid }) = (spec.receiver_name(), stale);
        let only = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        let removed = match part {
            Part::Ingress => self.api::<Ingress>().delete(&name, &only).await.map(drop),
            Part::HttpRoute => self.api::<HTTPRoute>().delete(&name, &only).await.map(drop),
            Part::StatefulSet => self.api::<StatefulSet>().delete(&name, &only).await.map(drop),
            Part::Service => self.api::<Service>().delete(&name, &only).await.map(drop),
            Part::NetworkPolicy => self.api::<NetworkPolicy>().delete(&name, &only).await.map(drop),
            Part::ServiceAccount => self.api::<ServiceAccount>().delete(&name, &only).await.map(drop),
            Part::RouteSecret => {
                self.api::<KubernetesSecret>().delete(&spec.route_secret_name(), &only).await.map(drop)
            }
        };
        match removed {
            // The object is deleted already.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            removed => removed,
        }
    }

    async fn refresh_pod_mount(&self, pod: &str) -> Result<(), kube::Error> {
        let Some((_, rendered)) = self.spec else { return Ok(()) };
        let patch = json!({"metadata": {"annotations": {ROUTE_DIGEST_ANNOTATION: rendered.route_digest}}});
        self.api::<Pod>().patch(pod, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }

    async fn redrive(&self, address: IpAddr, request: &RedriveRequest, outcome: &mut Outcome) -> Result<(), StepError> {
        let Some((_, rendered)) = self.spec else { return Ok(()) };
        let result = match self.receivers.redrive(address, &rendered.admin_token, request).await {
            Redriven::Accepted { matched } => Ok(matched),
            Redriven::Rejected { problem } => Err(problem),
            Redriven::Unavailable { problem } => return Err(StepError::Redrive(problem)),
        };
        outcome.redriven = Some(HandledRedrive { request: request.id.clone(), result });
        Ok(())
    }

    /// Requests a list of the account ahead of its sync period, and enqueues the connection that makes it.
    fn request_list(&self) {
        let Some(account) = &self.account else { return };
        account.request_relist(self.subscription());
        self.connections.request_reconcile(&ObjectKey::connection_of(self.webhook));
    }

    /// The subscription in the webhook's status: id and URL.
    fn subscription(&self) -> Option<(SubscriptionId, String)> {
        let status = self.webhook.status.as_ref()?;
        Some((SubscriptionId(status.subscription.as_ref()?.id.clone()?), status.address.as_ref()?.url.clone()))
    }

    /// Records in the status that a registration starts, only if the webhook still has the observed resourceVersion: if
    /// another operator has recorded this meanwhile, the other one registers.
    async fn record_registration(&self, at: Timestamp, outcome: &mut Outcome) -> Result<(), kube::Error> {
        let current = outcome.left(self.webhook);
        let mut status = current.status.clone().unwrap_or_default();
        status.subscription = Some(registering(Some(Time(at))));
        status.account = self.account_of_subscriptions();
        match apply::apply_status_as_seen(&self.api(), current, &status, self.cluster.manager.as_str()).await {
            Ok(recorded) => {
                outcome.begun = Some(Begun { at, account: status.account, is_void: false });
                outcome.written = Some(Box::new(recorded));
            }
            Err(kube::Error::Api(rejection)) if rejection.is_conflict() => outcome.outdated = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The account that the webhook's subscription is created in.
    fn account_of_subscriptions(&self) -> Option<SubscriptionAccount> {
        let token = self.connections.accounts.token_digest(&ObjectKey::connection_of(self.webhook))?;
        Some(account_identity::of(&*self.account.as_ref()?.snapshot()?, &token))
    }

    async fn update(
        &self,
        id: &SubscriptionId,
        change: &UpdateSubscription,
        outcome: &mut Outcome,
    ) -> Result<(), StepError> {
        if !self.patch(id, change, ConditionType::UpToDate).await? {
            return Ok(());
        }
        outcome.updated = true;
        if self.has_taken_effect(id, change) {
            self.publish(EventType::Normal, "DriftCorrected", format!("updated subscription {id} to match the spec"))
                .await;
        }
        Ok(())
    }

    /// Whether the subscription, as the response to an update describes it, has the requested values.
    fn has_taken_effect(&self, id: &SubscriptionId, change: &UpdateSubscription) -> bool {
        let snapshot = self.account.as_ref().and_then(|account| account.snapshot());
        let known = snapshot.as_ref().and_then(|snapshot| snapshot.subscriptions.iter().find(|known| known.id == *id));
        let Some(known) = known else { return true };
        change.url.as_ref().is_none_or(|url| *url == known.url)
            && change.events.as_ref().is_none_or(|wanted| is_same_set(wanted, &known.events))
    }

    async fn reenable(&self, id: &SubscriptionId, outcome: &mut Outcome) -> Result<(), StepError> {
        self.acquire_slot(Priority::Reenable, ConditionType::SubscriptionEnabled)?;
        // Counted as failed before the request is sent, so that an attempt whose response is lost counts, too.
        outcome.recovery = Some(false);
        let change = UpdateSubscription { status: Some(SubscriptionStatus::Active), ..UpdateSubscription::default() };
        if !self.patch(id, &change, ConditionType::SubscriptionEnabled).await? {
            // Linktree's API cannot re-enable, which is no failed attempt: the alternative needs no cooldown.
            outcome.recovery = None;
        } else {
            outcome.recovery = Some(true);
            self.publish(
                EventType::Normal,
                "Reenabled",
                format!("re-enabled subscription {id}: its receiver is healthy"),
            )
            .await;
        }
        Ok(())
    }

    /// Updates the subscription at Linktree; `false` if its API does not support updates.
    async fn patch(
        &self,
        id: &SubscriptionId,
        change: &UpdateSubscription,
        condition_type: ConditionType,
    ) -> Result<bool, StepError> {
        let Some(account) = &self.account else { return Ok(false) };
        match RateLimitedClient::new(account, &ObjectKey::of(self.webhook)).update(id, change).await {
            Ok(answer) => {
                account.record_subscription(updated(answer, id, change, account), clock::now());
                Ok(true)
            }
            // The account has recorded that the call is unsupported; the next plan uses an alternative.
            Err(ApiError::Unsupported { .. }) => Ok(false),
            Err(error) => Err(StepError::Linktree(condition_type, error)),
        }
    }

    async fn unsubscribe(&self, id: &SubscriptionId) -> Result<(), StepError> {
        let Some(account) = &self.account else { return Ok(()) };
        let linktree = RateLimitedClient::new(account, &ObjectKey::of(self.webhook));
        let deleted = match linktree.delete(id).await {
            // A GET must confirm the 404: a wrong one would leave the subscription behind permanently.
            Err(ApiError::NotFound) => is_absent(&linktree, id).await,
            deleted => deleted,
        };
        deleted.map_err(|error| {
            // An unsupported DELETE only prevents recreating a disabled subscription, so the registration does not
            // report it.
            let unsupported = matches!(error, ApiError::Unsupported { .. });
            let condition_type =
                if unsupported { ConditionType::SubscriptionEnabled } else { ConditionType::Registered };
            StepError::Linktree(condition_type, error)
        })?;
        account.record_deletion(id, clock::now());
        self.connections.request_reconcile(&ObjectKey::connection_of(self.webhook));
        self.publish(EventType::Normal, "SubscriptionDeleted", format!("deleted subscription {id} at Linktree")).await;
        Ok(())
    }

    async fn remove_finalizer(&self, orphan: Option<&str>, outcome: &mut Outcome) -> Result<(), kube::Error> {
        if let Some(orphan) = orphan {
            let note = format!(
                "subscription {orphan} may be left at Linktree because it could not be deleted: delete it in the dashboard"
            );
            self.publish(EventType::Warning, "OrphanReleased", note).await;
        }
        self.set_finalizers(|finalizers| finalizers.retain(|finalizer| finalizer != FINALIZER)).await?;
        outcome.released = true;
        Ok(())
    }

    /// Edits the finalizers of the webhook at its observed resourceVersion. If the webhook has changed, the write is a
    /// conflict, and the next reconciliation decides again.
    async fn set_finalizers(&self, edit: impl FnOnce(&mut Vec<String>)) -> Result<LinktreeWebhook, kube::Error> {
        let mut finalizers = self.webhook.finalizers().to_vec();
        edit(&mut finalizers);
        let patch = json!({"metadata": {"resourceVersion": self.webhook.resource_version(), "finalizers": finalizers}});
        let name = self.webhook.name_any();
        let written = self.api::<LinktreeWebhook>().patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        written.map(Guarded::into_inner)
    }

    async fn publish(&self, type_: EventType, reason: &str, note: String) {
        self.cluster.events.publish(self.webhook, type_, reason, note).await;
    }

    fn live_api<K>(&self) -> Api<LiveObject<K>>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.client.clone(), &self.webhook.namespace().unwrap_or_default())
    }

    fn api<K>(&self) -> GuardedApi<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Parsed,
    {
        GuardedApi::namespaced(self.cluster.client.clone(), &self.webhook.namespace().unwrap_or_default())
    }
}

fn side(step: &Step) -> Side {
    match step {
        Step::Apply(Child::Exposure, _) | Step::Remove(_) => Side::Exposure,
        Step::AddFinalizer | Step::Apply(..) | Step::RefreshPodMount { .. } => Side::Kubernetes,
        Step::Redrive { .. } => Side::Receiver,
        Step::RequestList
        | Step::DryRunSecretWrite
        | Step::RecordRegistration { .. }
        | Step::Register { .. }
        | Step::Adopt { .. }
        | Step::RotateSecret { .. }
        | Step::Update { .. }
        | Step::Reenable { .. }
        | Step::Unsubscribe { .. }
        | Step::RemoveFinalizer { .. } => Side::Linktree,
    }
}

fn is_same_set<T: Ord>(some: &[T], others: &[T]) -> bool {
    some.iter().collect::<BTreeSet<_>>() == others.iter().collect()
}

/// Confirms that a subscription does not exist after its DELETE was answered 404: with a GET, if Linktree supports it.
async fn is_absent(linktree: &impl Linktree, id: &SubscriptionId) -> Result<(), ApiError> {
    match linktree.get(id).await {
        Err(ApiError::NotFound | ApiError::Unsupported { .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(ApiError::NotFound),
    }
}

/// The subscription that a registration created. The documented response contains only its id; the other fields are
/// taken from the request.
fn completed(mut answer: Subscription, request: CreateSubscription) -> Subscription {
    if answer.url.is_empty() {
        answer.url = request.url;
    }
    if answer.events.is_empty() {
        answer.events = request.events;
    }
    answer.signing_secret = None;
    answer
}

/// As [`completed`], for an update: a field that the response omits is as requested, or else as before.
fn updated(answer: Subscription, id: &SubscriptionId, change: &UpdateSubscription, account: &Account) -> Subscription {
    let snapshot = account.snapshot();
    let before = snapshot.and_then(|snapshot| snapshot.subscriptions.iter().find(|known| known.id == *id).cloned());
    let url = change.url.clone().or_else(|| before.as_ref().map(|before| before.url.clone())).unwrap_or_default();
    let events = change.events.clone().or_else(|| before.map(|before| before.events)).unwrap_or_default();
    completed(answer, CreateSubscription { url, events })
}
