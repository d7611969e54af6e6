//! The dependencies of the webhook controller.

use std::sync::Arc;

use kube::{
    Client,
    runtime::reflector::{ObjectRef, Store},
};
use tokio::sync::mpsc::Sender;

use super::{
    addressable::Resolver, compiler::Compiler, probe::Probe, receiver_client::Receivers,
    render::pod_config::ReceiverPodConfig, states::WebhookStates,
};
use crate::{
    api::connection::LinktreeConnection,
    operator::{
        account::registry::Accounts,
        kubernetes::{events::Events, field_manager::FieldManager, guarded::Guarded, object_key::ObjectKey},
        watch::{
            index::{Indexes, WebhookIndex},
            observed_versions::ObservedVersions,
        },
    },
};

/// The dependencies of the webhook controller in one scope.
pub struct Context {
    pub cluster: Cluster,
    pub connections: Connections,
    pub receivers: ReceiverAccess,
    pub index: Arc<WebhookIndex>,
    pub versions: Arc<ObservedVersions>,
    pub states: WebhookStates,
}

/// API client, and helpers that use it.
#[derive(Clone)]
pub struct Cluster {
    /// Sends writes only while this process is the leader.
    pub client: Client,
    pub events: Events,
    pub manager: FieldManager,
    pub addressables: Resolver,
}

/// The cached connections of one scope, and their accounts.
pub struct Connections {
    pub objects: Store<Guarded<LinktreeConnection>>,
    pub accounts: Arc<Accounts>,
    /// Indexes of all scopes, since connections of several scopes may share an account.
    pub indexes: Indexes,
    pub requests: Sender<ObjectRef<Guarded<LinktreeConnection>>>,
}

/// Pod settings of the receivers, the compiler of the programs that they run, and the clients that connect to them.
#[derive(Clone)]
pub struct ReceiverAccess {
    pub prober: Arc<dyn Probe>,
    pub client: Arc<dyn Receivers>,
    pub pod: ReceiverPodConfig,
    pub compiler: Compiler,
}

impl Context {
    /// Drops the in-memory state and the observed versions of a deleted webhook.
    pub fn forget(&self, webhook: &ObjectKey) {
        self.states.remove(webhook);
        self.versions.forget(webhook);
        self.receivers.compiler.forget(webhook);
    }
}

impl Connections {
    /// Enqueues a connection. If its queue is full, the connection waits for its next resync.
    pub fn request_reconcile(&self, connection: &ObjectKey) {
        if self.requests.try_send(connection.object_ref()).is_err() {
            tracing::debug!(%connection, "connection queue full, waiting for resync");
        }
    }
}
