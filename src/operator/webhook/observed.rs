//! What was found out about one webhook: everything a decision is made from, and nothing else.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use jiff::Timestamp;

use super::spec::exposure::Gateway;
use crate::{
    api::{
        SecretKeyReference,
        condition::{ConditionType, Reason},
        webhook_status::LinktreeWebhookStatus,
    },
    linktree::{secret::Secret, wire::SubscriptionId},
    operator::{
        account::{Snapshot, capabilities::Capabilities},
        kubernetes::{
            conditions::{self, Finding, Status},
            object_key::ObjectKey,
        },
    },
    route::status::ReceiverStatus,
};

/// A look at the world, taken at one time.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The object carries our finalizer.
    pub finalizer: bool,
    /// The status as it stands.
    pub status: LinktreeWebhookStatus,
    pub connection: Connection,
    /// Whether the signing keys could be found.
    pub keys: Keys,
    /// The keys are others than those the status speaks of.
    pub keys_changed: bool,
    /// Which subscription the secret from Linktree is of, where we kept it.
    pub secret_kept_for: Option<SubscriptionId>,
    /// When the next of the keys ends.
    pub next_key_end: Option<Timestamp>,
    /// A person asks for a new signing secret.
    pub rotate_request: Option<String>,
    /// The digest of the route the receiver should have.
    pub route_digest: String,
    /// Which of the receiver's objects are missing or not as they should be.
    pub children_outdated: Vec<Child>,
    pub receiver: Receiver,
    /// What stands between the URL and the receiver's Service.
    pub exposure: Exposure,
    /// Objects the spec no longer asks for.
    pub stale_objects: Vec<StaleObject>,
    /// The sinks that cannot be sent to.
    pub sinks_unresolved: Vec<Unresolved>,
    /// Another webhook of the account that has a subscription with our url. Only the url of a receiver of one's own can be
    /// written twice.
    pub url_taken_by: Option<ObjectKey>,
    pub probe: ProbeResult,
    /// When that was.
    pub probed_at: Option<Timestamp>,
    /// After a failed write to Linktree: no further one before this.
    pub hold_until: Option<Timestamp>,
    /// The condition that the failed write was to fulfil: it says why, until the next try.
    pub held: Option<ConditionType>,
    /// When a registration ended without our knowing whether it took effect: what counts is a list begun since.
    pub unresolved: Option<Timestamp>,
    /// A person asks for a look at Linktree now.
    pub sync_request: Option<SyncRequest>,
}

impl Observed {
    /// The subscription that the status names.
    #[must_use]
    pub fn subscription_id(&self) -> Option<SubscriptionId> {
        self.status.subscription.as_ref()?.id.clone().map(SubscriptionId)
    }

    /// The finding that the status holds: for a condition that cannot be determined now.
    #[must_use]
    pub fn carry_over(&self, of: ConditionType) -> Finding {
        let Some(condition) = conditions::find(&self.status.conditions, of) else {
            return Finding::new(Status::Unknown, Reason::Pending, "not known yet");
        };
        let status = [Status::True, Status::False].into_iter().find(|status| status.as_str() == condition.status);
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == condition.reason);
        Finding::new(
            status.unwrap_or(Status::Unknown),
            reason.copied().unwrap_or(Reason::Pending),
            condition.message.clone(),
        )
    }
}

/// A request to look at Linktree now, and when it was first seen: what counts is a list begun since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    pub value: String,
    pub noticed_at: Timestamp,
}

/// The webhook's connection.
#[derive(Clone, Debug)]
pub enum Connection {
    /// Not usable: why, and whether only a person can change that.
    Unusable { reason: Reason, message: String },
    /// Usable, but the account was not listed yet.
    Unlisted,
    /// Usable.
    Listed {
        snapshot: Arc<Snapshot>,
        /// The base URL leads to a host inside the cluster.
        in_cluster: bool,
        capabilities: Capabilities,
    },
}

/// The signing keys the spec asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The current key is there; `missing` names the others that are not, `expired` those whose time is over.
    Found { active: String, missing: Vec<SecretKeyReference>, expired: Vec<String> },
    /// The time of every key is over.
    Expired,
    /// The current key, which the user was to supply, is not there.
    CurrentMissing(SecretKeyReference),
    /// There is no secret from Linktree yet; it belongs into this Secret key.
    ProviderMissing(SecretKeyReference),
}

/// The values of the Secret keys the spec speaks of; a key that is missing or empty is not here.
#[derive(Clone, Debug)]
pub struct Secrets {
    pub values: BTreeMap<SecretKeyReference, Secret>,
    /// Which subscription the secret from Linktree is of, where we kept it.
    pub kept_for: Option<SubscriptionId>,
    /// Until when the secret from Linktree before that one is tried too.
    pub previous_not_after: Option<Timestamp>,
    /// The receiver's admin token: the one in the route Secret, or a new random one.
    pub admin_token: Secret,
}

/// A sink that something is missing of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    pub sink: String,
    /// What is missing, and what to do about it.
    pub problem: String,
}

/// One of the receiver's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    ServiceAccount,
    Service,
    NetworkPolicy,
    RouteSecret,
    StatefulSet,
    /// The Ingress or HTTPRoute.
    Exposure,
}

/// The receiver's pod.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    pub pod: Option<Pod>,
    /// Its own word, if it could be asked.
    pub status: Option<ReceiverStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub ready: bool,
    /// Being deleted: what it says no longer counts.
    pub terminating: bool,
    /// The scheduler's word, if it found no node.
    pub unschedulable: Option<String>,
    /// Why a container waits, such as `ImagePullBackOff`.
    pub waiting: Option<String>,
    /// Where it can be asked, once it has an address.
    pub address: Option<IpAddr>,
    /// The route digest the kubelet was last pointed at.
    pub route_digest: Option<String>,
}

/// What the operator keeps between the URL and the receiver's Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Nothing: the spec asks for no object.
    NotOurs,
    /// The object is still to be made.
    Absent,
    Ingress {
        /// The class it has, perhaps by default.
        class: Option<String>,
        /// A controller has taken it and says where it is reached.
        has_address: bool,
    },
    /// The cluster does not know HTTPRoutes.
    GatewayApiMissing,
    Route {
        gateway: Gateway,
        state: RouteState,
    },
}

/// What the Gateway's controller says of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteState {
    /// Nothing, or nothing of the route as it is now.
    Unseen,
    NotAccepted {
        problem: String,
    },
    NotResolved {
        problem: String,
    },
    InPlace,
}

/// An object that the webhook has from before the spec was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleObject {
    pub part: Part,
    pub uid: String,
}

/// What a receiver, and the way to it, consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Ingress,
    HttpRoute,
    StatefulSet,
    Service,
    NetworkPolicy,
    ServiceAccount,
    RouteSecret,
}

/// What an unsigned request to the public URL got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    NotProbed,
    Succeeded {
        /// When the host's certificate ends; absent without TLS.
        certificate_expires: Option<Timestamp>,
    },
    DnsFailed {
        problem: String,
    },
    ConnectionFailed {
        problem: String,
    },
    CertificateExpired {
        at: Option<Timestamp>,
    },
    /// It is for another host.
    CertificateNameMismatch,
    /// It is of no authority that is trusted.
    CertificateUntrusted,
    TlsFailed {
        problem: String,
    },
    /// An answer of something that is no receiver of ours, and no redirect.
    Foreign {
        status: u16,
        problem: String,
        certificate_expires: Option<Timestamp>,
    },
    Unexpected {
        problem: String,
    },
}
