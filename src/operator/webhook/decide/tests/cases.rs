//! The table of situations.

use super::{
    exposure::{ingress, route},
    *,
};
use crate::operator::{
    kubernetes::{
        apply::{
            compare::Difference,
            ownership::Foreign::{OwnedBy, Unlabeled},
            standing::Standing,
        },
        conditions::Status::{False, True, Unknown},
    },
    webhook::correction::Correction,
};

/// A sentence, changes of the spec and the observed state, and the expected condition.
pub(super) type Case = (&'static str, fn(&mut Value), fn(&mut Observed), ConditionType, Status, Reason);

fn any(_: &mut Value) {}

fn list_failed(observed: &mut Observed) {
    if let Connection::Listed { not_ready, .. } = &mut observed.connection {
        *not_ready = Some((Reason::LinktreeUnavailable, "Linktree responded with 503".into()));
    }
}

fn kept() -> Standing {
    Standing::Kept(vec![Difference { field: "spec.replicas".into(), manager: Some("hpa".into()) }])
}

fn by_ingress(object: &mut Value) {
    object["spec"]["endpoint"] =
        serde_json::json!({"managed": {"host": "hooks.example.com", "exposure": {"type": "Ingress"}}});
}

fn refused(problem: &str) -> Receiver {
    Receiver { refused: Some(problem.to_owned()), ..Receiver::default() }
}

fn paused(object: &mut Value) {
    object["spec"]["pause"] = "Reconciliation".into();
}

#[rustfmt::skip] // A table: one situation, one line.
pub(super) const CASES: &[Case] = &[
    // The connection.
    ("the account has been listed", any, |_| {}, ConditionType::ConnectionReady, True, Reason::Available),
    ("the account has not been listed yet", any, |o| o.connection = Connection::Unlisted, ConditionType::ConnectionReady, Unknown, Reason::Pending),
    ("there is no connection", any, |o| o.connection = unusable(Reason::ConnectionMissing), ConditionType::ConnectionReady, False, Reason::ConnectionMissing),
    ("its token is missing", any, |o| o.connection = unusable(Reason::TokenMissing), ConditionType::ConnectionReady, False, Reason::TokenMissing),
    ("its last list failed", any, list_failed, ConditionType::ConnectionReady, False, Reason::LinktreeUnavailable),
    // The receiver.
    ("the pod stores deliveries", any, |_| {}, ConditionType::ReceiverAvailable, True, Reason::Available),
    ("there is no pod", any, |o| o.receiver.pod = None, ConditionType::ReceiverAvailable, False, Reason::Progressing),
    ("a quota refuses the pod", any, |o| o.receiver = refused("exceeded quota: tight"), ConditionType::ReceiverAvailable, False, Reason::PodRefused),
    ("a quota refuses the pod, so no event is accepted", any, |o| o.receiver = refused("exceeded quota: tight"), ConditionType::Ready, False, Reason::PodRefused),
    ("the pod is being deleted", any, |o| pod(o).terminating = true, ConditionType::ReceiverAvailable, False, Reason::Progressing),
    ("the pod is waiting for its image", any, |o| pod(o).waiting = Some("ImagePullBackOff".into()), ConditionType::ReceiverAvailable, False, Reason::Progressing),
    ("the pod is not ready", any, |o| pod(o).ready = false, ConditionType::ReceiverAvailable, False, Reason::Progressing),
    ("no node has enough resources", any, |o| pod(o).unschedulable = Some("0/1 nodes: Insufficient cpu".into()), ConditionType::ReceiverAvailable, False, Reason::Unschedulable),
    ("no volume is bound", any, |o| pod(o).unschedulable = Some("unbound immediate PersistentVolumeClaims: volume".into()), ConditionType::ReceiverAvailable, False, Reason::StorageUnavailable),
    ("the journal is full", any, |o| receiver_of(o).journal = JournalHealth::Full, ConditionType::ReceiverAvailable, False, Reason::StorageUnavailable),
    ("the journal cannot be written", any, |o| receiver_of(o).journal = JournalHealth::Failed { problem: "EIO".into() }, ConditionType::ReceiverAvailable, False, Reason::StorageUnavailable),
    ("the pod is ready and its status cannot be read", any, |o| o.receiver.status = None, ConditionType::ReceiverAvailable, Unknown, Reason::StatusUnavailable),
    ("its Service is a user's", any, |o| drop(o.children.insert(Child::Service, Standing::Foreign(Unlabeled))), ConditionType::ReceiverAvailable, False, Reason::NameTaken),
    ("its ServiceAccount belongs to another", any, |o| drop(o.children.insert(Child::ServiceAccount, Standing::Foreign(OwnedBy { owner: "Deployment web".into() }))), ConditionType::Stalled, True, Reason::NameTaken),
    ("a policy changes its StatefulSet", any, |o| drop(o.children.insert(Child::StatefulSet, kept())), ConditionType::ReceiverAvailable, True, Reason::Available),
    ("the Ingress is a user's, and the URL leads to the receiver", by_ingress, |o| drop(o.children.insert(Child::Exposure, Standing::Foreign(Unlabeled))), ConditionType::EndpointReachable, True, Reason::ProbeSucceeded),
    ("the Ingress is a user's, and the URL leads elsewhere", by_ingress, |o| { o.probe = ProbeResult::NotProbed; o.children.insert(Child::Exposure, Standing::Foreign(Unlabeled)); }, ConditionType::EndpointReachable, False, Reason::NameTaken),
    ("its certificate is invalid", with_tls, |o| certificate(o, false), ConditionType::ReceiverAvailable, False, Reason::CertificateUnusable),
    ("the new certificate is invalid and the previous one is served", with_tls, |o| certificate(o, true), ConditionType::ReceiverAvailable, True, Reason::CertificateUnusable),
    // The endpoint.
    ("the probe gets the receiver's response", any, |_| {}, ConditionType::EndpointReachable, True, Reason::ProbeSucceeded),
    ("no probe has been made", any, |o| o.probe = ProbeResult::NotProbed, ConditionType::EndpointReachable, Unknown, Reason::NotProbed),
    ("the host has no address", any, |o| o.probe = ProbeResult::DnsFailed { problem: "no such host".into() }, ConditionType::EndpointReachable, False, Reason::DNSFailed),
    ("nothing listens", any, |o| o.probe = ProbeResult::ConnectionFailed { problem: "refused".into() }, ConditionType::EndpointReachable, False, Reason::ConnectionFailed),
    ("the host has a private address", any, |o| o.probe = ProbeResult::AddressDenied { address: [10, 0, 0, 1].into() }, ConditionType::EndpointReachable, False, Reason::AddressDenied),
    ("the certificate expires in two weeks", any, |o| o.probe = ends(NOW + 14 * 86_400), ConditionType::EndpointReachable, True, Reason::ProbeSucceeded),
    ("the certificate expires in less than two weeks", any, |o| o.probe = ends(NOW + 14 * 86_400 - 1), ConditionType::EndpointReachable, True, Reason::CertificateExpiring),
    ("the certificate has expired", any, |o| o.probe = ProbeResult::CertificateExpired { at: Some(at(NOW - 1)) }, ConditionType::EndpointReachable, False, Reason::CertificateExpired),
    ("the certificate is for another host", any, |o| o.probe = ProbeResult::CertificateNameMismatch, ConditionType::EndpointReachable, False, Reason::CertificateNameMismatch),
    ("the certificate is from an unknown authority", any, |o| o.probe = ProbeResult::CertificateUntrusted, ConditionType::EndpointReachable, False, Reason::CertificateUntrusted),
    ("the TLS handshake fails", any, |o| o.probe = ProbeResult::TlsFailed { problem: "no common cipher".into() }, ConditionType::EndpointReachable, False, Reason::TLSFailed),
    ("something else responds", any, |o| o.probe = ProbeResult::Unexpected { problem: "200".into() }, ConditionType::EndpointReachable, False, Reason::UnexpectedResponse),
    ("the Ingress does not exist yet", any, |o| exposed(o, Exposure::Absent), ConditionType::EndpointReachable, False, Reason::Pending),
    ("no controller has processed the Ingress", any, |o| exposed(o, ingress(false)), ConditionType::EndpointReachable, False, Reason::AddressPending),
    ("the Ingress has an address and nothing listens there", any, |o| exposed(o, ingress(true)), ConditionType::EndpointReachable, False, Reason::ConnectionFailed),
    ("the cluster has no HTTPRoute kind", any, |o| exposed(o, Exposure::GatewayApiMissing), ConditionType::EndpointReachable, False, Reason::GatewayApiMissing),
    ("only the user can install the Gateway API", any, |o| exposed(o, Exposure::GatewayApiMissing), ConditionType::Stalled, True, Reason::GatewayApiMissing),
    ("the route has no status", any, |o| exposed(o, route(RouteState::Pending)), ConditionType::EndpointReachable, False, Reason::RoutePending),
    ("the Gateway does not accept the route", any, |o| exposed(o, route(RouteState::NotAccepted { problem: "NotAllowedByListeners".into() })), ConditionType::EndpointReachable, False, Reason::RouteNotAccepted),
    ("the Gateway does not find the Service", any, |o| exposed(o, route(RouteState::NotResolved { problem: "BackendNotFound".into() })), ConditionType::EndpointReachable, False, Reason::RouteNotResolved),
    ("the route is ready and nothing listens", any, |o| exposed(o, route(RouteState::Ready)), ConditionType::EndpointReachable, False, Reason::ConnectionFailed),
    ("the Ingress has no address and the URL leads to the receiver nevertheless", any, |o| o.exposure = ingress(false), ConditionType::EndpointReachable, True, Reason::ProbeSucceeded),
    ("an external receiver answers 401", external, theirs, ConditionType::EndpointReachable, True, Reason::ProbeSucceeded),
    ("an external receiver accepts an unsigned request", external, |o| answered(o, 200), ConditionType::EndpointReachable, True, Reason::UnsignedAccepted),
    ("an external receiver answers 500", external, |o| answered(o, 500), ConditionType::EndpointReachable, False, Reason::UnexpectedResponse),
    ("another service's 401 instead of the receiver's", any, |o| o.probe = foreign(401), ConditionType::EndpointReachable, False, Reason::UnexpectedResponse),
    // The keys.
    ("the secret for an external receiver is stored", external, theirs, ConditionType::SigningKeysReady, True, Reason::SecretKept),
    ("the secret for an external receiver is not stored", external, secret_elsewhere, ConditionType::SigningKeysReady, Unknown, Reason::SecretUnknown),
    ("the stored secret belongs to an earlier subscription", external, |o| { theirs(o); o.secret_kept_for = Some(SubscriptionId("wh_0".into())); }, ConditionType::SigningKeysReady, Unknown, Reason::SecretUnknown),
    ("the secret for an external receiver comes with the registration", external, |o| { unregistered(o); secret_elsewhere(o); }, ConditionType::SigningKeysReady, Unknown, Reason::Pending),
    ("the receiver has its keys", any, |_| {}, ConditionType::SigningKeysReady, True, Reason::Loaded),
    ("the receiver has an older route", any, |o| receiver_of(o).route_digest = "r0".into(), ConditionType::SigningKeysReady, Unknown, Reason::Pending),
    ("the receiver has keys and loads newer ones", any, keys_were_loaded, ConditionType::SigningKeysReady, True, Reason::Loaded),
    ("a key in the spec is missing", any, |o| o.keys = Keys::CurrentMissing(place("own")), ConditionType::SigningKeysReady, False, Reason::SecretMissing),
    ("the secret comes with the registration", any, |o| o.keys = Keys::ProviderMissing(place("links-signing")), ConditionType::SigningKeysReady, False, Reason::Pending),
    ("Linktree does not return the secret", any, secret_unavailable, ConditionType::SigningKeysReady, False, Reason::AwaitingProviderSecret),
    ("all keys have expired", any, |o| o.keys = Keys::Expired, ConditionType::SigningKeysReady, False, Reason::KeysExpired),
    // The registration.
    ("the operator created the subscription", any, |o| o.status.conditions.push(condition(ConditionType::Registered, "True", Reason::Created)), ConditionType::Registered, True, Reason::Created),
    ("a subscription with the URL existed, and the URL leads here", any, |o| { o.status.subscription = None; o.leads_here = true; }, ConditionType::Registered, True, Reason::Adopted),
    ("a subscription with the URL existed, and may be another cluster's", any, |o| o.status.subscription = None, ConditionType::Registered, False, Reason::AwaitingProof),
    ("another webhook owns the id in the status", any, |o| o.id_taken_by = Some(ObjectKey::new("marketing", "older")), ConditionType::Registered, False, Reason::Conflict),
    ("the token belongs to another account", any, other_account, ConditionType::Registered, False, Reason::AccountChanged),
    ("the only subscription has another URL", any, |o| { o.status.subscription = None; known(o).url = "https://elsewhere.example.com/".into(); }, ConditionType::Registered, False, Reason::Pending),
    ("there is no subscription", any, unregistered, ConditionType::Registered, False, Reason::Pending),
    ("a subscription exists and adoption is not allowed", |v| v["spec"]["subscription"] = json!({"adoptionPolicy": "Never"}), |o| o.status.subscription = None, ConditionType::Registered, False, Reason::Conflict),
    ("the subscription to adopt does not exist", |v| v["spec"]["subscription"] = json!({"adoptionPolicy": "ByID", "id": "wh_9"}), unregistered, ConditionType::Registered, False, Reason::SubscriptionNotFound),
    ("the URL is for the cluster and Linktree is outside", any, outside, ConditionType::Registered, False, Reason::NotExposed),
    ("another webhook has the URL", external, url_conflict, ConditionType::Registered, False, Reason::Conflict),
    ("another webhook has the URL of a registered one", external, |o| { theirs(o); o.url_taken_by = Some(ObjectKey::new("a", "b")); }, ConditionType::Registered, True, Reason::Adopted),
    // The subscription's content.
    ("the URL changes to an external receiver, which responds", external, answers_elsewhere, ConditionType::UpToDate, False, Reason::DriftDetected),
    ("the subscription matches the spec", any, |_| {}, ConditionType::UpToDate, True, Reason::Matched),
    ("the response has no events", any, |o| known(o).events.clear(), ConditionType::UpToDate, Unknown, Reason::Unobservable),
    ("the events were changed", any, drifted, ConditionType::UpToDate, False, Reason::DriftDetected),
    ("drift is only reported", |v| v["spec"]["subscription"] = json!({"driftPolicy": "Report"}), drifted, ConditionType::UpToDate, False, Reason::DriftDetected),
    ("Linktree has no PATCH", any, |o| { drifted(o); lacks(o, Call::Update); }, ConditionType::UpToDate, False, Reason::UpdateRestricted),
    ("Linktree keeps other events after an update", any, |o| { drifted(o); corrected(o); }, ConditionType::UpToDate, False, Reason::UpdateRestricted),
    // Whether the subscription is enabled.
    ("it is enabled", any, |_| {}, ConditionType::SubscriptionEnabled, True, Reason::Enabled),
    ("an unknown status", any, |o| known(o).status = None, ConditionType::SubscriptionEnabled, True, Reason::Enabled),
    ("it was disabled and the receiver is healthy", any, disabled, ConditionType::SubscriptionEnabled, False, Reason::DisabledByProvider),
    ("it was disabled and the API cannot re-enable it", any, |o| { disabled(o); lacks(o, Call::Reenable); lacks(o, Call::Delete); }, ConditionType::SubscriptionEnabled, False, Reason::ReenableUnsupported),
    ("it was disabled and the pod is not ready", any, |o| { disabled(o); pod(o).ready = false; }, ConditionType::SubscriptionEnabled, False, Reason::WaitingForHealth),
    ("it was disabled and something else responds", any, |o| { disabled(o); o.probe = ProbeResult::Unexpected { problem: "401".into() }; }, ConditionType::SubscriptionEnabled, False, Reason::WaitingForHealth),
    ("it was disabled and there is no key", any, |o| { disabled(o); o.keys = Keys::CurrentMissing(place("own")); }, ConditionType::SubscriptionEnabled, False, Reason::WaitingForHealth),
    ("it was disabled for a wrong secret, which is still wrong", any, |o| { disabled(o); mismatched(o); }, ConditionType::SubscriptionEnabled, False, Reason::SecretMismatch),
    ("a restarted receiver has lost the count of wrong signatures", any, |o| { disabled(o); was_mismatched(o); }, ConditionType::SubscriptionEnabled, False, Reason::SecretMismatch),
    ("the secret was replaced since", any, |o| { disabled(o); was_mismatched(o); o.keys_changed = true; }, ConditionType::SubscriptionEnabled, False, Reason::DisabledByProvider),
    ("the receiver has not loaded the new secret yet", any, |o| { disabled(o); keys_were_loaded(o); }, ConditionType::SubscriptionEnabled, False, Reason::WaitingForHealth),
    ("it was disabled in the second in which the wrong signatures began", any, |o| { disabled(o); mismatched(o); known(o).disabled_at = Some(NOW - 650); }, ConditionType::SubscriptionEnabled, False, Reason::SecretMismatch),
    ("forged requests arrived after it was disabled", any, |o| { disabled(o); mismatched(o); known(o).disabled_at = Some(NOW - 700); }, ConditionType::SubscriptionEnabled, False, Reason::DisabledByProvider),
    ("it was re-enabled a minute ago and is disabled again", any, |o| { disabled(o); attempts(o, NOW - 60, 1); }, ConditionType::SubscriptionEnabled, False, Reason::ReenableBackoff),
    ("the cooldown is over", any, |o| { disabled(o); attempts(o, NOW - 901, 1); }, ConditionType::SubscriptionEnabled, False, Reason::DisabledByProvider),
    ("the day's attempts are used up", any, |o| { disabled(o); attempts(o, NOW - 60, 6); }, ConditionType::SubscriptionEnabled, False, Reason::ReenableBudgetExhausted),
    ("the recovery policy is Never", |v| v["spec"]["subscription"] = json!({"recovery": {"policy": "Never"}}), disabled, ConditionType::SubscriptionEnabled, False, Reason::RecoveryDisabled),
    // Incoming deliveries.
    ("the last delivery was verified", any, |_| {}, ConditionType::SignaturesVerified, True, Reason::Verified),
    ("no delivery has arrived yet", any, |o| receiver_of(o).last_verified_key = None, ConditionType::SignaturesVerified, Unknown, Reason::NoTraffic),
    ("it was signed with an older key", any, |o| receiver_of(o).last_verified_key = Some("k0".into()), ConditionType::SignaturesVerified, True, Reason::PreviousKeyInUse),
    ("no key verifies deliveries and Linktree reports failures", any, |o| { mismatched(o); failing(o); }, ConditionType::SignaturesVerified, False, Reason::SecretMismatch),
    ("no key verifies deliveries and Linktree reports no failures: forged requests", any, mismatched, ConditionType::SignaturesVerified, True, Reason::Verified),
    ("the clock is wrong", any, |o| { receiver_of(o).clock_offset_seconds = Some(400); failing(o); }, ConditionType::SignaturesVerified, False, Reason::ClockSkew),
    ("an id arrived again with another body", any, |o| receiver_of(o).last_hour.conflict = 1, ConditionType::SignaturesVerified, True, Reason::DeliveryIDConflict),
    ("an id arrived again with another body, and no key verifies deliveries", any, |o| { receiver_of(o).last_hour.conflict = 1; mismatched(o); failing(o); }, ConditionType::SignaturesVerified, False, Reason::SecretMismatch),
    // Outgoing events.
    ("the sinks accept events", any, |_| {}, ConditionType::Delivering, True, Reason::Healthy),
    ("there are no sinks", |v| v["spec"]["sinks"] = json!([]), |_| {}, ConditionType::Delivering, True, Reason::Healthy),
    ("a sink is unresolved", any, sink_unresolved, ConditionType::Delivering, False, Reason::SinkUnresolved),
    ("a sink rejects events", any, |o| receiver_of(o).sinks[0].consecutive_failures = 3, ConditionType::Delivering, False, Reason::SinkFailing),
    ("a sink is held after failures", any, |o| held(o, HoldCause::Failures, 0), ConditionType::Delivering, False, Reason::SinkHeld),
    ("a held sink also fails", any, |o| { held(o, HoldCause::Failures, 0); receiver_of(o).sinks[0].consecutive_failures = 5; }, ConditionType::Delivering, False, Reason::SinkHeld),
    ("a sink has asked for a pause of a minute", any, |o| held(o, HoldCause::RetryAfter, 60), ConditionType::Delivering, True, Reason::Healthy),
    ("a sink has asked for a pause of five minutes", any, |o| held(o, HoldCause::RetryAfter, 300), ConditionType::Delivering, False, Reason::SinkHeld),
    ("a held sink does not affect Ready", any, |o| held(o, HoldCause::Failures, 0), ConditionType::Ready, True, Reason::Available),
    ("an unresolved sink is held, too", any, |o| { held(o, HoldCause::Failures, 0); sink_unresolved(o); }, ConditionType::Delivering, False, Reason::SinkUnresolved),
    ("a sink has dead letters", any, |o| receiver_of(o).sinks[0].dead_lettered = Some(1), ConditionType::Delivering, True, Reason::DeadLetters),
    ("a removed sink has dead letters", any, |o| removed(o, 1), ConditionType::Delivering, True, Reason::DeadLetters),
    ("a removed sink has no dead letters yet", any, |o| removed(o, 0), ConditionType::Delivering, True, Reason::Healthy),
    ("a failing sink has dead letters", any, |o| { receiver_of(o).sinks[0].dead_lettered = Some(1); receiver_of(o).sinks[0].consecutive_failures = 3; }, ConditionType::Delivering, False, Reason::SinkFailing),
    ("a sink is slow", any, |o| receiver_of(o).sinks[0].backlog = Some(1000), ConditionType::Delivering, False, Reason::Backlog),
    ("forwarding is paused", |v| v["spec"]["pause"] = "Forwarding".into(), |_| {}, ConditionType::Delivering, False, Reason::Paused),
    ("the receiver has not loaded the pause yet", |v| v["spec"]["pause"] = "Forwarding".into(), |o| receiver_of(o).route_digest = "r0".into(), ConditionType::Delivering, Unknown, Reason::Pending),
    ("paused forwarding does not affect Ready", |v| v["spec"]["pause"] = "Forwarding".into(), |_| {}, ConditionType::Ready, True, Reason::Available),
    // Paused reconciliation.
    ("paused, and not registered", paused, unregistered, ConditionType::Registered, False, Reason::Paused),
    ("paused, with drift", paused, drifted, ConditionType::UpToDate, False, Reason::Paused),
    ("paused, and disabled", paused, disabled, ConditionType::SubscriptionEnabled, False, Reason::Paused),
    ("paused, without a pod", paused, |o| { o.receiver = Receiver::default(); drop(o.children.insert(Child::StatefulSet, Standing::missing())); }, ConditionType::ReceiverAvailable, False, Reason::Paused),
    ("paused, with a pending change of a running receiver", paused, |o| drop(o.children.insert(Child::StatefulSet, Standing::missing())), ConditionType::Stalled, True, Reason::Paused),
    ("paused, and the running receiver stays ready", paused, |o| drop(o.children.insert(Child::StatefulSet, Standing::missing())), ConditionType::Ready, True, Reason::Available),
    // Deliveries at risk.
    ("deliveries arrive", any, |_| {}, ConditionType::DeliveryAtRisk, False, Reason::DeliveriesSucceeding),
    ("deliveries fail", any, failing, ConditionType::DeliveryAtRisk, True, Reason::DeliveriesFailing),
    ("the subscription is disabled", any, disabled, ConditionType::DeliveryAtRisk, True, Reason::SubscriptionDisabled),
    ("undelivered events fill the journal", any, |o| fills(o), ConditionType::DeliveryAtRisk, True, Reason::BacklogFillsJournal),
    ("deliveries fail, and undelivered events fill the journal", any, |o| { fills(o); failing(o); }, ConditionType::DeliveryAtRisk, True, Reason::DeliveriesFailing),
    ("a filling journal is neither Stalled nor a wrong secret", any, |o| { fills(o); mismatched(o); }, ConditionType::SignaturesVerified, True, Reason::Verified),
    ("a filling journal accepts deliveries until it is full", any, |o| fills(o), ConditionType::Ready, True, Reason::Available),
    // The summary: root causes first.
    ("everything works", any, |_| {}, ConditionType::Ready, True, Reason::Available),
    ("no traffic yet does not affect Ready", any, |o| receiver_of(o).last_verified_key = None, ConditionType::Ready, True, Reason::Available),
    ("a failing sink does not affect Ready", any, |o| receiver_of(o).sinks[0].consecutive_failures = 3, ConditionType::Ready, True, Reason::Available),
    ("an unusable account does not affect a registered webhook", any, unreachable_account, ConditionType::Ready, True, Reason::Available),
    ("not registered because the token is missing", any, |o| { unregistered(o); o.connection = unusable(Reason::TokenMissing); }, ConditionType::Ready, False, Reason::TokenMissing),
    ("no pod, hence no response at the URL", any, |o| { o.receiver = Receiver::default(); o.probe = ProbeResult::NotProbed; }, ConditionType::Ready, False, Reason::Progressing),
    ("an external receiver responds, and its secret is not stored", external, secret_elsewhere, ConditionType::Ready, True, Reason::Available),
    ("an external receiver answers 404", external, |o| answered(o, 404), ConditionType::Ready, False, Reason::UnexpectedResponse),
    ("disabled because the URL leads elsewhere", any, |o| { disabled(o); o.probe = ProbeResult::Unexpected { problem: "401".into() }; }, ConditionType::Ready, False, Reason::UnexpectedResponse),
    ("a problem that needs the user is Stalled", any, |o| o.keys = Keys::CurrentMissing(place("own")), ConditionType::Stalled, True, Reason::SecretMissing),
    ("a transient problem is Reconciling", any, |o| pod(o).ready = false, ConditionType::Reconciling, True, Reason::Progressing),
];

pub(super) fn external(object: &mut Value) {
    object["spec"]["endpoint"] = json!({"type": "External", "external": {"url": "https://hooks.example.com/in"}});
    object["spec"]["sinks"] = json!([]);
}

pub(super) fn foreign(status: u16) -> ProbeResult {
    ProbeResult::Foreign { status, problem: "a response that is not the receiver's".into(), certificate_expires: None }
}

/// An external receiver answers with this status; Linktree's subscription, if there is one, has its URL.
pub(super) fn answered(observed: &mut Observed, status: u16) {
    (observed.receiver, observed.probe) = (Receiver::default(), foreign(status));
    if let Some(known) = account(observed).subscriptions.first_mut() {
        known.url = "https://hooks.example.com/in".into();
    }
}

/// A registered webhook with an external receiver that rejects unsigned requests.
pub(super) fn theirs(observed: &mut Observed) {
    answered(observed, 401);
}

pub(super) fn secret_elsewhere(observed: &mut Observed) {
    theirs(observed);
    (observed.keys, observed.secret_kept_for) = (Keys::ProviderMissing(place("links-signing")), None);
}

/// As [`theirs`], but Linktree still sends to the bundled receiver.
pub(super) fn answers_elsewhere(observed: &mut Observed) {
    theirs(observed);
    known(observed).url = Spec::parse(&webhook(|_| {})).unwrap().url.into();
}

/// The webhook's subscription is in account acc_1, and the connection's token belongs to acc_2.
pub(super) fn other_account(observed: &mut Observed) {
    let identity = |id: &str| wire::Account { id: id.into(), username: None, plan: None };
    observed.status.account = Some(SubscriptionAccount { id: Some("acc_1".into()), token_digest: "t0".into() });
    account(observed).account = Some(identity("acc_2"));
}

fn url_conflict(observed: &mut Observed) {
    theirs(observed);
    observed.status.subscription = None;
    observed.url_taken_by = Some(ObjectKey::new("marketing", "other"));
}

fn with_tls(object: &mut Value) {
    let exposure = json!({"type": "None"});
    object["spec"]["endpoint"] =
        json!({"managed": {"host": "hooks.example.com", "exposure": exposure, "tls": {"secretRef": {"name": "tls"}}}});
}

fn certificate(observed: &mut Observed, serving: bool) {
    let problem = Some("tls.key is not its key".into());
    receiver_of(observed).certificate = Some(Certificate { serving, expiration_time: None, problem });
}

fn ends(second: i64) -> ProbeResult {
    ProbeResult::Succeeded { certificate_expires: Some(at(second)) }
}

/// Exposed in this way, without a response.
fn exposed(observed: &mut Observed, exposure: Exposure) {
    observed.exposure = exposure;
    observed.probe = ProbeResult::ConnectionFailed { problem: "refused".into() };
}

fn unusable(reason: Reason) -> Connection {
    Connection::Unusable { reason, message: "the connection's message".into() }
}

fn unreachable_account(observed: &mut Observed) {
    observed.status.conditions.extend([
        condition(ConditionType::Registered, "True", Reason::Created),
        condition(ConditionType::SubscriptionEnabled, "True", Reason::Enabled),
    ]);
    observed.connection = unusable(Reason::TokenRejected);
}

fn keys_were_loaded(observed: &mut Observed) {
    receiver_of(observed).route_digest = "r0".into();
    observed.status.conditions.push(condition(ConditionType::SigningKeysReady, "True", Reason::Loaded));
}

fn secret_unavailable(observed: &mut Observed) {
    observed.keys = Keys::ProviderMissing(place("links-signing"));
    lacks(observed, Call::RotateSecret);
}

fn outside(observed: &mut Observed) {
    unregistered(observed);
    if let Connection::Listed { in_cluster, .. } = &mut observed.connection {
        *in_cluster = false;
    }
}

/// An update of the present differences, 10 s ago.
fn corrected(observed: &mut Observed) {
    let spec = Spec::parse(&webhook(|_| {})).unwrap();
    let drift = decide(&spec, observed, at(NOW)).subscription.map(|known| known.drift).unwrap_or_default();
    observed.correction = Some(Correction::after(None, spec.generation, &drift, at(NOW - 10)));
}

fn drifted(observed: &mut Observed) {
    known(observed).events = vec![crate::linktree::event::EventType::ProfileUpdated];
}

fn failing(observed: &mut Observed) {
    known(observed).failing_since = Some(NOW - 3600);
}

fn sink_unresolved(observed: &mut Observed) {
    let problem = "there is no Service cms".into();
    observed.sinks_unresolved = vec![Unresolved { sink: "cms".into(), problem }];
}

fn removed(observed: &mut Observed, dead_lettered: u64) {
    receiver_of(observed).removed_sinks = vec![RemovedSink { name: "old".into(), backlog: 1, dead_lettered }];
}

pub(super) fn held(observed: &mut Observed, cause: HoldCause, seconds: i64) {
    let hold = SinkHold { cause, since_time: NOW - seconds, next_attempt_time: NOW + 60 };
    receiver_of(observed).sinks[0].held = Some(hold);
}

/// Undelivered events of the sink fill the journal within a day.
fn fills(observed: &mut Observed) {
    let status = receiver_of(observed);
    status.sinks[0].backlog = Some(300);
    status.journal_usage = Some(JournalUsage {
        events: 300,
        bytes: 300_000,
        capacity_bytes: 1_000_000,
        full_time: Some(NOW + 86_400),
        filled_by: Some("cms".into()),
    });
}

fn mismatched(observed: &mut Observed) {
    receiver_of(observed).unverified_run = Some(UnverifiedRun { since: NOW - 650, count: 3 });
}

fn was_mismatched(observed: &mut Observed) {
    receiver_of(observed).last_verified_key = None;
    observed.status.conditions.push(condition(ConditionType::SignaturesVerified, "False", Reason::SecretMismatch));
}

pub(super) fn situation(case: &Case) -> (Spec, Observed) {
    let (_, edit, change, ..) = case;
    let mut observed = settled();
    change(&mut observed);
    (Spec::parse(&webhook(edit)).unwrap(), observed)
}

#[test]
fn each_situation_has_the_expected_condition() {
    for case @ (sentence, _, _, condition_type, status, reason) in CASES {
        let (spec, observed) = situation(case);
        let conditions = status_after(&spec, &observed, None, at(NOW)).conditions;
        assert_eq!(
            find(&conditions, *condition_type),
            Some((status.as_str(), reason.as_str())),
            "{sentence}: {condition_type}"
        );
    }
}

/// Errors of a registration, each with its reason and whether the user must act.
fn failures() -> Vec<(ApiError, Reason, bool)> {
    let message = || String::from("no");
    vec![
        (ApiError::TokenRejected { message: message() }, Reason::TokenRejected, true),
        (ApiError::PlanExcludesWebhooks { message: message() }, Reason::PlanExcludesWebhooks, true),
        (ApiError::Conflict { message: message() }, Reason::Conflict, true),
        (ApiError::Invalid { status: 422, message: message() }, Reason::Rejected, true),
        (ApiError::TooManyRequests { retry_after: None }, Reason::QuotaExhausted, false),
        (ApiError::Server { status: 500, retry_after: None }, Reason::LinktreeUnavailable, false),
        (ApiError::Unreadable { problem: message() }, Reason::LinktreeUnavailable, false),
        (ApiError::TimedOut { after: Duration::from_secs(15) }, Reason::LinktreeUnavailable, false),
        (ApiError::Unreachable { problem: message(), before_sending: true }, Reason::LinktreeUnavailable, false),
    ]
}

#[test]
fn a_failed_registration_reports_its_cause_and_whether_the_user_must_act() {
    let (spec, mut observed) = (Spec::parse(&webhook(|_| {})).unwrap(), settled());
    unregistered(&mut observed);
    for (error, reason, needs_user) in failures() {
        let failure = Failure::Linktree { condition_type: ConditionType::Registered, error: error.clone() };
        let conditions = status_after(&spec, &observed, Some(failure), at(NOW)).conditions;
        let expected = Some(("False", reason.as_str()));
        assert_eq!(find(&conditions, ConditionType::Registered), expected, "{error}");
        assert_eq!(find(&conditions, ConditionType::Ready), expected, "{error}");
        let kstatus = if needs_user { ConditionType::Stalled } else { ConditionType::Reconciling };
        assert_eq!(find(&conditions, kstatus), Some(("True", reason.as_str())), "{error}");
    }
}

#[test]
fn every_reason_has_a_situation() {
    let mut covered: BTreeSet<Reason> = CASES.iter().map(|(.., reason)| *reason).collect();
    covered.extend(failures().into_iter().map(|(_, reason, _)| reason));
    // Tested in `deletion`, `exposure`, `keys`, `second_operator` and below.
    covered.extend([Reason::Terminating, Reason::ExposureRefused, Reason::SecretNotKept, Reason::InvalidSpec]);
    covered.insert(Reason::ManagedByAnotherOperator);
    let missing: Vec<_> = Reason::ALL.iter().filter(|reason| !covered.contains(reason)).collect();
    assert!(missing.is_empty(), "no situation leads to {missing:?}");
}

#[test]
fn an_invalid_spec_is_stalled_and_changes_nothing_else() {
    let error =
        Spec::parse(&webhook(|v| v["spec"]["receiver"] = json!({"journal": {"capacity": "lots"}}))).unwrap_err();
    let before = settled().status;
    let status = status::invalid(&before, Some(2), &error, at(NOW));
    assert_eq!(find(&status.conditions, ConditionType::Stalled), Some(("True", "InvalidSpec")));
    assert_eq!(find(&status.conditions, ConditionType::Ready), Some(("False", "InvalidSpec")));
    assert_eq!((status.observed_generation, status.subscription), (Some(2), before.subscription));
}
