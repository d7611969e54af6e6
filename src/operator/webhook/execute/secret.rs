//! The steps that create a signing secret at Linktree and store it in the webhook's Secret.
//!
//! Linktree returns a secret only once, so one that cannot be stored is lost. Hence a dry run of the write comes first.
//! If the write fails nevertheless, the secret is rotated, or the subscription is deleted.

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
            apply::ownership::foreign,
            object_key::ObjectKey,
        },
        webhook::{
            creation::Creation,
            decide::children,
            outcome::Outcome,
            render::{self, route::PROVIDER_KEY},
            spec::{Keys, PREVIOUS_SECRET_KEY, SIGNING_SECRET_KEY, Spec},
        },
    },
};

/// How long the previous secret still verifies deliveries after a rotation.
///
/// Linktree's last retry follows 20 minutes after the first attempt of a delivery, and may be signed with the secret of
/// that attempt.
const OVERLAP: SignedDuration = SignedDuration::from_hours(1);

impl Executor<'_> {
    pub(super) async fn register(&self, creation: Creation, outcome: &mut Outcome) -> Result<(), StepError> {
        let Some(((spec, _), account)) = self.spec.zip(self.account.as_ref()) else { return Ok(()) };
        let request = CreateSubscription { url: spec.url.to_string(), events: spec.events.iter().cloned().collect() };
        let answer = RateLimitedClient::new(account, &ObjectKey::of(self.webhook))
            .with_creation(creation.priority())
            .create(&request)
            .await
            .map_err(|error| {
                if let Some(begun) = outcome.begun.as_mut().filter(|_| !error.may_have_taken_effect()) {
                    begun.is_void = true;
                }
                StepError::Linktree(ConditionType::Registered, error)
            })?;
        let secret = answer.signing_secret.clone();
        let subscription = completed(answer, request);
        let id = subscription.id.clone();
        account.record_subscription(subscription, clock::now());
        self.connections.request_reconcile(&ObjectKey::connection_of(self.webhook));
        outcome.registered = Some(id.clone());
        self.publish(EventType::Normal, "SubscriptionCreated", format!("created subscription {id} for {}", spec.url))
            .await;
        let Some(secret) = secret else { return Ok(()) };
        let Err(error) = self.store_secret(&secret, &id, None).await else { return Ok(()) };
        let error = error.of_created(true);
        // The next reconciliation rotates the lost secret. If Linktree's API cannot rotate it, the subscription is
        // useless and is deleted.
        if account.capabilities().lacks_rotation() && self.unsubscribe(&id).await.is_ok() {
            outcome.registered = None;
        }
        Err(error)
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
                let stored = self.store_secret(&secret, id, previous).await;
                stored.map_err(|error| error.of_created(true))?;
                outcome.rotated = request.cloned();
                self.publish(
                    EventType::Normal,
                    "SecretRotated",
                    format!("rotated the signing secret of subscription {id}"),
                )
                .await;
                Ok(())
            }
            // Not an error: the user must supply the secret, and the condition's message names the Secret for it.
            Err(ApiError::Unsupported { .. }) => Ok(()),
            Err(ApiError::NotFound) => self.rotation_not_found(id).await,
            Err(error) => Err(StepError::Linktree(ConditionType::SigningKeysReady, error)),
        }
    }

    /// Determines with a GET whether a rotation was answered 404 because the endpoint or because the subscription does
    /// not exist.
    async fn rotation_not_found(&self, id: &SubscriptionId) -> Result<(), StepError> {
        let Some(account) = &self.account else { return Ok(()) };
        match RateLimitedClient::new(account, &ObjectKey::of(self.webhook)).get(id).await {
            // The subscription exists, or cannot be read by id and presumably exists: the rotation endpoint is missing.
            Ok(_) | Err(ApiError::Unsupported { .. }) => {
                account.mark_unsupported(Call::RotateSecret);
                Ok(())
            }
            Err(error) => Err(StepError::Linktree(ConditionType::SigningKeysReady, error)),
        }
    }

    /// Checks whether a signing secret could be stored, with a dry run that writes a placeholder.
    pub(super) async fn dry_run_secret_write(&self) -> Result<(), StepError> {
        let Some((spec, _)) = self.spec else { return Ok(()) };
        let Keys::Provider { secret_name } = &spec.keys else { return Ok(()) };
        let object = secret_object(spec, secret_name, &Secret::new("none"), &SubscriptionId(String::new()), None);
        self.apply_secret(&object, true).await.map_err(|error| error.of_created(false))
    }

    /// The signing secret from Linktree in the receiver's current route.
    fn current_secret(&self) -> Option<&Secret> {
        let (_, rendered) = self.spec?;
        rendered.route.keys.iter().find(|key| key.name == PROVIDER_KEY).map(|key| &key.secret)
    }

    /// Stores a new signing secret from Linktree in the Secret that the spec names, with the previous one until it
    /// expires.
    async fn store_secret(
        &self,
        secret: &Secret,
        subscription: &SubscriptionId,
        previous: Option<&Secret>,
    ) -> Result<(), SecretError> {
        let Some((spec, _)) = self.spec else { return Ok(()) };
        let Keys::Provider { secret_name } = &spec.keys else { return Ok(()) };
        let end = clock::now().saturating_add(OVERLAP).unwrap_or(Timestamp::MAX);
        let object = secret_object(spec, secret_name, secret, subscription, previous.map(|previous| (previous, end)));
        self.apply_secret(&object, false).await
    }

    /// Applies the Secret, unless one of that name exists that is not ours.
    async fn apply_secret(&self, object: &KubernetesSecret, dry_run: bool) -> Result<(), SecretError> {
        let (name, api) = (object.name_any(), self.live_api::<KubernetesSecret>());
        let mut wanted =
            serde_json::to_value(object).map_err(|error| SecretError::NotStored(kube::Error::SerdeError(error)))?;
        let mut params = PatchParams { dry_run, ..PatchParams::apply(self.cluster.manager.as_str()) };
        if let Some(live) = api.get_opt(&name).await.map_err(SecretError::NotStored)? {
            if let Some(foreign) = foreign(&wanted, live.raw()) {
                let taken = children::taken(&format!("Secret {name}"), &foreign);
                let remedy = "to use a secret of your own, name its Secret in spec.signing.keys";
                return Err(SecretError::NotOurs(format!("{taken}; {remedy}")));
            }
            wanted["metadata"]["uid"] = live.raw()["metadata"]["uid"].clone();
            params = params.force();
        }
        wanted["apiVersion"] = "v1".into();
        wanted["kind"] = "Secret".into();
        api.patch(&name, &params, &Patch::Apply(&wanted)).await.map(drop).map_err(SecretError::NotStored)
    }
}

