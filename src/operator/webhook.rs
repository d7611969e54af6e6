//! Reconciles a `LinktreeWebhook`: observe → decide → execute → report. This file is the driver; each stage has its own.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use kube::{Api, ResourceExt};

use tracing::Instrument;

use self::{
    execute::Executor,
    glance::{Glance, Told},
    observe::addressable::Addresses,
    observed::Secrets,
    outcome::Outcome,
    plan::Plan,
    render::{
        children::{self, Children},
        route,
    },
    rest::Rest,
    spec::{Deletion, InvalidSpec, Spec},
    state::Memory,
    status::{
        Report, Worth, knative,
        transitions::{self, Notice},
    },
};
use super::{
    context::Context,
    kubernetes::{
        apply,
        object_key::{self, Key},
    },
    watch::observed_versions::Version,
};
use crate::{
    api::{webhook::LinktreeWebhook, webhook_status::LinktreeWebhookStatus},
    clock, jitter,
    linktree::{secret::Secret, wire::SubscriptionId},
    route::Route,
};

pub mod decide;
mod execute;
mod glance;
pub mod observe;
pub mod observed;
pub mod outcome;
pub mod plan;
pub mod probe;
pub mod receiver_client;
pub mod render;
pub mod rest;
pub mod spec;
pub mod state;
pub mod status;

/// Keeps a webhook from vanishing before its subscription has.
pub const FINALIZER: &str = "webhooks.linktree-operator.dev/subscription";

