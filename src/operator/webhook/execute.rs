//! Performs the steps of a plan, in order: the only place with effects. A failed step ends its side of the plan, the
//! Kubernetes side or the Linktree side, and becomes part of the outcome; it is never an error of the reconciler, so
//! that the status is written all the same.

use std::sync::Arc;

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
    context::{Cluster, Connections},
    observed::{Child, Part, StaleObject},
    outcome::{Failure, Outcome},
    plan::Step,
    render::{Rendered, exposure::ExposureObject},
    spec::Spec,
    subscription_record::registering,
};
use crate::{
    api::{condition::ConditionType, webhook::LinktreeWebhook},
    clock,
    linktree::{
        client::Linktree,
        error::ApiError,
        wire::{CreateSubscription, Subscription, SubscriptionId, SubscriptionStatus, UpdateSubscription},
    },
    operator::{
        account::{Account, rate_limited_client::RateLimitedClient, request_queue::Priority},
        kubernetes::{
            annotations::ROUTE_DIGEST_ANNOTATION, apply, gateway::HTTPRoute, names::FINALIZER, object_key::ObjectKey,
        },
    },
};

mod secret;

/// What the steps are performed with.
pub struct Executor<'a> {
    pub cluster: &'a Cluster,
    pub connections: &'a Connections,
    pub webhook: &'a LinktreeWebhook,
    /// Absent where the object is deleted with a spec that cannot be read; its steps do not need it.
    pub spec: Option<(&'a Spec, &'a Rendered)>,
    pub account: Option<Arc<Account>>,
}

/// The sides fail independently.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Kubernetes,
    /// The way from the URL to the Service. A controller's admission may refuse it, which is no reason to leave the rest.
    Exposure,
    Linktree,
}

/// Why a step failed.
enum StepError {
    Kubernetes(kube::Error),
    Exposure(kube::Error),
    Linktree(ConditionType, ApiError),
    /// A secret from Linktree could not be kept, or could not be if there were one.
    NotKept {
        error: kube::Error,
        made: bool,
    },
}

impl From<kube::Error> for StepError {
    fn from(error: kube::Error) -> Self {
        StepError::Kubernetes(error)
    }
}

