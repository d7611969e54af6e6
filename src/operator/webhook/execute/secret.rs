//! The steps that get a signing secret from Linktree and keep it. A secret comes once: what is not kept is lost, so it is
//! tried first whether it could be, and a new one is made, or the subscription unmade, where it was not all the same.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::EventType,
};

use super::{Executor, StepError, completed};
use crate::{
    api::condition::ConditionType,
    clock,
    linktree::{
        client::Linktree,
        error::ApiError,
        secret::Secret,
        wire::{CreateSubscription, SubscriptionId},
    },
    operator::{
        account::{capabilities::Call, rate_limited_client::RateLimitedClient},
        kubernetes::{
            annotations::{PREVIOUS_NOT_AFTER_ANNOTATION, SUBSCRIPTION_ANNOTATION},
            apply::FIELD_MANAGER,
            object_key::ObjectKey,
        },
        webhook::{
            outcome::Outcome,
            render::{children, route::PROVIDER_KEY},
            spec::{Keys, PREVIOUS_SECRET_KEY, SIGNING_SECRET_KEY, Spec},
        },
    },
};

/// How long the secret before a rotation is tried too. Linktree's last retry of a delivery comes 20 minutes after the
/// first attempt, and may be signed as that was.
const OVERLAP: SignedDuration = SignedDuration::from_hours(1);

impl Executor<'_> {
    pub(super) async fn register(&self, outcome: &mut Outcome) -> Result<(), StepError> {
        let Some(((spec, _), account)) = self.spec.zip(self.account.as_ref()) else { return Ok(()) };
        let request = CreateSubscription { url: spec.url.to_string(), events: spec.events.iter().cloned().collect() };
        let answer = RateLimitedClient::new(account, &ObjectKey::of(self.webhook))
            .create(&request)
            .await
            .map_err(|error| StepError::Linktree(ConditionType::Registered, error))?;
        let secret = answer.signing_secret.clone();
        let subscription = completed(answer, request);
        let id = subscription.id.clone();
        account.record_subscription(subscription, clock::now());
        self.connections.request_reconcile(&ObjectKey::connection_of(self.webhook));
        outcome.registered = Some(id.clone());
        self.publish(EventType::Normal, "SubscriptionCreated", format!("registered {} as subscription {id}", spec.url))
            .await;
        let Some(secret) = secret else { return Ok(()) };
        let Err(error) = self.keep_secret(&secret, &id, None).await else { return Ok(()) };
        // The next look has a new one made. Where there can be none, there is no use in this subscription.
        if account.capabilities().lacks_rotation() && self.unsubscribe(&id).await.is_ok() {
            outcome.registered = None;
        }
        Err(StepError::NotKept { error, made: true })
    }

    pub(super) async fn rotate_secret(
        &self,
        id: &SubscriptionId,
        keep_previous: bool,
        request: Option<&String>,
        outcome: &mut Outcome,
    ) -> Result<(), StepError> {
        let Some(account) = &self.account else { return Ok(()) };
        match RateLimitedClient::new(account, &ObjectKey::of(self.webhook)).rotate_secret(id).await {
            Ok(secret) => {
                let previous = if keep_previous { self.current_secret() } else { None };
                let kept = self.keep_secret(&secret, id, previous).await;
                kept.map_err(|error| StepError::NotKept { error, made: true })?;
                outcome.rotated = request.cloned();
                self.publish(EventType::Normal, "SecretRotated", format!("subscription {id} has a new signing secret"))
                    .await;
                Ok(())
            }
            // Not an error of this webhook: the secret then comes from a person, and the condition says where it goes.
            Err(ApiError::Unsupported { .. }) => Ok(()),
            Err(ApiError::NotFound) => self.what_is_not_found(id).await,
            Err(error) => Err(StepError::Linktree(ConditionType::SigningKeysReady, error)),
        }
    }

    /// A 404 to a rotation speaks of the call, or of the subscription: the subscription itself tells which.
    async fn what_is_not_found(&self, id: &SubscriptionId) -> Result<(), StepError> {
        let Some(account) = &self.account else { return Ok(()) };
        match RateLimitedClient::new(account, &ObjectKey::of(self.webhook)).get(id).await {
            // It is there; or nothing is known of it but that it was made, as where Linktree offers little else.
            Ok(_) | Err(ApiError::Unsupported { .. }) => {
                account.mark_unsupported(Call::RotateSecret);
                Ok(())
            }
            Err(error) => Err(StepError::Linktree(ConditionType::SigningKeysReady, error)),
        }
    }

    /// Has Kubernetes judge the write of a secret that is none.
    pub(super) async fn dry_run_secret_write(&self) -> Result<(), StepError> {
        let Some((spec, _)) = self.spec else { return Ok(()) };
        let Keys::Provider { secret_name } = &spec.keys else { return Ok(()) };
        let object = secret_object(spec, secret_name, &Secret::new("none"), &SubscriptionId(String::new()), None);
        let params = PatchParams::apply(FIELD_MANAGER).force().dry_run();
        let tried = self.api::<KubernetesSecret>().patch(secret_name, &params, &Patch::Apply(&object)).await;
        tried.map(drop).map_err(|error| StepError::NotKept { error, made: false })
    }

    /// The secret from Linktree that the receiver has.
    fn current_secret(&self) -> Option<&Secret> {
        let (_, rendered) = self.spec?;
        rendered.route.keys.iter().find(|key| key.name == PROVIDER_KEY).map(|key| &key.secret)
    }

    /// Keeps a secret from Linktree where the spec asks for that, and the one before it for a while.
    async fn keep_secret(
        &self,
        secret: &Secret,
        of: &SubscriptionId,
        previous: Option<&Secret>,
    ) -> Result<(), kube::Error> {
        let Some((spec, _)) = self.spec else { return Ok(()) };
        let Keys::Provider { secret_name } = &spec.keys else { return Ok(()) };
        let end = clock::now().saturating_add(OVERLAP).unwrap_or(Timestamp::MAX);
        let object = secret_object(spec, secret_name, secret, of, previous.map(|previous| (previous, end)));
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.api::<KubernetesSecret>().patch(secret_name, &params, &Patch::Apply(&object)).await.map(drop)
    }
}

/// Without the digest that other objects carry: a digest of nothing but a secret could be guessed against.
fn secret_object(
    spec: &Spec,
    name: &str,
    secret: &Secret,
    of: &SubscriptionId,
    previous: Option<(&Secret, Timestamp)>,
) -> KubernetesSecret {
    let bytes = |secret: &Secret| secret.expose().as_bytes().to_vec();
    let current = (SIGNING_SECRET_KEY, bytes(secret));
    let mut object = match previous {
        None => children::secret(spec, name.to_owned(), [current]),
        Some((previous, _)) => {
            children::secret(spec, name.to_owned(), [current, (PREVIOUS_SECRET_KEY, bytes(previous))])
        }
    };
    let annotations = object.annotations_mut();
    annotations.insert(SUBSCRIPTION_ANNOTATION.to_owned(), of.0.clone());
    annotations.extend(previous.map(|(_, end)| (PREVIOUS_NOT_AFTER_ANNOTATION.to_owned(), end.to_string())));
    object
}
