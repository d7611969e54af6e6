//! Reads the state of one webhook from Kubernetes, its receiver, its URL and its account. It writes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret as KubernetesSecret};
use kube::ResourceExt;

use self::{
    children::Family,
    read::{read, read_live},
};
use super::{
    account_identity,
    challenge::Challenge,
    context::Context,
    creation::Creation,
    observed::{self, Child, Connection, Observed, ProbeResult, Receiver, Secrets},
    ownership,
    probe::finding::probe_finding,
    render::{
        Rendered,
        children::{ADMIN_TOKEN_KEY, PROBE_KEY_KEY, PROBE_KEY_OWNER_KEY},
        key_digests::key_digests,
        metadata,
        route::places,
    },
    spec::{Keys, Spec},
    state::WebhookState,
    told::Told,
};
use crate::{
    api::{
        condition::{ConditionType, Reason},
        connection::LinktreeConnection,
        webhook::LinktreeWebhook,
        webhook_status::LinktreeWebhookStatus,
    },
    clock,
    linktree::{error::ApiError, secret::Secret, wire::SubscriptionId},
    operator::{
        account::{Account, reason::reason},
        kubernetes::{
            annotations::{self, PREVIOUS_NOT_AFTER_ANNOTATION, ROUTE_DIGEST_ANNOTATION, SUBSCRIPTION_ANNOTATION},
            apply::{live::LiveObject, ownership::foreign},
            claim::Claim,
            conditions,
            guarded::Guarded,
            names::{self, FINALIZER},
            object_key::ObjectKey,
            secret_value::secret_value,
        },
        watch::observed_versions::Kind,
    },
    route::{self, Route},
};

mod children;
mod exposure;
mod owner;
mod proof;
mod read;
mod refused_pod;
mod stale_objects;
mod status_times;

/// Length, in characters, to which a request to send dead letters again is shortened.
const REDRIVE_VALUE_MAX: usize = 257;

/// Reads the Secret values that the spec refers to, and the route Secret, which contains the receiver's admin token.
pub async fn secrets(
    context: &Context,
    spec: &Spec,
    state: &mut WebhookState,
) -> Result<(Secrets, Option<LiveObject<KubernetesSecret>>), kube::Error> {
    let places = places(spec);
    let names: BTreeSet<_> = places.iter().map(|place| place.name.as_str()).collect();
    let mut values = BTreeMap::new();
    let (mut kept_for, mut previous_not_after) = (None, None);
    for name in names {
        let Some(found) = read::<KubernetesSecret>(context, spec, Kind::Secret, name).await? else { continue };
        if matches!(&spec.keys, Keys::Provider { secret_name } if secret_name == name) {
            kept_for = found.annotations().get(SUBSCRIPTION_ANNOTATION).cloned().map(SubscriptionId);
            let end = found.annotations().get(PREVIOUS_NOT_AFTER_ANNOTATION).and_then(|it| it.parse().ok());
            previous_not_after = end.filter(|end| status_times::is_plausible(*end, clock::now()));
        }
        let data = found.data.unwrap_or_default();
        for place in places.iter().filter(|place| place.name == name) {
            if let Some(value) = data.get(&place.key).and_then(|bytes| secret_value(&bytes.0)) {
                values.insert(place.clone(), value);
            }
        }
    }
    let route = read_live::<KubernetesSecret>(context, spec, Kind::Secret, &spec.route_secret_name()).await?;
    let desired = serde_json::json!({"metadata": {"ownerReferences": [metadata::owner(spec)]}});
    let ours = route.as_ref().filter(|route| foreign(&desired, route.raw()).is_none());
    let parsed = ours.and_then(|route| route.parse().ok());
    let stored = |key: &str| {
        let value = parsed.as_ref().and_then(|route| route.data.as_ref()?.get(key));
        value.and_then(|bytes| secret_value(&bytes.0))
    };
    let admin_token = state.route_keys.admin_token(stored(ADMIN_TOKEN_KEY));
    // A restored Secret may have come from another cluster, whose receiver then has the same key.
    let is_own = stored(PROBE_KEY_OWNER_KEY).is_some_and(|uid| uid.expose() == spec.uid);
    let probe_key = state.route_keys.probe_key(stored(PROBE_KEY_KEY).filter(|_| is_own));
    Ok((Secrets { values, kept_for, previous_not_after, admin_token, probe_key }, route))
}

