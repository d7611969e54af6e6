//! Reconciles a `LinktreeConnection`: one account, one request budget, and one paged list per sync period that serves
//! every webhook of the connection.

use std::{sync::Arc, time::Duration};

use kube::{Api, runtime::controller::Action};

use self::{decide::Plan, status::Report};
use super::{
    account::Account,
    context::Context,
    kubernetes::{
        annotations, apply,
        object_key::{self, Key},
    },
    webhook::Error,
};
use crate::{
    api::{condition::Reason, connection::LinktreeConnection},
    clock, jitter,
    linktree::error::ApiError,
};

pub mod decide;
mod inventory;
mod list;
mod open;
mod status;

/// What a failed call means for a connection.
#[must_use]
pub fn reason(error: &ApiError) -> Reason {
    match error {
        ApiError::TokenRejected { .. } => Reason::TokenRejected,
        ApiError::PlanExcludesWebhooks { .. } => Reason::PlanExcludesWebhooks,
        ApiError::NotYet { .. } | ApiError::TooManyRequests { .. } => Reason::QuotaExhausted,
        ApiError::NotFound
        | ApiError::Unsupported { .. }
        | ApiError::Conflict { .. }
        | ApiError::Invalid { .. }
        | ApiError::Server { .. }
        | ApiError::Unreadable { .. }
        | ApiError::TimedOut { .. }
        | ApiError::Unreachable { .. } => Reason::LinktreeUnavailable,
    }
}

/// Looks at one connection: lists the account if it is time to, and says how it stands.
///
/// # Errors
/// When Kubernetes cannot be read or written; the look is then repeated.
pub async fn reconcile(connection: Arc<LinktreeConnection>, context: Arc<Context>) -> Result<Action, Error> {
    let key = object_key::of(&*connection);
    if connection.metadata.deletion_timestamp.is_some() {
        context.shared.accounts.forget(&key);
        look_at_webhooks(&context, &key);
        return Ok(Action::await_change());
    }
    let (token, account) = open::open(&context, &connection, &key).await?;
    let listed_at = account.as_ref().and_then(|account| account.snapshot()).map(|snapshot| snapshot.listed_at);
    let handled = connection.status.as_ref().and_then(|status| status.last_handled_sync_request.as_deref());
    let requested = annotations::pending(&*connection, annotations::SYNC, handled);
    let list_wanted = requested.is_some() || account.as_ref().is_some_and(|account| account.list_wanted());
    let trouble = || account.as_ref().and_then(|account| account.trouble());
    let hold_until = account.as_ref().and_then(|account| account.hold_until());
    let hold_until = decide::hold(hold_until, trouble().as_ref(), requested.is_some());
    let took = account.as_ref().map(|account| account.list_took()).unwrap_or_default();
    let plan = decide::decide(&connection.spec, token, listed_at, took, list_wanted, hold_until, clock::now());

    let mut heard = false;
    if let (Plan::List, Some(account)) = (plan, &account) {
        account.reconsider_capabilities(requested.is_some(), clock::now());
        let all = [context.shared.accounts.sharing_with(&key), vec![key.clone()]].concat();
        heard = list::list(account, &key, &context.shared.webhooks.of(&all)).await;
    }
    if plan.changes_what_webhooks_see() {
        look_at_webhooks(&context, &key);
    }

    let sharing = context.shared.accounts.sharing_with(&key);
    // Between what it says of the budget and its being written, nothing newer may be.
    let _held = match &account {
        Some(account) => Some(account.hold_announcements().await),
        None => None,
    };
    let report = Report {
        connection: &connection,
        token,
        account: account.as_deref(),
        webhooks: &context.webhooks_of(&key),
        webhooks_sharing: &context.shared.webhooks.of(&sharing),
        handled_sync_request: requested.filter(|_| decide::handles_request(plan, heard)),
        now: clock::now(),
    };
    let next = report.status();
    if connection.status.as_ref() != Some(&next) {
        let api: Api<LinktreeConnection> = Api::namespaced(context.shared.client.clone(), &key.0);
        apply::apply_status(&api, &key.1, &next).await?;
    }
    Ok(Action::requeue(requeue(&connection, account.as_deref())))
}

fn look_at_webhooks(context: &Context, connection: &Key) {
    for webhook in context.webhooks_of(connection) {
        if context.look_at_webhook.try_send(Arc::clone(&webhook.key)).is_err() {
            tracing::debug!("many webhooks wait to be looked at; the others come with their period");
        }
    }
}

/// When to look again.
fn requeue(connection: &LinktreeConnection, account: Option<&Account>) -> Duration {
    let now = clock::now();
    let took = account.map(Account::list_took).unwrap_or_default();
    let pause = decide::pause(connection.spec.sync_period_seconds, took, jitter::fraction());
    let listed_at = account.and_then(Account::snapshot).map(|snapshot| snapshot.listed_at);
    let due = listed_at.and_then(|listed_at| listed_at.checked_add(pause).ok());
    let announced_until = account.and_then(|account| account.budget_status(now).reset_time).map(|reset| reset.0);
    decide::next_look(account.and_then(Account::hold_until), due, announced_until, now).unwrap_or(pause)
}
