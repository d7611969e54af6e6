//! Reconciler of `LinktreeConnection`s: one account, one request budget, and one paged list per sync period for all
//! webhooks of the connection. This file runs the stages; each stage is a module.

use std::{sync::Arc, time::Duration};

use kube::runtime::controller::Action;

use self::{
    context::Context,
    decide::{ListState, Plan},
    status::Report,
};
use super::{
    account::Account,
    kubernetes::{
        annotations, apply,
        claim::Claim,
        error::ReconcileError,
        guarded::{FieldProblem, Guarded, GuardedApi},
        object_key::ObjectKey,
    },
};
use crate::{api::connection::LinktreeConnection, clock, jitter};

pub mod account_opener;
pub mod context;
pub mod decide;
mod inventory;
mod list;
mod open;
mod status;

/// Resync interval of a connection with an invalid spec. A watch event reports its correction; the resync covers a
/// missed event.
const RESYNC_INVALID: Duration = Duration::from_secs(300);

/// Resync interval of a connection that another operator manages.
const RESYNC_ANOTHERS: Duration = Duration::from_secs(60);

/// Reconciles one connection: lists the account if the next list is due, and writes the connection's status.
///
/// # Errors
/// When a request to the API server fails; the reconciliation is then retried.
pub async fn reconcile(
    connection: Arc<Guarded<LinktreeConnection>>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let key = ObjectKey::of(&*connection);
    if connection.metadata.deletion_timestamp.is_some() {
        context.accounts.forget(&key);
        enqueue_webhooks(&context, &key);
        return Ok(Action::await_change());
    }
    if let Claim::Another(operator) = Claim::of(&connection.metadata, &context.opener.manager) {
        tracing::debug!(connection = %key, operator, "another operator manages the connection");
        context.accounts.forget(&key);
        return Ok(Action::requeue(RESYNC_ANOTHERS));
    }
    if let Some(problem) = connection.spec_problem() {
        return reject_invalid(&connection, problem, &context).await;
    }
    let (token, account) = open::open(&context, &connection, &key).await?;
    let handled = connection.status.as_ref().and_then(|status| status.last_handled_sync_request.as_deref());
    let requested = annotations::pending(&**connection, annotations::SYNC, handled);
    let last_error = account.as_ref().and_then(|account| account.last_error());
    let hold_until = account.as_ref().and_then(|account| account.hold_until());
    let state = ListState {
        listed_at: account.as_ref().and_then(|account| account.snapshot()).map(|snapshot| snapshot.listed_at),
        took: account.as_ref().map(|account| account.list_took()).unwrap_or_default(),
        requested: requested.is_some() || account.as_ref().is_some_and(|account| account.relist_requested()),
        hold_until: decide::hold(hold_until, last_error.as_ref(), requested.is_some()),
    };
    let plan = decide::decide(&connection.spec, token, &state, clock::now());

    let mut answered = false;
    if let (Plan::List, Some(account)) = (plan, &account) {
        account.reconsider_capabilities(requested.is_some(), clock::now());
        let all = [context.accounts.sharing_with(&key), vec![key.clone()]].concat();
        answered = list::list(account, &key, &context.indexes.by_connections(&all)).await;
    }
    if plan.changes_what_webhooks_see() {
        enqueue_webhooks(&context, &key);
    }

    let sharing = context.accounts.sharing_with(&key);
    // The reservation must not change between the computation of the status and its write.
    let _lock = match &account {
        Some(account) => Some(account.lock_reservation().await),
        None => None,
    };
    let report = Report {
        connection: &connection,
        token,
        account: account.as_deref(),
        webhooks: &context.indexes.by_connection(&key),
        webhooks_sharing: &context.indexes.by_connections(&sharing),
        handled_sync_request: requested.filter(|_| decide::handles_request(plan, answered)),
        now: clock::now(),
    };
    let next = report.status();
    if connection.status.as_ref() != Some(&next) {
        apply::apply_status(&api(&context, &key), &key.name, &next, context.opener.manager.as_str()).await?;
    }
    Ok(Action::requeue(requeue(&connection, account.as_deref())))
}

/// Reports a spec that cannot be read. Calls nothing at Linktree with the account of an earlier spec, except for webhooks
/// that are being deleted.
async fn reject_invalid(
    connection: &LinktreeConnection,
    problem: &FieldProblem,
    context: &Context,
) -> Result<Action, ReconcileError> {
    let key = ObjectKey::of(connection);
    if context.accounts.get(&key).is_some() {
        context.accounts.forget(&key);
        enqueue_webhooks(context, &key);
    }
    let next = status::invalid(connection, problem, clock::now());
    if connection.status.as_ref() != Some(&next) {
        apply::apply_status(&api(context, &key), &key.name, &next, context.opener.manager.as_str()).await?;
    }
    Ok(Action::requeue(RESYNC_INVALID))
}

fn api(context: &Context, key: &ObjectKey) -> GuardedApi<LinktreeConnection> {
    GuardedApi::namespaced(context.opener.client.clone(), &key.namespace)
}

/// Enqueues all webhooks of a connection. A webhook for which the queue is full waits for its resync.
fn enqueue_webhooks(context: &Context, connection: &ObjectKey) {
    for webhook in context.indexes.by_connection(connection) {
        if context.webhook_requests.try_send(Arc::clone(&webhook.key)).is_err() {
            tracing::debug!(webhook = %webhook.key, "webhook queue full, waiting for resync");
        }
    }
}

/// The requeue delay of a connection.
fn requeue(connection: &LinktreeConnection, account: Option<&Account>) -> Duration {
    let now = clock::now();
    let took = account.map(Account::list_took).unwrap_or_default();
    let pause = decide::pause(connection.spec.sync_period_seconds, took, jitter::fraction());
    let listed_at = account.and_then(Account::snapshot).map(|snapshot| snapshot.listed_at);
    let due = listed_at.and_then(|listed_at| listed_at.checked_add(pause).ok());
    let reserved_until = account.and_then(|account| account.budget_status(now).reset_time).map(|reset| reset.0);
    decide::next_reconcile(account.and_then(Account::hold_until), due, reserved_until, now).unwrap_or(pause)
}
