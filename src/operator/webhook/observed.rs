//! The observed state of one webhook: the input of a decision, besides the spec and the time.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use jiff::Timestamp;

use super::{challenge::Challenge, correction::Correction, creation::Creation, spec::exposure::Gateway};

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
            apply::standing::Standing,
            conditions::{self, Finding, Status},
            object_key::ObjectKey,
        },
    },
    route::status::ReceiverStatus,
};

/// The state of a webhook and of all that it depends on, at one time.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Whether the webhook has the operator's finalizer.
    pub finalizer: bool,
    /// The webhook's status in the API server.
    pub status: LinktreeWebhookStatus,
    pub connection: Connection,
    /// The state of the signing keys that the spec refers to.
    pub keys: Keys,
    /// Whether the keys differ from those whose digests are in the status.
    pub keys_changed: bool,
    /// The id of the subscription that the stored secret from Linktree belongs to, from the Secret's annotation.
    pub secret_kept_for: Option<SubscriptionId>,
    /// When the next signing key expires.
    pub next_key_end: Option<Timestamp>,
    /// The value of the user's request to rotate the signing secret, if one is pending.
    pub rotate_request: Option<String>,
    /// The value of the user's request to send dead letters again, if one is pending; at most 257 characters of it.
    pub redrive_request: Option<String>,
    /// The digest of the receiver's desired route.
    pub route_digest: String,
    /// The relation of each child object to its desired state.
    pub children: BTreeMap<Child, Standing>,
    pub receiver: Receiver,
    /// The Ingress or HTTPRoute between the URL and the receiver's Service.
    pub exposure: Exposure,
    /// The webhook's objects that its spec no longer requires.
    pub stale_objects: Vec<StaleObject>,
    /// The sinks that refer to missing objects or Secret keys.
    pub sinks_unresolved: Vec<Unresolved>,
    /// The failure of each held or failing sink, by the sink's name, as messages contain it.
    pub sink_failures: BTreeMap<String, String>,
    /// Another webhook of the account that has a subscription with this webhook's URL. Only the URL of an external
    /// receiver can be used twice.
    pub url_taken_by: Option<ObjectKey>,
    /// Another webhook of the account that owns the subscription in this webhook's status or spec.
    pub id_taken_by: Option<ObjectKey>,
    pub probe: ProbeResult,
    /// The proof that a probe of the URL must get; `None` for an external receiver, which can give none.
    pub challenge: Option<Challenge>,
    /// Whether three probes in a row have proven that the URL leads to this webhook's receiver. Only found out if a
    /// subscription with the URL cannot be adopted otherwise.
    pub leads_here: bool,
    /// When the last probe was made.
    pub probed_at: Option<Timestamp>,
    /// End of the backoff after a failed call to Linktree.
    pub hold_until: Option<Timestamp>,
    /// The condition that reports the failed call until the next attempt.
    pub held: Option<ConditionType>,
    /// When a registration with an unknown result ended: only a list of the account that began afterwards shows the
    /// result.
    pub unresolved: Option<Timestamp>,
    /// Whether Linktree has rejected the registration of this spec.
    pub creation: Creation,
    /// The last correction of the subscription's URL or events.
    pub correction: Option<Correction>,
    /// The user's request to list the account now, if one is pending.
    pub sync_request: Option<SyncRequest>,
}

impl Observed {
    /// The id of the subscription in the webhook's status.
    #[must_use]
    pub fn subscription_id(&self) -> Option<SubscriptionId> {
        self.status.subscription.as_ref()?.id.clone().map(SubscriptionId)
    }

    /// Another operator that applies one of the child objects: its namespace and name.
    #[must_use]
    pub fn applied_by_another(&self) -> Option<&str> {
        self.children.values().find_map(|standing| match standing {
            Standing::AnotherOperator { operator } => Some(operator.as_str()),
            Standing::Met | Standing::Apply { .. } | Standing::Kept(_) | Standing::Foreign(_) => None,
        })
    }

    /// The finding that the condition in the status was rendered from, for when its rule has no newer information.
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

/// A pending sync request and when it was first seen. A list of the account that begins afterwards completes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    pub value: String,
    pub noticed_at: Timestamp,
}