/// Why a look could not be finished. Everything expected is an outcome instead, and stands in the status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the Kubernetes API could not be used: {0}")]
    Kubernetes(#[from] kube::Error),
    #[error("an object could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// All that is rendered from the spec and its secrets: what should be.
pub struct Rendered {
    pub children: Children,
    pub route: Route,
    pub route_secret: apply::Desired,
    /// The route Secret in the cluster is as it should be.
    pub route_is_met: bool,
    pub route_digest: String,
    pub admin_token: Secret,
    pub keys: observed::Keys,
    pub secret_kept_for: Option<SubscriptionId>,
    pub next_key_end: Option<Timestamp>,
    pub sinks_unresolved: Vec<observed::Unresolved>,
}

/// Looks at one webhook and does what is to be done; where it rests, a glance is enough. Returns when it is to be looked at
/// again even if nothing changes; `None` where there is none any more, by its watch.
///
/// # Errors
/// When Kubernetes cannot be read or written; the look is then repeated.
pub async fn reconcile(webhook: Arc<Key>, context: Arc<Context>) -> Result<Option<Duration>, Error> {
    let Some(known) = context.roster.get(&webhook) else {
        context.forget(&webhook);
        return Ok(None);
    };
    match glance::at(&context, &known).await {
        Glance::AtRest(next) => Ok(Some(next)),
        // Most looks end before this one, which needs far more room.
        Glance::Look(told) => {
            let span = tracing::info_span!("look", namespace = webhook.0, webhook = webhook.1);
            Box::pin(look(&known.key, &context, &told)).instrument(span).await
        }
    }
}

async fn look(key: &Arc<Key>, context: &Context, told: &Told) -> Result<Option<Duration>, Error> {
    // Read afresh: the watch may lag behind our own last write, and a forgotten subscription id would look like none.
    let Some(webhook) = api(&key.0, context).get_opt(&key.1).await? else {
        // Its watch will say so, too; or that was a wrong answer, as of a proxy, and the next look finds it.
        return Ok(Some(NOT_FOUND));
    };
    let mut memory = context.recall(key).of(webhook.uid().as_ref(), clock::now());
    memory.rests(None);
    let result = match (&webhook.metadata.deletion_timestamp, Spec::parse(&webhook)) {
        (Some(deleted_at), _) => delete(&webhook, deleted_at.0, context, &mut memory).await,
        (None, Ok(spec)) => keep(&webhook, &spec, (key, context), &mut memory, told).await,
        (None, Err(error)) => refuse(&webhook, &error, context).await,
    };
    if matches!(result, Ok(None)) {
        context.forget(key);
    } else {
        context.remember(key, memory);
    }
    result
}

async fn keep(
    webhook: &LinktreeWebhook,
    spec: &Spec,
    (key, context): (&Arc<Key>, &Context),
    memory: &mut Memory,
    told: &Told,
) -> Result<Option<Duration>, Error> {
    let believed_until = begin(webhook, key, context, memory);
    let (secrets, live_route) = observe::secrets(context, spec).await?;
    let addresses = context.shared.addressables.resolve(&context.shared.client, spec).await?;
    let rendered = render_all(spec, &secrets, live_route.as_ref(), &addresses, context)?;
    let observed = observe::observe(context, webhook, spec, &rendered, memory, told, clock::now()).await?;
    let plan = decide::decide(spec, &observed, clock::now());
    let requeue = plan.requeue;
    let repeats = memory.repeats(&plan.steps);
    let rest = Rest::after(spec, &observed, &rendered.admin_token, &plan, Version::of(webhook), believed_until);

    let outcome = execute(webhook, Some((spec, &rendered)), context, &plan).await;
    if outcome.outdated {
        return Ok(Some(SOON));
    }
    note(&outcome, &plan, spec.generation, memory);

    let report = Report {
        generation: spec.generation,
        url: spec.url.as_str(),
        route: (!spec.is_external()).then_some(&rendered.route),
        observed: &observed,
        plan,
        outcome: &outcome,
        hold_until: memory.hold_until(spec.generation),
        now: clock::now(),
    };
    let next = knative::told(spec, &addresses, report.status());
    let notices = transitions::between(&observed.status, &next);
    match write(webhook, outcome.left(webhook), context, next, memory).await? {
        Stands::All(version) => memory.rests(rest.map(|rest| rest.left_at(version))),
        Stands::Part => {}
        Stands::Another => return Ok(Some(SOON)),
    }
    for Notice { event_type, reason, note } in notices {
        context.publish(webhook, event_type, reason, note).await;
    }
    let progress = outcome.performed > 0 && outcome.failures.is_empty() && !repeats;
    Ok(Some(if progress { SOON } else { no_later(requeue, memory.hold_until(spec.generation), clock::now()) }))
}

/// Until when what was read of the webhook's other objects is believed; if it is not any more, all is read anew.
fn begin(webhook: &LinktreeWebhook, key: &Arc<Key>, context: &Context, memory: &mut Memory) -> Timestamp {
    let (generation, now) = (webhook.metadata.generation, clock::now());
    memory.believes(generation, now).unwrap_or_else(|| {
        context.seen.anew(key);
        memory.believe(generation, now, jitter::fraction())
    })
}

async fn delete(
    webhook: &LinktreeWebhook,
    deleted_at: Timestamp,
    context: &Context,
    memory: &mut Memory,
) -> Result<Option<Duration>, Error> {
    let mut observed = observe::for_deletion(context, webhook);
    observed.hold_until = memory.hold_until(webhook.metadata.generation);
    observed.unresolved = memory.unresolved();
    let url = observed.status.address.as_ref().map(|address| address.url.clone());
    let terms = Deletion::of(&webhook.spec.subscription);
    let plan = decide::decide_deletion(terms, url.as_deref(), &observed, deleted_at, clock::now());
    let requeue = plan.requeue;
    let outcome = execute(webhook, None, context, &plan).await;
    note(&outcome, &plan, webhook.metadata.generation, memory);
    if outcome.released || !observed.finalizer {
        return Ok(None);
    }
    let hold_until = memory.hold_until(webhook.metadata.generation);
    let next =
        status::terminating(&observed.status, webhook.metadata.generation, plan, &outcome, hold_until, clock::now());
    write(webhook, outcome.left(webhook), context, next, memory).await?;
    Ok(Some(no_later(requeue, hold_until, clock::now())))
}

/// A spec that cannot be used: the status says why; what is there stays as it is.
async fn refuse(webhook: &LinktreeWebhook, error: &InvalidSpec, context: &Context) -> Result<Option<Duration>, Error> {
    let previous = webhook.status.clone().unwrap_or_default();
    let next = status::invalid(&previous, webhook.metadata.generation, error, clock::now());
    write(webhook, webhook, context, next, &mut Memory::default()).await?;
    Ok(Some(LATER))
}

/// A webhook that was not found, although its watch still shows it, is looked for again.
const NOT_FOUND: Duration = Duration::from_secs(5);
/// After a step was taken its effect is looked at soon.
const SOON: Duration = Duration::from_millis(200);
/// A refused spec is looked at again when it changes; this is only for the case that the change was missed.
const LATER: Duration = Duration::from_secs(300);

/// Who waits for its turn, or for Linktree, is there when the wait is over.
fn no_later(requeue: Duration, hold_until: Option<Timestamp>, now: Timestamp) -> Duration {
    let held = hold_until.and_then(|until| Duration::try_from(until.duration_since(now)).ok());
    held.filter(|held| !held.is_zero()).map_or(requeue, |held| requeue.min(held))
}

fn render_all(
    spec: &Spec,
    secrets: &Secrets,
    live_route: Option<&KubernetesSecret>,
    addresses: &Addresses,
    context: &Context,
) -> Result<Rendered, Error> {
    let now = clock::now();
    let route = route::route(spec, secrets, addresses, now);
    let file = route.render()?;
    let route_digest = Route::digest(&file);
    let route_secret = children::route_secret(spec, file, secrets.admin_token.expose())?;
    Ok(Rendered {
        children: children::render(spec, &context.shared.launch)?,
        route_digest,
        route_is_met: live_route.is_some_and(|live| route_secret.is_met_by(live)),
        route_secret,
        route,
        admin_token: secrets.admin_token.clone(),
        keys: route::keys(spec, secrets, now),
        next_key_end: route::next_key_end(spec, secrets, now),
        secret_kept_for: secrets.kept_for.clone(),
        sinks_unresolved: route::unresolved(spec, secrets, addresses),
    })
}

async fn execute(
    webhook: &LinktreeWebhook,
    spec: Option<(&Spec, &Rendered)>,
    context: &Context,
    plan: &Plan,
) -> Outcome {
    let connection = object_key::of_connection(webhook);
    let account = match spec {
        Some(_) => context.shared.accounts.get(&connection),
        None => context.shared.accounts.last_known(&connection),
    };
    let executor = Executor { context, webhook, spec, account };
    let outcome = executor.execute(&plan.steps).await;
    for failure in &outcome.failures {
        let (namespace, webhook) = (&connection.0, webhook.name_any());
        if failure.waits() {
            tracing::debug!(namespace, webhook, ?failure, "a step waits for its turn");
        } else {
            tracing::warn!(namespace, webhook, ?failure, "a step failed");
        }
    }
    outcome
}

/// Remembers how the calls to Linktree went.
fn note(outcome: &Outcome, plan: &Plan, generation: Option<i64>, memory: &mut Memory) {
    match outcome.linktree_error() {
        Some((of, error)) => memory.failed(of, error, generation, clock::now()),
        None if outcome.secret_lost() => memory.secret_lost(generation, clock::now()),
        None if plan.steps.iter().any(plan::Step::calls_linktree) => memory.succeeded(),
        None => {}
    }
}

/// What the status of a webhook says after a look.
enum Stands {
    /// All there is to say, at this version.
    All(Version),
    /// Counters wait until they are due; or somebody has changed the rest of the webhook during the look.
    Part,
    /// What another operator has written since: all is to be decided anew.
    Another,
}

/// One status write, none if nothing changed. `left` is the webhook as the steps of this look have left it.
async fn write(
    webhook: &LinktreeWebhook,
    left: &LinktreeWebhook,
    context: &Context,
    next: LinktreeWebhookStatus,
    memory: &mut Memory,
) -> Result<Stands, Error> {
    let now = clock::now();
    let none = LinktreeWebhookStatus::default();
    let next = match status::worth_writing(left.status.as_ref().unwrap_or(&none), next, memory.counters_due(now)) {
        Worth::Nothing => return Ok(Stands::All(Version::of(left))),
        Worth::Later => return Ok(Stands::Part),
        Worth::Now(next) => *next,
    };
    let api = api(&webhook.namespace().unwrap_or_default(), context);
    let Some(written) = apply::replace_status(&api, left, &next).await? else {
        return Ok(Stands::Another);
    };
    memory.reported(now);
    Ok(if rest::is_as_read(webhook, &written) { Stands::All(Version::of(&written)) } else { Stands::Part })
}

fn api(namespace: &str, context: &Context) -> Api<LinktreeWebhook> {
    Api::namespaced(context.shared.client.clone(), namespace)
}
