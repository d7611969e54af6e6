//! The account of a connection: found among those that are open, or opened with its token.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use url::Url;

use super::decide::Token;
use crate::{
    api::connection::{LinktreeConnection, LinktreeConnectionStatus, RequestBudgetStatus},
    clock,
    linktree::client::{HttpLinktree, PAGE_LIMIT},
    operator::{
        account::{Account, Notebook, limiter::Budget, registry::Credentials, resumed},
        context::Context,
        kubernetes::{apply, object_key::Key},
        watch::index::Member,
        webhook::{Error, render::route},
    },
};

/// The token and the account it opens. The account lives on as long as base URL and token are the same.
pub(super) async fn open(
    context: &Context,
    connection: &LinktreeConnection,
    key: &Key,
) -> Result<(Token, Option<Arc<Account>>), Error> {
    let accounts = &context.shared.accounts;
    let secrets: Api<Secret> = Api::namespaced(context.shared.client.clone(), &key.0);
    let reference = &connection.spec.token_secret_ref;
    let data = secrets.get_opt(&reference.name).await?.and_then(|secret| secret.data).unwrap_or_default();
    let Some(token) = data.get(&reference.key).and_then(|bytes| route::secret(&bytes.0)) else {
        accounts.forget(key);
        return Ok((Token::Missing, None));
    };
    let credentials = Credentials { base_url: connection.spec.base_url.clone(), token };
    let requests_per_minute = usize::try_from(connection.spec.request_budget.requests_per_minute).unwrap_or(1);
    let budget = if accounts.knows(&credentials) {
        Budget::new(requests_per_minute)
    } else {
        left_over(context, key, requests_per_minute).await?
    };
    let joins = accounts.get(key).is_none();
    let made = accounts.get_or_make(key, &credentials, requests_per_minute, || {
        let base = Url::parse(&credentials.base_url).map_err(|_| ())?;
        let shared = &context.shared;
        let client = HttpLinktree::new(&shared.transport, base, &credentials.token, shared.linktree_timeout);
        let notebook = Statuses(shared.client.clone());
        Ok::<_, ()>(Account::new(
            Box::new(client.map_err(|_| ())?),
            Box::new(notebook),
            shared.leadership.clone(),
            budget,
            shared.metrics.clone(),
        ))
    });
    Ok(match made {
        Ok(account) => {
            if joins {
                account.assume_registrations(begun(&context.webhooks_of(key)), clock::now());
            }
            (Token::Present, Some(account))
        }
        Err(()) => {
            accounts.forget(key);
            (Token::Unusable, None)
        }
    })
}

/// What another process before this one may have left of the budget. Read afresh: a watch may lag behind its last words.
async fn left_over(context: &Context, key: &Key, requests_per_minute: usize) -> Result<Budget, Error> {
    let api: Api<LinktreeConnection> = Api::namespaced(context.shared.client.clone(), &key.0);
    let status = api.get_opt(&key.1).await?.and_then(|connection| connection.status).unwrap_or_default();
    let subscriptions = status.subscriptions.map_or(0, |counts| counts.managed.saturating_add(counts.unmanaged));
    Ok(resumed(
        requests_per_minute,
        status.request_budget.as_ref(),
        usize::try_from(subscriptions).unwrap_or(0),
        PAGE_LIMIT,
        clock::now(),
    ))
}

/// The registrations that the webhooks' statuses tell of.
fn begun(webhooks: &[Arc<Member>]) -> impl Iterator<Item = (Timestamp, bool)> {
    webhooks.iter().filter_map(|webhook| Some((webhook.begun?, webhook.subscription.is_some())))
}

/// The statuses of the connections.
struct Statuses(Client);

#[async_trait]
impl Notebook for Statuses {
    async fn write(&self, (namespace, name): &Key, budget: &RequestBudgetStatus) -> Result<(), String> {
        let api: Api<LinktreeConnection> = Api::namespaced(self.0.clone(), namespace);
        // The whole status, as the report applies it: what a patch of another kind had written, an apply would not take out.
        let found = api.get_opt(name).await.map_err(|error| error.to_string())?;
        let Some(connection) = found else { return Ok(()) };
        let status =
            LinktreeConnectionStatus { request_budget: Some(budget.clone()), ..connection.status.unwrap_or_default() };
        match apply::apply_status(&api, name, &status).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
