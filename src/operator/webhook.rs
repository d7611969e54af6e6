//! Reconciles a `LinktreeWebhook`: spec → observe → decide → execute → status. This file runs the stages; each has a
//! file of its own.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tracing::Instrument;

use self::{
    compiler::Compiled,
    context::Context,
    execute::Executor,
    glance::Glance,
    outcome::Outcome,
    plan::Plan,
    render::{Rendered, render},
    rest::Rest,
    spec::{Deletion, InvalidSpec, Spec},
    state::{ConnectionVersion, WebhookState},
    status::{
        Report,
        diff::{Change, Due, StatusDiff},
        knative,
        notice::{self, Notice},
        transitions,
    },
    told::Told,
};
use super::{
    account::Account,
    kubernetes::{
        apply::{self, standing::Standing},
        claim::Claim,
        error::ReconcileError,
        guarded::{Guarded, GuardedApi},
        object_key::ObjectKey,
    },
    watch::observed_versions::Version,
};
use crate::{
    api::{connection::LinktreeConnection, webhook::LinktreeWebhook, webhook_status::LinktreeWebhookStatus},
    clock, jitter,
};

mod account_identity;
pub mod addressable;
pub mod applied_children;
pub mod challenge;
pub mod compiler;
pub mod context;
pub mod correction;
pub mod creation;
pub mod decide;
mod execute;
mod glance;
pub mod journal_claims;
mod observe;
pub mod observed;
pub mod outcome;
mod ownership;
pub mod plan;
pub mod probe;
pub mod receiver_client;
pub mod render;
pub mod rest;
pub mod route_keys;
mod second_operator;
mod sink_failures;
pub mod spec;
pub mod state;
pub mod states;
pub mod status;
mod subscription_record;
mod told;
mod url_proof;
mod write_budget;

/// Time after the deadline of a deletion at which another operator that manages the webhook counts as gone.
const RELEASE_GRACE: SignedDuration = SignedDuration::from_mins(5);
/// Requeue delay for a webhook that the API server did not find although the watch's index has it.
const REQUEUE_NOT_FOUND: Duration = Duration::from_secs(5);
/// Requeue delay of a webhook whose filters and templates are still being compiled.
const REQUEUE_NOT_COMPILED: Duration = Duration::from_secs(1);
/// Requeue delay after steps were performed, to observe their effect.
const REQUEUE_SOON: Duration = Duration::from_millis(200);
/// Resync interval of a webhook with an invalid spec. A watch event reports its correction; the resync covers a missed
/// event.
const RESYNC_INVALID: Duration = Duration::from_secs(300);

/// Reconciles one webhook. For a settled one, a poll of its receiver replaces the full reconciliation.
///
/// Returns the requeue delay; `None` if the webhook is deleted and must not be requeued.
///
/// # Errors
/// When a request to the API server fails; the reconciliation is then retried.
pub async fn reconcile(webhook: Arc<ObjectKey>, context: Arc<Context>) -> Result<Option<Duration>, ReconcileError> {
    let Some(known) = context.index.get(&webhook) else {
        context.forget(&webhook);
        return Ok(None);
    };
    match glance::at(&context, &known).await {
        Glance::AtRest(next) => Ok(Some(next)),
        // Boxed, since a full reconciliation needs far more memory than a poll, and most reconciliations end with the
        // poll.
        Glance::Look(told) => {
            let span = tracing::info_span!("reconcile", namespace = webhook.namespace, webhook = webhook.name);
            Box::pin(reconcile_in_full(&known.key, &context, &told)).instrument(span).await
        }
    }
}