/// The reason why a Secret was not written.
enum SecretError {
    /// A Secret of that name exists and is not ours.
    NotOurs(String),
    NotStored(kube::Error),
}

impl SecretError {
    /// The error of the step. `created`: Linktree has created the secret, which is lost.
    fn of_created(self, created: bool) -> StepError {
        match self {
            SecretError::NotOurs(problem) => StepError::SecretNotOurs { problem, created },
            SecretError::NotStored(error) => StepError::SecretNotStored { error, created },
        }
    }
}

/// The Secret that stores a signing secret from Linktree.
///
/// Unlike other applied objects it has no digest annotation, since guesses of the secret could be verified against it.
fn secret_object(
    spec: &Spec,
    name: &str,
    secret: &Secret,
    subscription: &SubscriptionId,
    previous: Option<(&Secret, Timestamp)>,
) -> KubernetesSecret {
    let bytes = |secret: &Secret| secret.expose().as_bytes().to_vec();
    let current = (SIGNING_SECRET_KEY, bytes(secret));
    let mut object = match previous {
        None => render::children::secret(spec, name.to_owned(), [current]),
        Some((previous, _)) => {
            render::children::secret(spec, name.to_owned(), [current, (PREVIOUS_SECRET_KEY, bytes(previous))])
        }
    };
    let annotations = object.annotations_mut();
    annotations.insert(SUBSCRIPTION_ANNOTATION.to_owned(), subscription.0.clone());
    annotations.extend(previous.map(|(_, end)| (PREVIOUS_NOT_AFTER_ANNOTATION.to_owned(), end.to_string())));
    object
}
