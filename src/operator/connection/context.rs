//! The dependencies of the connection controller.

use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use super::account_opener::AccountOpener;
use crate::operator::{account::registry::Accounts, kubernetes::object_key::ObjectKey, watch::index::Indexes};

/// Context of the connection reconciler of one scope.
pub struct Context {
    pub accounts: Arc<Accounts>,
    pub opener: AccountOpener,
    /// Webhooks of all scopes, since connections of several scopes may share an account.
    pub indexes: Indexes,
    pub webhook_requests: Sender<Arc<ObjectKey>>,
}