impl Executor<'_> {
    /// Performs the steps and tells what came of them.
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
                Err(trouble) => {
                    failed.push(side);
                    if *step == Step::AddFinalizer {
                        // Without it a deletion would leave the subscription behind.
                        failed.push(Side::Linktree);
                    }
                    outcome.failures.push(self.failure(trouble));
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
            Step::Apply(child) => self.apply(*child).await?,
            Step::Remove(leftover) => self.remove(leftover).await.map_err(StepError::Exposure)?,
            Step::RefreshPodMount { pod } => self.refresh_pod_mount(pod).await?,
            Step::RequestList => self.request_list(),
            Step::RecordRegistration { at } => {
                // An intent that is not followed by its request would have to be looked up on the account.
                self.turn(Priority::Create, ConditionType::Registered)?;
                self.record_registration(*at, outcome).await?;
            }
            Step::Register => self.register(outcome).await?,
            Step::Adopt { id } => {
                self.publish(
                    EventType::Normal,
                    "Adopted",
                    format!("took over subscription {id}, which has this webhook's url"),
                )
                .await;
            }
            Step::DryRunSecretWrite => self.dry_run_secret_write().await?,
            Step::RotateSecret { id, keep_previous, request } => {
                self.rotate_secret(id, *keep_previous, request.as_ref(), outcome).await?;
            }
            Step::Update { id, change } => self.update(id, change).await?,
            Step::Reenable { id } => self.reenable(id, outcome).await?,
            Step::Unsubscribe { id } => self.unsubscribe(id).await?,
            Step::RemoveFinalizer { orphan } => self.release(orphan.as_deref(), outcome).await?,
        }
        Ok(())
    }

    /// Whether it is our turn for what comes next.
    fn turn(&self, priority: Priority, of: ConditionType) -> Result<(), StepError> {
        let Some(account) = &self.account else { return Ok(()) };
        account.acquire_slot(priority, &ObjectKey::of(self.webhook)).map_err(|not_yet| StepError::Linktree(of, not_yet))
    }

    fn failure(&self, trouble: StepError) -> Failure {
        match trouble {
            StepError::Kubernetes(error) => Failure::Kubernetes { problem: error.to_string() },
            StepError::Exposure(error) => Failure::Exposure { problem: error.to_string() },
            StepError::NotKept { error, made } => Failure::NotKept { problem: error.to_string(), made },
            StepError::Linktree(of, error) => {
                // What may have taken effect, and what our picture of the account did not foresee, is looked up.
                if error.may_have_taken_effect() || matches!(error, ApiError::Conflict { .. } | ApiError::NotFound) {
                    self.request_list();
                }
                Failure::Linktree { of, error }
            }
        }
    }

    async fn apply(&self, child: Child) -> Result<(), StepError> {
        let Some((_, rendered)) = self.spec else { return Ok(()) };
        let children = &rendered.children;
        let applied = match child {
            Child::Exposure => return self.expose(children.exposure.as_ref()).await.map_err(StepError::Exposure),
            Child::ServiceAccount => children.service_account.apply(&self.api::<ServiceAccount>()).await,
            Child::Service => children.service.apply(&self.api::<Service>()).await,
            Child::NetworkPolicy => children.network_policy.apply(&self.api::<NetworkPolicy>()).await,
            Child::RouteSecret => rendered.route_secret.apply(&self.api::<KubernetesSecret>()).await,
            Child::StatefulSet => children.stateful_set.apply(&self.api::<StatefulSet>()).await,
        };
        Ok(applied?)
    }

    async fn expose(&self, object: Option<&ExposureObject>) -> Result<(), kube::Error> {
        match object {
            None => Ok(()),
            Some(ExposureObject::Ingress(ingress)) => ingress.apply(&self.api::<Ingress>()).await,
            Some(ExposureObject::HttpRoute(route)) => route.apply(&self.api::<HTTPRoute>()).await,
        }
    }

    /// Deletes the very object that was seen, and not one of the same name that came after it.
    async fn remove(&self, leftover: &StaleObject) -> Result<(), kube::Error> {
        let Some((spec, _)) = self.spec else { return Ok(()) };
        let (name, StaleObject { part, uid }) = (spec.receiver_name(), leftover);
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
            // That it is not there is what was wanted.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            removed => removed,
        }
    }

    async fn refresh_pod_mount(&self, pod: &str) -> Result<(), kube::Error> {
        let Some((_, rendered)) = self.spec else { return Ok(()) };
        let patch = json!({"metadata": {"annotations": {ROUTE_DIGEST_ANNOTATION: rendered.route_digest}}});
        self.api::<Pod>().patch(pod, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }

    /// Has the account listed now rather than at the end of its period.
    fn request_list(&self) {
        let Some(account) = &self.account else { return };
        account.request_relist(self.subscription());
        self.connections.request_reconcile(&ObjectKey::connection_of(self.webhook));
    }

    /// The subscription that the status speaks of, with its url.
    fn subscription(&self) -> Option<(SubscriptionId, String)> {
        let status = self.webhook.status.as_ref()?;
        Some((SubscriptionId(status.subscription.as_ref()?.id.clone()?), status.address.as_ref()?.url.clone()))
    }

    /// Only on the webhook as it was seen: another operator that has written down the same meanwhile registers, too.
    async fn record_registration(&self, at: Timestamp, outcome: &mut Outcome) -> Result<(), kube::Error> {
        let seen = outcome.left(self.webhook);
        let mut status = seen.status.clone().unwrap_or_default();
        status.subscription = Some(registering(Some(Time(at))));
        match apply::apply_status_as_seen(&self.api(), seen, &status).await {
            Ok(recorded) => outcome.written = Some(Box::new(recorded)),
            Err(kube::Error::Api(refused)) if refused.is_conflict() => outcome.outdated = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn update(&self, id: &SubscriptionId, change: &UpdateSubscription) -> Result<(), StepError> {
        if self.patch(id, change, ConditionType::UpToDate).await? {
            self.publish(EventType::Normal, "DriftCorrected", format!("subscription {id} is as the spec says again"))
                .await;
        }
        Ok(())
    }

    async fn reenable(&self, id: &SubscriptionId, outcome: &mut Outcome) -> Result<(), StepError> {
        self.turn(Priority::Reenable, ConditionType::SubscriptionEnabled)?;
        // Counted before it is tried: an attempt whose answer is lost was one too.
        outcome.recovery = Some(false);
        let change = UpdateSubscription { status: Some(SubscriptionStatus::Active), ..UpdateSubscription::default() };
        if !self.patch(id, &change, ConditionType::SubscriptionEnabled).await? {
            // Nothing was tried: the other way need not wait.
            outcome.recovery = None;
        } else {
            outcome.recovery = Some(true);
            self.publish(
                EventType::Normal,
                "Reenabled",
                format!("subscription {id} is enabled again: its receiver is healthy"),
            )
            .await;
        }
        Ok(())
    }

    /// Whether the change was made; `false` where Linktree knows no such call.
    async fn patch(
        &self,
        id: &SubscriptionId,
        change: &UpdateSubscription,
        of: ConditionType,
    ) -> Result<bool, StepError> {
        let Some(account) = &self.account else { return Ok(false) };
        match RateLimitedClient::new(account, &ObjectKey::of(self.webhook)).update(id, change).await {
            Ok(answer) => {
                account.record_subscription(updated(answer, id, change, account), clock::now());
                Ok(true)
            }
            // The account has noted it; the next plan goes another way.
            Err(ApiError::Unsupported { .. }) => Ok(false),
            Err(error) => Err(StepError::Linktree(of, error)),
        }
    }

    async fn unsubscribe(&self, id: &SubscriptionId) -> Result<(), StepError> {
        let Some(account) = &self.account else { return Ok(()) };
        let linktree = RateLimitedClient::new(account, &ObjectKey::of(self.webhook));
        let deleted = match linktree.delete(id).await {
            // It would be left behind for good if that were wrong.
            Err(ApiError::NotFound) => is_absent(&linktree, id).await,
            deleted => deleted,
        };
        deleted.map_err(|error| {
            // That is not the way to have it enabled again, and nothing against its registration.
            let unsupported = matches!(error, ApiError::Unsupported { .. });
            let of = if unsupported { ConditionType::SubscriptionEnabled } else { ConditionType::Registered };
            StepError::Linktree(of, error)
        })?;
        account.record_deletion(id, clock::now());
        self.connections.request_reconcile(&ObjectKey::connection_of(self.webhook));
        self.publish(EventType::Normal, "SubscriptionDeleted", format!("subscription {id} is gone from Linktree"))
            .await;
        Ok(())
    }

    async fn release(&self, orphan: Option<&str>, outcome: &mut Outcome) -> Result<(), kube::Error> {
        if let Some(orphan) = orphan {
            let note = format!(
                "subscription {orphan} may be left at Linktree: it could not be deleted; delete it in the dashboard"
            );
            self.publish(EventType::Warning, "OrphanReleased", note).await;
        }
        self.set_finalizers(|finalizers| finalizers.retain(|finalizer| finalizer != FINALIZER)).await?;
        outcome.released = true;
        Ok(())
    }

    /// Edits the finalizers as they were seen; a change in between is a conflict, and the next look decides anew.
    async fn set_finalizers(&self, edit: impl FnOnce(&mut Vec<String>)) -> Result<LinktreeWebhook, kube::Error> {
        let mut finalizers = self.webhook.finalizers().to_vec();
        edit(&mut finalizers);
        let patch = json!({"metadata": {"resourceVersion": self.webhook.resource_version(), "finalizers": finalizers}});
        let name = self.webhook.name_any();
        self.api::<LinktreeWebhook>().patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    async fn publish(&self, type_: EventType, reason: &str, note: String) {
        self.cluster.events.publish(self.webhook, type_, reason, note).await;
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.client.clone(), &self.webhook.namespace().unwrap_or_default())
    }
}

fn side(step: &Step) -> Side {
    match step {
        Step::Apply(Child::Exposure) | Step::Remove(_) => Side::Exposure,
        Step::AddFinalizer | Step::Apply(_) | Step::RefreshPodMount { .. } => Side::Kubernetes,
        Step::RequestList
        | Step::DryRunSecretWrite
        | Step::RecordRegistration { .. }
        | Step::Register
        | Step::Adopt { .. }
        | Step::RotateSecret { .. }
        | Step::Update { .. }
        | Step::Reenable { .. }
        | Step::Unsubscribe { .. }
        | Step::RemoveFinalizer { .. } => Side::Linktree,
    }
}

/// Whether a subscription that could not be deleted because it is not there is really not, as far as Linktree tells.
async fn is_absent(linktree: &impl Linktree, id: &SubscriptionId) -> Result<(), ApiError> {
    match linktree.get(id).await {
        Err(ApiError::NotFound | ApiError::Unsupported { .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(ApiError::NotFound),
    }
}

/// The documented answer to a registration is an id alone; the rest is as it was asked for.
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

/// As [`completed`], for an update: what the answer leaves out is as it was, or as it was asked for.
fn updated(answer: Subscription, id: &SubscriptionId, change: &UpdateSubscription, account: &Account) -> Subscription {
    let snapshot = account.snapshot();
    let before = snapshot.and_then(|snapshot| snapshot.subscriptions.iter().find(|known| known.id == *id).cloned());
    let url = change.url.clone().or_else(|| before.as_ref().map(|before| before.url.clone())).unwrap_or_default();
    let events = change.events.clone().or_else(|| before.map(|before| before.events)).unwrap_or_default();
    completed(answer, CreateSubscription { url, events })
}