/// The state of the webhook's connection.
#[derive(Clone, Debug)]
pub enum Connection {
    /// Missing, without a token, rejected by Linktree, or not listed because of an error.
    Unusable { reason: Reason, message: String },
    /// Usable, but its account has not been listed yet.
    Unlisted,
    /// Usable: its account has been listed.
    Listed {
        snapshot: Arc<Snapshot>,
        /// Whether the base URL is an `http://` one, and so has a host inside the cluster.
        in_cluster: bool,
        capabilities: Capabilities,
        /// Why the connection is not ready although its account was listed before: the error of the last list.
        not_ready: Option<(Reason, String)>,
        /// The digest of the connection's token.
        token: Arc<str>,
    },
}

/// The state of the signing keys that the spec refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The current key exists. `missing`: Secret keys of others that do not exist; `expired`: names of keys past their
    /// `notAfterTime`.
    Found { active: String, missing: Vec<SecretKeyReference>, expired: Vec<String> },
    /// All keys are past their `notAfterTime`.
    Expired,
    /// The Secret key for the current signing key, which the user must supply, does not exist.
    CurrentMissing(SecretKeyReference),
    /// Linktree's API has not provided a secret yet; it will be stored in this Secret key.
    ProviderMissing(SecretKeyReference),
}

/// The values of the Secret keys that the spec refers to, except missing and empty ones.
#[derive(Clone, Debug)]
pub struct Secrets {
    pub values: BTreeMap<SecretKeyReference, Secret>,
    /// The id of the subscription that the stored secret from Linktree belongs to.
    pub kept_for: Option<SubscriptionId>,
    /// The time until which the previous secret from Linktree also verifies deliveries.
    pub previous_not_after: Option<Timestamp>,
    /// The receiver's admin token: the one in the route Secret, or a new random one.
    pub admin_token: Secret,
    /// The receiver's probe key: the one in this webhook's route Secret, or a new random one.
    pub probe_key: Secret,
}

/// A sink whose URL or credentials refer to a missing object or Secret key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    pub sink: String,
    /// The missing object or Secret key, and the remedy.
    pub problem: String,
}

/// One of the objects that the operator applies for a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Child {
    ServiceAccount,
    Service,
    NetworkPolicy,
    RouteSecret,
    StatefulSet,
    /// The Ingress or HTTPRoute.
    Exposure,
}

/// The state of the bundled receiver.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    pub pod: Option<Pod>,
    /// Why the API server refuses to create the pod, as its StatefulSet's controller reports.
    pub refused: Option<String>,
    /// The receiver's own status; `None` if it could not be read.
    pub status: Option<ReceiverStatus>,
}

/// The state of the receiver's pod in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub ready: bool,
    /// The pod is being deleted, so the receiver's status is not read.
    pub terminating: bool,
    /// The scheduler's message, if it found no node for the pod.
    pub unschedulable: Option<String>,
    /// Why a container is waiting, such as `ImagePullBackOff`.
    pub waiting: Option<String>,
    /// The pod's IP address, at which the receiver serves its status.
    pub address: Option<IpAddr>,
    /// The route digest in the pod's annotation, from the last refresh of the mounted Secret.
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
        /// `ingressClassName` of the live Ingress; if the spec sets none, the cluster's default class.
        class: Option<String>,
        /// Whether an ingress controller has published an address in the Ingress's status.
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
    /// The Gateway's controller has not reported a status for the current generation.
    Pending,
    NotAccepted {
        problem: String,
    },
    NotResolved {
        problem: String,
    },
    /// The Gateway accepts the route and has resolved its Service.
    Ready,
}

/// An object that an earlier spec required and the current one does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleObject {
    pub part: Part,
    pub uid: String,
}

/// The kind of a stale object.
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

/// The result of a probe, an unsigned request to the public URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    NotProbed,
    Succeeded {
        /// When the certificate that the host served expires; `None` without TLS.
        certificate_expires: Option<Timestamp>,
    },
    DnsFailed {
        problem: String,
    },
    ConnectionFailed {
        problem: String,
    },
    /// Not sent: the egress rules deny the address of the host.
    AddressDenied {
        address: IpAddr,
    },
    CertificateExpired {
        at: Option<Timestamp>,
    },
    /// The certificate that the host served is for another host.
    CertificateNameMismatch,
    /// The CA that issued the certificate is not trusted.
    CertificateUntrusted,
    TlsFailed {
        problem: String,
    },
    /// A response that is not the bundled receiver's. An external receiver's response is one.
    Foreign {
        status: u16,
        problem: String,
        certificate_expires: Option<Timestamp>,
    },
    Unexpected {
        problem: String,
    },
}