/// The route that the receiver has, if it was rendered from the webhook's present spec.
pub fn current_route(webhook: &LinktreeWebhook, live_route: Option<&LiveObject<KubernetesSecret>>) -> Option<Route> {
    let observed = webhook.status.as_ref()?.observed_generation?;
    let secret = live_route.filter(|_| webhook.metadata.generation == Some(observed))?.parse().ok()?;
    Route::parse(&secret.data?.get(route::FILE)?.0).ok()
}

/// The webhook to observe, with its rendered objects and the answers that the preceding poll fetched.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub webhook: &'a LinktreeWebhook,
    pub spec: &'a Spec,
    pub rendered: &'a Rendered,
    pub told: &'a Told,
    /// The route Secret in the cluster.
    pub live_route: Option<&'a LiveObject<KubernetesSecret>>,
    pub claim: &'a Claim,
}

/// Observes the state of one webhook, except for the Secrets, which [`secrets`] reads before.
pub async fn observe(
    context: &Context,
    subject: &Subject<'_>,
    state: &mut WebhookState,
    now: Timestamp,
) -> Result<Observed, kube::Error> {
    let Subject { webhook, spec, rendered, told, live_route, claim } = *subject;
    let external = spec.is_external();
    let receiver =
        if external { Receiver::default() } else { receiver(context, spec, &rendered.admin_token, told).await? };
    let mut seen = without_children(context, webhook);
    seen.url_taken_by = owner::url_taken_by(context, webhook, spec.url.as_str());
    let handled = seen.status.last_handled_sync_request.as_deref();
    let rotated = seen.status.last_handled_rotate_secret_request.as_deref();
    seen.rotate_request = annotations::pending(webhook, annotations::ROTATE_SECRET, rotated).map(str::to_owned);
    seen.redrive_request = redrive_request(webhook, &seen.status);
    seen.sync_request = state.sync_requested(annotations::pending(webhook, annotations::SYNC, handled), now);
    // Re-enabling a disabled subscription needs a new probe, since an earlier one does not prove that the receiver is
    // healthy now. A sync request needs one, too.
    let needs_probe = seen.sync_request.is_some() || ownership::is_disabled(spec, &seen);
    let loaded = receiver.status.as_ref().map(|status| status.route_digest.as_str());
    let challenge = (!external).then(|| Challenge::new(&rendered.route.probe_key, &rendered.route_digest, loaded));
    let known = told.by_probe(&spec.url).cloned().or_else(|| state.valid_probe(&spec.url, now));
    let known = known.filter(|_| !needs_probe).or_else(|| state.recent_failure(&spec.url, now));
    let mut probe = match known {
        Some(result) => result,
        // Without a pod nothing can respond: a probe would only add a failure to the status.
        None if receiver.pod.is_none() && !external => ProbeResult::NotProbed,
        None => {
            let result = context.receivers.prober.probe(&spec.url, challenge.as_ref()).await;
            state.probed(&spec.url, result.clone(), probe_finding(spec, &result, now).holds(), now);
            result
        }
    };
    seen.leads_here = proof::leads_here(context, (spec, &seen), &mut probe, (challenge.as_ref(), now), state).await;
    let sinks = receiver.status.as_ref().map(|status| status.sinks.as_slice()).unwrap_or_default();
    let sink_failures = state.sink_failures(sinks, now);
    let family = Family { context, spec, claim, state: &*state, now };
    let (exposure, exposed) = exposure::observe(family, rendered.children.exposure.as_ref()).await?;
    let mut children =
        if external { BTreeMap::new() } else { children::of_receiver(family, rendered, live_route).await? };
    children.extend(exposed.map(|standing| (Child::Exposure, standing)));
    Ok(Observed {
        keys: rendered.keys.clone(),
        keys_changed: seen.status.signing.as_ref().map(|signing| &signing.key_digests)
            != Some(&key_digests(&rendered.route)),
        secret_kept_for: rendered.secret_kept_for.clone(),
        next_key_end: rendered.next_key_end,
        route_digest: rendered.route_digest.clone(),
        children,
        receiver,
        exposure,
        stale_objects: stale_objects::stale_objects(context, spec, state).await?,
        sinks_unresolved: rendered.sinks_unresolved.clone(),
        sink_failures,
        probe,
        challenge,
        probed_at: state.probed_at(),
        hold_until: state.hold_until(spec.generation),
        held: state.held(spec.generation),
        unresolved: state.unresolved(),
        creation: state.creation(spec.generation),
        correction: state.correction(),
        ..seen
    })
}