async fn reconcile_in_full(
    key: &Arc<ObjectKey>,
    context: &Context,
    told: &Told,
) -> Result<Option<Duration>, ReconcileError> {
    // Read from the API server: the watch may lag behind our own last write and lack the subscription id in that write.
    let Some(webhook) = api(&key.namespace, context).get_opt(&key.name).await? else {
        // Either the watch will report the deletion too, or the 404 was wrong, as that of a proxy can be, and the next
        // read finds the webhook.
        return Ok(Some(REQUEUE_NOT_FOUND));
    };
    let mut state = context.states.get(key).of(webhook.uid().as_ref(), clock::now());
    state.rests(None);
    let claim = second_operator::claim(context, &webhook);
    // Another operator that runs releases the webhook by its deadline.
    let is_overdue = webhook.metadata.deletion_timestamp.as_ref().is_some_and(|deleted_at| {
        let deadline = deleted_at.0.saturating_add(deletion_terms(&webhook).deadline).unwrap_or(Timestamp::MAX);
        clock::now().duration_since(deadline) > RELEASE_GRACE
    });
    if let Claim::Another(operator) = &claim
        && !is_overdue
    {
        let left = second_operator::leave_alone(context, &webhook, operator, &mut state, clock::now()).await;
        context.states.set(key, state);
        return left.map(Some);
    }
    state.with_connection(connection_version(&webhook, context));
    let spec = match webhook.spec_problem() {
        Some(problem) => Err(problem.into()),
        None => Spec::parse(&webhook),
    };
    let spec = match spec {
        Ok(spec) if webhook.metadata.deletion_timestamp.is_none() => {
            match context.receivers.compiler.compile(key, &spec).await {
                Compiled::Valid => Ok(spec),
                Compiled::Invalid(error) => Err(error),
                Compiled::NotYet => return Ok(Some(REQUEUE_NOT_COMPILED)),
            }
        }
        spec => spec,
    };
    let result = match (&webhook.metadata.deletion_timestamp, spec) {
        (Some(deleted_at), _) => {
            finalize((&webhook, deletion_terms(&webhook)), deleted_at.0, context, &mut state).await
        }
        (None, Ok(spec)) => reconcile_live(&webhook, &spec, (key, context, &claim), &mut state, told).await,
        (None, Err(error)) => reject_invalid(&webhook, &error, context, &mut state).await,
    };
    if matches!(result, Ok(None)) {
        context.forget(key);
    } else {
        context.states.set(key, state);
    }
    result
}

async fn reconcile_live(
    webhook: &LinktreeWebhook,
    spec: &Spec,
    (key, context, claim): (&Arc<ObjectKey>, &Context, &Claim),
    state: &mut WebhookState,
    told: &Told,
) -> Result<Option<Duration>, ReconcileError> {
    let valid_until = begin(webhook, key, context, state);
    let (secrets, live_route) = observe::secrets(context, spec, state).await?;
    let current = || observe::current_route(webhook, live_route.as_ref());
    let addresses = context.cluster.addressables.resolve(&context.cluster.client, spec, current).await;
    let rendered = render(spec, &secrets, &addresses, &context.receivers.pod, clock::now())?;
    let subject = observe::Subject { webhook, spec, rendered: &rendered, told, live_route: live_route.as_ref(), claim };
    let observed = observe::observe(context, &subject, state, clock::now()).await?;
    if let Some(operator) = observed.applied_by_another() {
        return second_operator::leave_alone(context, webhook, operator, state, clock::now()).await.map(Some);
    }
    let plan = decide::decide(spec, &observed, clock::now());
    let requeue = plan.requeue;
    let repeats = state.repeats(&plan.steps);
    let rest = Rest::after(spec, &observed, &rendered.admin_token, &plan, Version::of(webhook), valid_until);

    let account = context.connections.accounts.get(&ObjectKey::connection_of(webhook));
    let mut outcome = execute(webhook, Some((spec, &rendered)), account, context, &plan).await;
    if outcome.outdated {
        return Ok(Some(REQUEUE_SOON));
    }
    record_calls(&mut outcome, &plan, spec.generation, state);
    let reverted = decide::children::reverted(spec, &observed, &outcome.applied);
    for (child, applied) in std::mem::take(&mut outcome.applied) {
        let is_revert = observed.children.get(&child).is_some_and(Standing::is_revert);
        state.applied.record(child, applied, is_revert, clock::now());
    }
    if outcome.updated {
        let drift = plan.subscription.as_ref().map(|subscription| subscription.drift.as_slice());
        state.corrected(spec.generation, drift.unwrap_or_default(), clock::now());
    }

    let report = Report {
        generation: spec.generation,
        url: spec.url.as_str(),
        route: (!spec.is_external()).then_some(&rendered.route),
        observed: &observed,
        plan,
        outcome: &outcome,
        hold_until: state.hold_until(spec.generation),
        now: clock::now(),
    };
    let next = knative::with_fields(spec, &addresses, report.status());
    let mut notices = transitions::between(&observed.status, &next);
    notices.extend(reverted.map(|note| notice::normal("EditReverted", note)));
    match write_status(webhook, outcome.left(webhook), context, next, state).await? {
        StatusWrite::Complete(version) => state.rests(rest.map(|rest| rest.left_at(version))),
        StatusWrite::Partial => {}
        StatusWrite::Conflict => return Ok(Some(REQUEUE_SOON)),
    }
    for Notice { event_type, reason, note } in notices {
        context.cluster.events.publish(webhook, event_type, reason, note).await;
    }
    let progress = outcome.performed > 0 && outcome.failures.is_empty() && !repeats;
    let hold_until = state.hold_until(spec.generation);
    Ok(Some(if progress { REQUEUE_SOON } else { no_later(requeue, hold_until, clock::now()) }))
}

