//! Reconciles a `LinktreeConnection`: one account, one request budget, and one paged list per sync period that serves
//! every webhook of the connection.

use std::{sync::Arc, time::Duration};

use kube::{
    Api, ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};
use url::Url;

use self::{
    decide::{Plan, Token},
    report::Report,
};
use super::{
    account::{Account, Credentials, Key},
    apply,
    budget::Budget,
    context::Context,
    requests,
    webhook::{Error, render},
};
use crate::{
    api::{condition::Reason, connection::LinktreeConnection},
    clock,
    linktree::{client::HttpLinktree, error::ApiError},
};

mod decide;
mod inventory;
mod list;
mod report;

/// What a failed call means for a connection.
#[must_use]
pub fn reason(error: &ApiError) -> Reason {
    match error {
        ApiError::TokenRejected { .. } => Reason::TokenRejected,
        ApiError::PlanExcludesWebhooks { .. } => Reason::PlanExcludesWebhooks,
        ApiError::TooManyRequests { .. } => Reason::QuotaExhausted,
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
    let key = (connection.namespace().unwrap_or_default(), connection.name_any());
    if connection.metadata.deletion_timestamp.is_some() {
        context.shared.accounts.forget(&key);
        look_at_webhooks(&context, &key);
        return Ok(Action::await_change());
    }
    let (token, account) = open(&context, &connection, &key).await?;
    let listed_at = account.as_ref().and_then(|account| account.snapshot()).map(|snapshot| snapshot.listed_at);
    let handled = connection.status.as_ref().and_then(|status| status.last_handled_sync_request.as_deref());
    let requested = requests::pending(&*connection, requests::SYNC, handled);
    let list_wanted = requested.is_some() || account.as_ref().is_some_and(|account| account.list_wanted());
    let trouble = || account.as_ref().and_then(|account| account.trouble());
    let hold_until = account.as_ref().and_then(|account| account.hold_until());
    let hold_until = decide::hold(hold_until, trouble().as_ref(), requested.is_some());
    let plan = decide::decide(&connection.spec, token, listed_at, list_wanted, hold_until, clock::now());

    if let (Plan::List, Some(account)) = (plan, &account) {
        list::list(account, &context.webhooks_of(&key)).await;
    }
    if plan.changes_what_webhooks_see() {
        look_at_webhooks(&context, &key);
    }

    let report = Report {
        connection: &connection,
        token,
        account: account.as_deref(),
        webhooks: &context.webhooks_of(&key),
        listed: plan == Plan::List,
        handled_sync_request: requested.filter(|_| decide::handles_request(plan, trouble().as_ref())),
        now: clock::now(),
    };
    let next = report.status();
    if connection.status.as_ref() != Some(&next) {
        let api: Api<LinktreeConnection> = Api::namespaced(context.shared.client.clone(), &key.0);
        apply::apply_status(&api, &key.1, &next).await?;
    }
    Ok(Action::requeue(requeue(&connection, account.as_deref())))
}

/// The token and the account it opens. The account lives on as long as base URL and token are the same.
async fn open(
    context: &Context,
    connection: &LinktreeConnection,
    key: &Key,
) -> Result<(Token, Option<Arc<Account>>), Error> {
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(context.shared.client.clone(), &key.0);
    let reference = &connection.spec.token_secret_ref;
    let data = secrets.get_opt(&reference.name).await?.and_then(|secret| secret.data).unwrap_or_default();
    let Some(token) = data.get(&reference.key).and_then(|bytes| render::secret(&bytes.0)) else {
        context.shared.accounts.forget(key);
        return Ok((Token::Missing, None));
    };
    let credentials = Credentials { base_url: connection.spec.base_url.clone(), token };
    let requests_per_minute = usize::try_from(connection.spec.request_budget.requests_per_minute).unwrap_or(1);
    let made = context.shared.accounts.get_or_make(key, &credentials, || {
        let base = Url::parse(&credentials.base_url).map_err(|_| ())?;
        let client =
            HttpLinktree::new(&context.shared.transport, base, &credentials.token, context.shared.linktree_timeout)
                .map_err(|_| ())?;
        let (leadership, metrics) = (context.shared.leadership.clone(), context.shared.metrics.clone());
        Ok::<_, ()>(Account::new(Box::new(client), leadership, Budget::new(requests_per_minute), metrics))
    });
    match made {
        Ok(account) => {
            account.resize_budget(requests_per_minute);
            Ok((Token::Present, Some(account)))
        }
        Err(()) => {
            context.shared.accounts.forget(key);
            Ok((Token::Unusable, None))
        }
    }
}

fn look_at_webhooks(context: &Context, connection: &Key) {
    for webhook in context.webhooks_of(connection) {
        if context.look_at_webhook.try_send(ObjectRef::from_obj(&*webhook)).is_err() {
            tracing::debug!("many webhooks wait to be looked at; the others come with their period");
        }
    }
}

/// When to look again: at the end of the period, a little spread so that many connections do not list at once, or when
/// Linktree may be asked again.
fn requeue(connection: &LinktreeConnection, account: Option<&Account>) -> Duration {
    let period = Duration::from_secs(u64::try_from(connection.spec.sync_period_seconds).unwrap_or(300));
    let held = account.and_then(Account::hold_until).map(|until| until.duration_since(clock::now()));
    match held.map(Duration::try_from) {
        Some(Ok(wait)) => wait + Duration::from_millis(50),
        Some(Err(_)) | None => period.mul_f64(1.0 - 0.1 * rand::random::<f64>()),
    }
}