/// The part of the state that deleting a webhook needs.
///
/// Also returns the account in which the subscription is deleted. If the connection or its token was deleted too, the
/// account's last snapshot is used; if the token is now another account's, the account of the previous token.
pub fn for_deletion(context: &Context, webhook: &LinktreeWebhook) -> (Observed, Option<Arc<Account>>) {
    let mut observed = without_children(context, webhook);
    let url = observed.status.address.as_ref().map(|address| address.url.as_str()).unwrap_or_default();
    observed.url_taken_by = owner::url_taken_by(context, webhook, url);
    let key = ObjectKey::connection_of(webhook);
    let accounts = &context.connections.accounts;
    let mut account = accounts.last_known(&key);
    if let Some((former, token)) = accounts.former(&key)
        && account_identity::has_changed(&observed.status, &observed.connection)
        && let Some(connection) = listed(&former, &token)
        && !account_identity::has_changed(&observed.status, &connection)
    {
        (observed.connection, account) = (connection, Some(former));
    } else if let Connection::Unusable { .. } | Connection::Unlisted = observed.connection
        && let Some(connection) =
            account.as_ref().and_then(|account| listed(account, &accounts.token_digest(&key).unwrap_or_default()))
    {
        observed.connection = connection;
    }
    (observed, account)
}

/// An account as its last list has shown it.
fn listed(account: &Account, token: &Arc<str>) -> Option<Connection> {
    let (snapshot, capabilities) = (account.snapshot()?, account.capabilities());
    Some(Connection::Listed { snapshot, in_cluster: false, capabilities, not_ready: None, token: Arc::clone(token) })
}

/// The state that is known without reading the receiver and the webhook's other objects.
fn without_children(context: &Context, webhook: &LinktreeWebhook) -> Observed {
    Observed {
        finalizer: webhook.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
        status: status_times::bounded(webhook.status.clone().unwrap_or_default(), clock::now()),
        connection: connection(context, &ObjectKey::connection_of(webhook)),
        keys: observed::Keys::Found { active: String::new(), missing: Vec::new(), expired: Vec::new() },
        keys_changed: false,
        secret_kept_for: None,
        next_key_end: None,
        rotate_request: None,
        redrive_request: None,
        route_digest: String::new(),
        children: BTreeMap::new(),
        receiver: Receiver::default(),
        exposure: observed::Exposure::NotOurs,
        stale_objects: Vec::new(),
        sinks_unresolved: Vec::new(),
        sink_failures: BTreeMap::new(),
        url_taken_by: None,
        id_taken_by: owner::id_taken_by(context, webhook),
        probe: ProbeResult::NotProbed,
        challenge: None,
        leads_here: false,
        probed_at: None,
        hold_until: None,
        held: None,
        unresolved: None,
        creation: Creation::First,
        correction: None,
        sync_request: None,
    }
}

/// The pending request to send dead letters again. The value is shortened, since the status must keep it; a value of
/// full length is rejected in any case.
fn redrive_request(webhook: &LinktreeWebhook, status: &LinktreeWebhookStatus) -> Option<String> {
    let value = annotations::pending(webhook, annotations::REDRIVE, None)?;
    let value: String = value.chars().take(REDRIVE_VALUE_MAX).collect();
    (status.last_handled_redrive_request.as_ref() != Some(&value)).then_some(value)
}