/// The spec and the token of the webhook's connection; `None` if it has no account now.
fn connection_version(webhook: &LinktreeWebhook, context: &Context) -> Option<ConnectionVersion> {
    let key = ObjectKey::connection_of(webhook);
    let object = context.connections.objects.get(&key.object_ref::<Guarded<LinktreeConnection>>())?;
    let account = context.connections.accounts.get(&key)?.number();
    Some(ConnectionVersion { generation: object.metadata.generation, account })
}

/// Returns the time until which the observed versions of the webhook's objects are valid. If they have expired, starts
/// a resync, which reads all objects again.
fn begin(webhook: &LinktreeWebhook, key: &Arc<ObjectKey>, context: &Context, state: &mut WebhookState) -> Timestamp {
    let (generation, now) = (webhook.metadata.generation, clock::now());
    state.valid_until(generation, now).unwrap_or_else(|| {
        context.versions.mark_stale(key);
        state.start_resync(generation, now, jitter::fraction())
    })
}

/// The policies for deleting a webhook. If one that decides on the subscription cannot be read, the subscription stays.
fn deletion_terms(webhook: &Guarded<LinktreeWebhook>) -> Deletion {
    let policies = ["spec.subscription.managementPolicy", "spec.subscription.deletionPolicy"];
    let read = policies.iter().all(|policy| webhook.has_read(policy));
    if read { Deletion::of(&webhook.spec.subscription) } else { Deletion::UNREADABLE }
}

async fn finalize(
    (webhook, terms): (&LinktreeWebhook, Deletion),
    deleted_at: Timestamp,
    context: &Context,
    state: &mut WebhookState,
) -> Result<Option<Duration>, ReconcileError> {
    let (mut observed, account) = observe::for_deletion(context, webhook);
    observed.hold_until = state.hold_until(webhook.metadata.generation);
    observed.unresolved = state.unresolved();
    let url = observed.status.address.as_ref().map(|address| address.url.clone());
    let plan = decide::decide_deletion(terms, url.as_deref(), &observed, deleted_at, clock::now());
    let requeue = plan.requeue;
    let mut outcome = execute(webhook, None, account, context, &plan).await;
    record_calls(&mut outcome, &plan, webhook.metadata.generation, state);
    if outcome.released || !observed.finalizer {
        return Ok(None);
    }
    let hold_until = state.hold_until(webhook.metadata.generation);
    let next =
        status::terminating(&observed.status, webhook.metadata.generation, plan, &outcome, hold_until, clock::now());
    write_status(webhook, outcome.left(webhook), context, next, state).await?;
    Ok(Some(no_later(requeue, hold_until, clock::now())))
}

/// Reports an invalid spec in the status. Changes neither the webhook's objects nor its subscription.
async fn reject_invalid(
    webhook: &LinktreeWebhook,
    error: &InvalidSpec,
    context: &Context,
    state: &mut WebhookState,
) -> Result<Option<Duration>, ReconcileError> {
    let previous = webhook.status.clone().unwrap_or_default();
    let next = status::invalid(&previous, webhook.metadata.generation, error, clock::now());
    write_status(webhook, webhook, context, next, state).await?;
    Ok(Some(RESYNC_INVALID))
}

