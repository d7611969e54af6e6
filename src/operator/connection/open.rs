//! Opens the account of a connection: a shared one if the registry has it for the same credentials, or a new one.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use url::Url;

use super::{account_opener::AccountOpener, context::Context, decide::Token};
use crate::{
    api::connection::{LinktreeConnection, LinktreeConnectionStatus, RequestBudgetStatus},
    clock,
    linktree::client::{HttpLinktree, PAGE_LIMIT},
    operator::{
        account::{Account, ReservationStore, limiter::Budget, registry::Credentials, resumed},
        kubernetes::{
            apply, error::ReconcileError, field_manager::FieldManager, guarded::GuardedApi, object_key::ObjectKey,
            secret_value::secret_value,
        },
        watch::index::IndexEntry,
    },
};

/// Reads the token from its Secret and opens the account. Reconciliations get the same account until the base URL or
/// the token changes.
pub(super) async fn open(
    context: &Context,
    connection: &LinktreeConnection,
    key: &ObjectKey,
) -> Result<(Token, Option<Arc<Account>>), ReconcileError> {
    let accounts = &context.accounts;
    let secrets: GuardedApi<Secret> = GuardedApi::namespaced(context.opener.client.clone(), &key.namespace);
    let reference = &connection.spec.token_secret_ref;
    let data = secrets.get_opt(&reference.name).await?.and_then(|secret| secret.into_inner().data).unwrap_or_default();
    let Some(token) = data.get(&reference.key).and_then(|bytes| secret_value(&bytes.0)) else {
        accounts.forget(key);
        return Ok((Token::Missing, None));
    };
    let credentials = Credentials::new(&connection.spec.base_url, token);
    let requests_per_minute = usize::try_from(connection.spec.request_budget.requests_per_minute).unwrap_or(1);
    let budget = if accounts.contains(&credentials) {
        Budget::new(requests_per_minute)
    } else if let Some(left) = accounts.left_budget(&credentials) {
        left
    } else {
        resumed_budget(context, key, requests_per_minute).await?
    };
    let joins = accounts.get(key).is_none();
    let account = accounts.get_or_create(key, &credentials, requests_per_minute, || {
        let base = Url::parse(credentials.base_url()).map_err(|_| ())?;
        let AccountOpener { client, manager, transport, timeout, leadership, metrics } = &context.opener;
        let linktree = HttpLinktree::new(transport, base, credentials.token(), *timeout);
        Ok::<_, ()>(Account::new(
            Box::new(linktree.map_err(|_| ())?),
            Box::new(ConnectionStatuses(client.clone(), manager.clone())),
            leadership.clone(),
            budget,
            metrics.clone(),
        ))
    });
    Ok(match account {
        Ok(account) => {
            if joins {
                account.assume_registrations(registrations(&context.indexes.by_connection(key)), clock::now());
            }
            (Token::Present, Some(account))
        }
        Err(()) => {
            accounts.forget(key);
            (Token::Unusable, None)
        }
    })
}

/// The request budget that an earlier process may have left over, from the connection's status. It is read from the API
/// server, since a cache may lack that process's last writes.
async fn resumed_budget(
    context: &Context,
    key: &ObjectKey,
    requests_per_minute: usize,
) -> Result<Budget, ReconcileError> {
    let api: GuardedApi<LinktreeConnection> = GuardedApi::namespaced(context.opener.client.clone(), &key.namespace);
    let status =
        api.get_opt(&key.name).await?.and_then(|connection| connection.into_inner().status).unwrap_or_default();
    let subscriptions = status.subscriptions.map_or(0, |counts| counts.managed.saturating_add(counts.unmanaged));
    Ok(resumed(
        requests_per_minute,
        status.request_budget.as_ref(),
        usize::try_from(subscriptions).unwrap_or(0),
        PAGE_LIMIT,
        clock::steady(),
    ))
}

/// The registrations recorded in the webhooks' statuses: when each started, and whether Linktree answered it.
fn registrations(webhooks: &[Arc<IndexEntry>]) -> impl Iterator<Item = (Timestamp, bool)> {
    webhooks.iter().filter_map(|webhook| Some((webhook.begun?, webhook.subscription.is_some())))
}

/// Writes reservations into the statuses of connections.
struct ConnectionStatuses(Client, FieldManager);

#[async_trait]
impl ReservationStore for ConnectionStatuses {
    async fn write(&self, connection: &ObjectKey, budget: &RequestBudgetStatus) -> Result<(), String> {
        let api: GuardedApi<LinktreeConnection> = GuardedApi::namespaced(self.0.clone(), &connection.namespace);
        // Applies the whole status, as the reconciler does. After a patch of this field alone, the reconciler's
        // server-side apply could no longer remove the field.
        let found = match api.get_opt(&connection.name).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            // The rights in a namespace that is being deleted may go before its connections. Its subscriptions can then
            // still be deleted, and no successor process can read the token, or a reservation.
            Err(kube::Error::Api(status)) if status.code == 403 => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let status = LinktreeConnectionStatus {
            request_budget: Some(budget.clone()),
            ..found.into_inner().status.unwrap_or_default()
        };
        match apply::apply_status(&api, &connection.name, &status, self.1.as_str()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