/// The state of a connection, from the connection's cache and its account.
pub fn connection(context: &Context, key: &ObjectKey) -> Connection {
    let object = context.connections.objects.get(&key.object_ref::<Guarded<LinktreeConnection>>());
    let Some(object) = object else {
        let message = format!(
            "there is no LinktreeConnection {} in this namespace: create it, or correct connectionRef",
            key.name
        );
        return Connection::Unusable { reason: Reason::ConnectionMissing, message };
    };
    if let Some(problem) = object.spec_problem() {
        let message = format!("{} of LinktreeConnection {} {}", problem.field, key.name, problem.explanation());
        return Connection::Unusable { reason: Reason::InvalidSpec, message };
    }
    let Some(account) = context.connections.accounts.get(key) else { return without_account(&object) };
    match (account.last_error(), account.snapshot()) {
        (Some(error @ (ApiError::TokenRejected { .. } | ApiError::PlanExcludesWebhooks { .. })), _)
        | (Some(error), None) => Connection::Unusable { reason: reason(&error), message: error.to_string() },
        (None, None) => Connection::Unlisted,
        // A transient error of a later list does not invalidate this snapshot, but it is reported.
        (error, Some(snapshot)) => Connection::Listed {
            not_ready: error.map(|error| (reason(&error), error.to_string())),
            snapshot,
            in_cluster: object.spec.base_url.starts_with("http://"),
            capabilities: account.capabilities(),
            token: context.connections.accounts.token_digest(key).unwrap_or_default(),
        },
    }
}

/// The state of a connection that has no account in memory: its status shows whether the token is missing.
fn without_account(object: &LinktreeConnection) -> Connection {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let missing = conditions::find(conditions, ConditionType::Ready)
        .filter(|ready| ready.reason == Reason::TokenMissing.as_str());
    match missing {
        Some(ready) => Connection::Unusable { reason: Reason::TokenMissing, message: ready.message.clone() },
        None => Connection::Unlisted,
    }
}

async fn receiver(context: &Context, spec: &Spec, admin_token: &Secret, told: &Told) -> Result<Receiver, kube::Error> {
    let Some(pod) = read::<Pod>(context, spec, Kind::Pod, &names::pod(&spec.name.name)).await? else {
        // Events may be kept apart from all else: their outage must not stop the webhook.
        let refused = refused_pod::refusal(context, spec, clock::now()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the Events of the StatefulSet cannot be read");
            None
        });
        return Ok(Receiver { refused, ..Receiver::default() });
    };
    let pod = summary(&pod);
    let status = match pod.address {
        Some(address) if !pod.terminating => match told.by_receiver(address, admin_token) {
            Some(status) => status.clone(),
            None => context.receivers.client.status(address, admin_token).await,
        },
        Some(_) | None => None,
    };
    Ok(Receiver { pod: Some(pod), refused: None, status })
}

fn summary(pod: &Pod) -> observed::Pod {
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let waiting = status.container_statuses.unwrap_or_default().into_iter().find_map(|container| {
        let waiting = container.state?.waiting?;
        // Every container starts in this state, so it explains nothing.
        let reason = waiting.reason.filter(|reason| reason != "ContainerCreating")?;
        // The kubelet's message about a crash names the seconds until the next start.
        let message = waiting.message.filter(|_| reason != "CrashLoopBackOff");
        Some(message.map_or(reason.clone(), |message| format!("{reason}: {message}")))
    });
    observed::Pod {
        name: pod.name_any(),
        ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        unschedulable: conditions
            .into_iter()
            .find(|condition| condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable"))
            .map(|condition| condition.message.unwrap_or_default()),
        waiting,
        address: status.pod_ip.as_deref().and_then(|ip| ip.parse().ok()),
        route_digest: pod.annotations().get(ROUTE_DIGEST_ANNOTATION).cloned(),
    }
}