/// The requeue delay, shortened to the end of the backoff: a webhook that waits for Linktree or for the request budget
/// is reconciled as soon as it may send its request.
fn no_later(requeue: Duration, hold_until: Option<Timestamp>, now: Timestamp) -> Duration {
    let held = hold_until.and_then(|until| Duration::try_from(until.duration_since(now)).ok());
    held.filter(|held| !held.is_zero()).map_or(requeue, |held| requeue.min(held))
}

async fn execute(
    webhook: &LinktreeWebhook,
    spec: Option<(&Spec, &Rendered)>,
    account: Option<Arc<Account>>,
    context: &Context,
    plan: &Plan,
) -> Outcome {
    let executor = Executor {
        cluster: &context.cluster,
        connections: &context.connections,
        receivers: &*context.receivers.client,
        webhook,
        spec,
        account,
    };
    let outcome = executor.execute(&plan.steps).await;
    for failure in &outcome.failures {
        let (namespace, webhook) = (webhook.namespace().unwrap_or_default(), webhook.name_any());
        if failure.waits() {
            tracing::debug!(namespace, webhook, ?failure, "step waits for the request budget");
        } else {
            tracing::warn!(namespace, webhook, ?failure, "step failed");
        }
    }
    outcome
}

/// Records whether the outcome's calls to Linktree succeeded: a failure starts the backoff, a success ends it.
fn record_calls(outcome: &mut Outcome, plan: &Plan, generation: Option<i64>, state: &mut WebhookState) {
    outcome.report_forecast(|due| state.forecast(due, clock::now()));
    match outcome.linktree_error() {
        Some((condition_type, error)) => state.failed(condition_type, error, generation, clock::now()),
        None if outcome.secret_lost() => state.secret_lost(generation, clock::now()),
        None if plan.steps.iter().any(plan::Step::calls_linktree) => state.succeeded(),
        // The registration that failed is no longer needed.
        None if plan.steps.iter().any(|step| matches!(step, plan::Step::Adopt { .. })) => state.adopted(generation),
        None => {}
    }
}

/// The result of a status write.
enum StatusWrite {
    /// The status in the API server is up to date; the webhook then has this version.
    Complete(Version),
    /// Changed counters or texts were not written since they are not due yet, or the webhook was changed during the
    /// reconciliation.
    Partial,
    /// Another client has written the status since it was read: the reconciliation must start over.
    Conflict,
}

/// Writes `next` as the status, unless it would change nothing. `left` is the webhook after the plan's steps.
async fn write_status(
    webhook: &LinktreeWebhook,
    left: &LinktreeWebhook,
    context: &Context,
    mut next: LinktreeWebhookStatus,
    state: &mut WebhookState,
) -> Result<StatusWrite, ReconcileError> {
    let now = clock::now();
    let none = LinktreeWebhookStatus::default();
    second_operator::carry_over(left.status.as_ref().unwrap_or(&none), &mut next, &context.cluster.manager, now);
    let due = Due { counters: state.counters_due(now), texts: state.texts_due(now) };
    let (change, next) = match status::diff::diff(left.status.as_ref().unwrap_or(&none), next, due) {
        StatusDiff::Nothing => return Ok(StatusWrite::Complete(Version::of(left))),
        StatusDiff::Later => return Ok(StatusWrite::Partial),
        StatusDiff::Now(change, next) => (change, *next),
    };
    let api = api(&webhook.namespace().unwrap_or_default(), context);
    let Some(written) = apply::replace_status(&api, left, &next, context.cluster.manager.as_str()).await? else {
        return Ok(StatusWrite::Conflict);
    };
    state.reported(change == Change::Texts, now);
    Ok(if rest::is_as_read(webhook, &written) {
        StatusWrite::Complete(Version::of(&written))
    } else {
        StatusWrite::Partial
    })
}

fn api(namespace: &str, context: &Context) -> GuardedApi<LinktreeWebhook> {
    GuardedApi::namespaced(context.cluster.client.clone(), namespace)
}
