//! The observed state of one webhook: all input of a decision besides the spec and the time.

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

/// The state of a webhook and its surroundings at one time.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Whether the webhook has the operator's finalizer.
    pub finalizer: bool,
    /// The current status.
    pub status: LinktreeWebhookStatus,
    pub connection: Connection,
    /// The signing keys, or why there are none.
    pub keys: Keys,
    /// Whether the keys differ from those in the status.
    pub keys_changed: bool,
    /// The subscription that the stored secret from Linktree belongs to.
    pub secret_kept_for: Option<SubscriptionId>,
    /// When the next key expires.
    pub next_key_end: Option<Timestamp>,
    /// The user's request for a new signing secret.
    pub rotate_request: Option<String>,
    /// The digest of the receiver's desired route.
    pub route_digest: String,
    /// The receiver's objects that are missing or out of date.
    pub children_outdated: Vec<Child>,
    pub receiver: Receiver,
    /// The Ingress or HTTPRoute between the URL and the receiver's Service.
    pub exposure: Exposure,
    /// Objects that the spec no longer requires.
    pub stale_objects: Vec<StaleObject>,
    /// The sinks that refer to missing objects.
    pub sinks_unresolved: Vec<Unresolved>,
    /// Another webhook of the account that has a subscription with this URL. Only the URL of an external receiver can
    /// be used twice.
    pub url_taken_by: Option<ObjectKey>,
    pub probe: ProbeResult,
    /// When the last probe was made.
    pub probed_at: Option<Timestamp>,
    /// Time of the next write to Linktree after a failed one.
    pub hold_until: Option<Timestamp>,
    /// The condition of the failed write, which reports the failure until the next attempt.
    pub held: Option<ConditionType>,
    /// When a registration ended with an unknown result: only a list that began afterwards shows the result.
    pub unresolved: Option<Timestamp>,
    /// The user's request to list the account now.
    pub sync_request: Option<SyncRequest>,
}

impl Observed {
    /// The id of the subscription in the status.
    #[must_use]
    pub fn subscription_id(&self) -> Option<SubscriptionId> {
        self.status.subscription.as_ref()?.id.clone().map(SubscriptionId)
    }

    /// The finding in the current status, for a condition that cannot be determined now.
    #[must_use]
    pub fn carry_over(&self, condition_type: ConditionType) -> Finding {
        let Some(condition) = conditions::find(&self.status.conditions, condition_type) else {
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

/// A sync request and when it was first seen; a list that begins afterwards completes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    pub value: String,
    pub noticed_at: Timestamp,
}

/// The webhook's connection.
#[derive(Clone, Debug)]
pub enum Connection {
    /// Cannot be used.
    Unusable { reason: Reason, message: String },
    /// Can be used, but the account has not been listed yet.
    Unlisted,
    /// Can be used.
    Listed {
        snapshot: Arc<Snapshot>,
        /// Whether the base URL has a host inside the cluster.
        in_cluster: bool,
        capabilities: Capabilities,
    },
}

/// The signing keys in the spec, as they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The current key exists. `missing`: other keys that do not; `expired`: keys past their `notAfterTime`.
    Found { active: String, missing: Vec<SecretKeyReference>, expired: Vec<String> },
    /// All keys have expired.
    Expired,
    /// The current key, which the user must supply, does not exist.
    CurrentMissing(SecretKeyReference),
    /// There is no secret from Linktree yet; it will be stored in this Secret key.
    ProviderMissing(SecretKeyReference),
}

/// The values of the Secret keys in the spec, without keys that are missing or empty.
#[derive(Clone, Debug)]
pub struct Secrets {
    pub values: BTreeMap<SecretKeyReference, Secret>,
    /// The subscription that the stored secret from Linktree belongs to.
    pub kept_for: Option<SubscriptionId>,
    /// The time until which the previous secret from Linktree is valid, too.
    pub previous_not_after: Option<Timestamp>,
    /// The receiver's admin token: the one in the route Secret, or a new random one.
    pub admin_token: Secret,
}

/// A sink that refers to a missing object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    pub sink: String,
    /// The missing object, and the remedy.
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

/// The bundled receiver.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    pub pod: Option<Pod>,
    /// The status it reports, if it could be read.
    pub status: Option<ReceiverStatus>,
}

/// The state of the receiver's pod in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub ready: bool,
    /// Being deleted: its status is ignored.
    pub terminating: bool,
    /// The scheduler's message, if no node fits.
    pub unschedulable: Option<String>,
    /// Why a container is waiting, such as `ImagePullBackOff`.
    pub waiting: Option<String>,
    /// The address of its status endpoint, once it has one.
    pub address: Option<IpAddr>,
    /// The route digest of the last refresh of the mounted Secret.
    pub route_digest: Option<String>,
}

/// The operator's object between the URL and the receiver's Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// The spec asks for neither Ingress nor HTTPRoute.
    NotOurs,
    /// The cluster has no such Ingress or HTTPRoute yet.
    Absent,
    Ingress {
        /// Its IngressClass, which may be the default.
        class: Option<String>,
        /// Whether a controller has published its address.
        has_address: bool,
    },
    /// The cluster has no HTTPRoute kind.
    GatewayApiMissing,
    Route {
        gateway: Gateway,
        state: RouteState,
    },
}

/// The state of an HTTPRoute as the Gateway's controller reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteState {
    /// No status for the current generation.
    Pending,
    NotAccepted {
        problem: String,
    },
    NotResolved {
        problem: String,
    },
    /// Accepted, with its Service resolved.
    Ready,
}

/// An object from before a change of the spec, which is no longer required.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleObject {
    pub part: Part,
    pub uid: String,
}

/// The kind of an object of a receiver or its exposure.
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

/// The result of an unsigned request to the public URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    NotProbed,
    Succeeded {
        /// When the host's certificate expires; absent without TLS.
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
    /// The certificate is for another host.
    CertificateNameMismatch,
    /// The certificate's authority is not trusted.
    CertificateUntrusted,
    TlsFailed {
        problem: String,
    },
    /// A response that is neither the bundled receiver's nor a redirect.
    Foreign {
        status: u16,
        problem: String,
        certificate_expires: Option<Timestamp>,
    },
    Unexpected {
        problem: String,
    },
}
