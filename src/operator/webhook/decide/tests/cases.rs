//! The situations.

use super::{
    exposure::{ingress, route},
    *,
};
use crate::operator::kubernetes::conditions::Status::{False, True, Unknown};

/// A sentence, what the spec and the world are like, and the condition that follows.
pub(super) type Case = (&'static str, fn(&mut Value), fn(&mut Observed), ConditionType, Status, Reason);

fn any(_: &mut Value) {}

fn paused(object: &mut Value) {
    object["spec"]["pause"] = "Reconciliation".into();
}

#[rustfmt::skip] // A table: one situation, one line.
pub(super) const CASES: &[Case] = &[
    // The connection.
    ("the account was listed", any, |_| {}, ConditionType::ConnectionReady, True, Reason::Available),
    ("it was not listed yet", any, |o| o.connection = Connection::Unlisted, ConditionType::ConnectionReady, Unknown, Reason::Pending),
    ("there is no connection", any, |o| o.connection = unusable(Reason::ConnectionMissing), ConditionType::ConnectionReady, False, Reason::ConnectionMissing),
    ("its token is missing", any, |o| o.connection = unusable(Reason::TokenMissing), ConditionType::ConnectionReady, False, Reason::TokenMissing),
    // The receiver.
    ("its pod keeps deliveries", any, |_| {}, ConditionType::ReceiverAvailable, True, Reason::Available),
    ("there is no pod", any, |o| o.receiver.pod = None, ConditionType::ReceiverAvailable, False, Reason::Progressing),
    ("the pod is being deleted", any, |o| pod(o).terminating = true, ConditionType::ReceiverAvailable, False, Reason::Progressing),
    ("the pod waits for its image", any, |o| pod(o).waiting = Some("ImagePullBackOff".into()), ConditionType::ReceiverAvailable, False, Reason::Progressing),
    ("the pod is not ready", any, |o| pod(o).ready = false, ConditionType::ReceiverAvailable, False, Reason::Progressing),
    ("no node has room", any, |o| pod(o).unschedulable = Some("0/1 nodes: Insufficient cpu".into()), ConditionType::ReceiverAvailable, False, Reason::Unschedulable),
    ("no volume is bound", any, |o| pod(o).unschedulable = Some("unbound immediate PersistentVolumeClaims: volume".into()), ConditionType::ReceiverAvailable, False, Reason::StorageUnavailable),
    ("the journal is full", any, |o| receiver_of(o).journal = JournalHealth::Full, ConditionType::ReceiverAvailable, False, Reason::StorageUnavailable),
    ("the journal cannot be written", any, |o| receiver_of(o).journal = JournalHealth::Failed { problem: "EIO".into() }, ConditionType::ReceiverAvailable, False, Reason::StorageUnavailable),
    ("it is ready and does not answer the operator", any, |o| o.receiver.status = None, ConditionType::ReceiverAvailable, Unknown, Reason::StatusUnavailable),
    ("its certificate is no good", with_tls, |o| certificate(o, false), ConditionType::ReceiverAvailable, False, Reason::CertificateUnusable),
    ("a new certificate is no good and the one before still is", with_tls, |o| certificate(o, true), ConditionType::ReceiverAvailable, True, Reason::CertificateUnusable),
    // The endpoint.
    ("the probe got our answer", any, |_| {}, ConditionType::EndpointReachable, True, Reason::ProbeSucceeded),
    ("nothing was probed", any, |o| o.probe = ProbeResult::NotProbed, ConditionType::EndpointReachable, Unknown, Reason::NotProbed),
    ("the host has no address", any, |o| o.probe = ProbeResult::DnsFailed { problem: "no such host".into() }, ConditionType::EndpointReachable, False, Reason::DNSFailed),
    ("nothing listens", any, |o| o.probe = ProbeResult::ConnectionFailed { problem: "refused".into() }, ConditionType::EndpointReachable, False, Reason::ConnectionFailed),
    ("the certificate lasts for two weeks more", any, |o| o.probe = ends(NOW + 14 * 86_400), ConditionType::EndpointReachable, True, Reason::ProbeSucceeded),
    ("the certificate lasts for less", any, |o| o.probe = ends(NOW + 14 * 86_400 - 1), ConditionType::EndpointReachable, True, Reason::CertificateExpiring),
    ("the certificate has ended", any, |o| o.probe = ProbeResult::CertificateExpired { at: Some(at(NOW - 1)) }, ConditionType::EndpointReachable, False, Reason::CertificateExpired),
    ("the certificate is another host's", any, |o| o.probe = ProbeResult::CertificateNameMismatch, ConditionType::EndpointReachable, False, Reason::CertificateNameMismatch),
    ("nobody knows who made the certificate", any, |o| o.probe = ProbeResult::CertificateUntrusted, ConditionType::EndpointReachable, False, Reason::CertificateUntrusted),
    ("TLS cannot be agreed on", any, |o| o.probe = ProbeResult::TlsFailed { problem: "no common cipher".into() }, ConditionType::EndpointReachable, False, Reason::TLSFailed),
    ("something else answers", any, |o| o.probe = ProbeResult::Unexpected { problem: "200".into() }, ConditionType::EndpointReachable, False, Reason::UnexpectedResponse),
    ("the Ingress is still to be made", any, |o| exposed(o, Exposure::Absent), ConditionType::EndpointReachable, False, Reason::Pending),
    ("no controller has taken the Ingress", any, |o| exposed(o, ingress(false)), ConditionType::EndpointReachable, False, Reason::AddressPending),
    ("the Ingress has an address and nothing listens there", any, |o| exposed(o, ingress(true)), ConditionType::EndpointReachable, False, Reason::ConnectionFailed),
    ("the cluster knows no routes", any, |o| exposed(o, Exposure::GatewayApiMissing), ConditionType::EndpointReachable, False, Reason::GatewayApiMissing),
    ("only a person can install the Gateway API", any, |o| exposed(o, Exposure::GatewayApiMissing), ConditionType::Stalled, True, Reason::GatewayApiMissing),
    ("no gateway speaks of the route", any, |o| exposed(o, route(RouteState::Unseen)), ConditionType::EndpointReachable, False, Reason::RoutePending),
    ("the gateway does not accept the route", any, |o| exposed(o, route(RouteState::NotAccepted { problem: "NotAllowedByListeners".into() })), ConditionType::EndpointReachable, False, Reason::RouteNotAccepted),
    ("the gateway does not find the Service", any, |o| exposed(o, route(RouteState::NotResolved { problem: "BackendNotFound".into() })), ConditionType::EndpointReachable, False, Reason::RouteNotResolved),
    ("the route is in place and nothing listens", any, |o| exposed(o, route(RouteState::InPlace)), ConditionType::EndpointReachable, False, Reason::ConnectionFailed),
    ("a controller keeps its address to itself and the url leads here all the same", any, |o| o.exposure = ingress(false), ConditionType::EndpointReachable, True, Reason::ProbeSucceeded),
    ("somebody's own receiver answers 401", external, theirs, ConditionType::EndpointReachable, True, Reason::ProbeSucceeded),
    ("somebody's own receiver takes what is not signed", external, |o| answered(o, 200), ConditionType::EndpointReachable, True, Reason::UnsignedAccepted),
    ("somebody's own receiver is broken", external, |o| answered(o, 500), ConditionType::EndpointReachable, False, Reason::UnexpectedResponse),
    ("somebody else's 401 where our receiver should be", any, |o| o.probe = foreign(401), ConditionType::EndpointReachable, False, Reason::UnexpectedResponse),
    // The keys.
    ("the secret is kept for somebody's own receiver", external, theirs, ConditionType::SigningKeysReady, True, Reason::SecretKept),
    ("somebody's own receiver has the secret from elsewhere", external, secret_elsewhere, ConditionType::SigningKeysReady, Unknown, Reason::SecretUnknown),
    ("the secret kept is an earlier subscription's", external, |o| { theirs(o); o.secret_kept_for = Some(SubscriptionId("wh_0".into())); }, ConditionType::SigningKeysReady, Unknown, Reason::SecretUnknown),
    ("the secret for somebody's own receiver comes with the registration", external, |o| { nothing_known(o); secret_elsewhere(o); }, ConditionType::SigningKeysReady, Unknown, Reason::Pending),
    ("the receiver has its keys", any, |_| {}, ConditionType::SigningKeysReady, True, Reason::Loaded),
    ("the receiver has an older route", any, |o| receiver_of(o).route_digest = "r0".into(), ConditionType::SigningKeysReady, Unknown, Reason::Pending),
    ("the receiver had keys and reads newer ones", any, keys_were_loaded, ConditionType::SigningKeysReady, True, Reason::Loaded),
    ("a key the user names is missing", any, |o| o.keys = Keys::CurrentMissing(place("own")), ConditionType::SigningKeysReady, False, Reason::SecretMissing),
    ("the secret comes with the registration", any, |o| o.keys = Keys::ProviderMissing(place("links-signing")), ConditionType::SigningKeysReady, False, Reason::Pending),
    ("Linktree does not give the secret", any, secret_not_to_be_had, ConditionType::SigningKeysReady, False, Reason::AwaitingProviderSecret),
    ("the time of every key is over", any, |o| o.keys = Keys::Expired, ConditionType::SigningKeysReady, False, Reason::KeysExpired),
    // The registration.
    ("we made the subscription", any, |o| o.status.conditions.push(condition(ConditionType::Registered, "True", Reason::Created)), ConditionType::Registered, True, Reason::Created),
    ("there was one for the url", any, |o| o.status.subscription = None, ConditionType::Registered, True, Reason::Adopted),
    ("the only one there is has another url", any, |o| { o.status.subscription = None; known(o).url = "https://elsewhere.example.com/".into(); }, ConditionType::Registered, False, Reason::Pending),
    ("there is none", any, nothing_known, ConditionType::Registered, False, Reason::Pending),
    ("there is one and adoption is not allowed", |v| v["spec"]["subscription"] = json!({"adoptionPolicy": "Never"}), |o| o.status.subscription = None, ConditionType::Registered, False, Reason::Conflict),
    ("the one to adopt is not there", |v| v["spec"]["subscription"] = json!({"adoptionPolicy": "ByID", "id": "wh_9"}), nothing_known, ConditionType::Registered, False, Reason::SubscriptionNotFound),
    ("the url is for the cluster and Linktree is outside", any, outside, ConditionType::Registered, False, Reason::NotExposed),
    ("another webhook has the url", external, taken, ConditionType::Registered, False, Reason::Conflict),
    ("another webhook has the url of what is registered already", external, |o| { theirs(o); o.url_taken_by = Some(ObjectKey::new("a", "b")); }, ConditionType::Registered, True, Reason::Adopted),
    // Its content.
    ("the url moves to somebody's own receiver, which answers", external, answers_elsewhere, ConditionType::UpToDate, False, Reason::DriftDetected),
    ("it is as the spec says", any, |_| {}, ConditionType::UpToDate, True, Reason::Matched),
    ("an answer that leaves events out does not tell", any, |o| known(o).events.clear(), ConditionType::UpToDate, Unknown, Reason::Unobservable),
    ("somebody changed the events", any, drifted, ConditionType::UpToDate, False, Reason::DriftDetected),
    ("drift is only to be reported", |v| v["spec"]["subscription"] = json!({"driftPolicy": "Report"}), drifted, ConditionType::UpToDate, False, Reason::DriftDetected),
    ("Linktree knows no PATCH", any, |o| { drifted(o); lacks(o, Call::Update); }, ConditionType::UpToDate, False, Reason::UpdateRestricted),
    // Whether Linktree sends.
    ("it sends", any, |_| {}, ConditionType::SubscriptionEnabled, True, Reason::Enabled),
    ("a status word we do not know", any, |o| known(o).status = None, ConditionType::SubscriptionEnabled, True, Reason::Enabled),
    ("it was disabled and all is well", any, disabled, ConditionType::SubscriptionEnabled, False, Reason::DisabledByProvider),
    ("it was disabled and there is no way to enable it", any, |o| { disabled(o); lacks(o, Call::Reenable); lacks(o, Call::Delete); }, ConditionType::SubscriptionEnabled, False, Reason::ReenableUnsupported),
    ("it was disabled and the pod is not ready", any, |o| { disabled(o); pod(o).ready = false; }, ConditionType::SubscriptionEnabled, False, Reason::WaitingForHealth),
    ("it was disabled and something else answers", any, |o| { disabled(o); o.probe = ProbeResult::Unexpected { problem: "401".into() }; }, ConditionType::SubscriptionEnabled, False, Reason::WaitingForHealth),
    ("it was disabled and there is no key", any, |o| { disabled(o); o.keys = Keys::CurrentMissing(place("own")); }, ConditionType::SubscriptionEnabled, False, Reason::WaitingForHealth),
    ("it was disabled for its secret, which is still wrong", any, |o| { disabled(o); mismatched(o); }, ConditionType::SubscriptionEnabled, False, Reason::SecretMismatch),
    ("a restarted receiver has forgotten that it is wrong", any, |o| { disabled(o); was_mismatched(o); }, ConditionType::SubscriptionEnabled, False, Reason::SecretMismatch),
    ("the secret was replaced since", any, |o| { disabled(o); was_mismatched(o); o.keys_changed = true; }, ConditionType::SubscriptionEnabled, False, Reason::DisabledByProvider),
    ("the receiver has not read the new secret yet", any, |o| { disabled(o); keys_were_loaded(o); }, ConditionType::SubscriptionEnabled, False, Reason::WaitingForHealth),
    ("it was disabled in the very second in which the wrong signatures began", any, |o| { disabled(o); mismatched(o); known(o).disabled_at = Some(NOW - 650); }, ConditionType::SubscriptionEnabled, False, Reason::SecretMismatch),
    ("a forger came after it was disabled", any, |o| { disabled(o); mismatched(o); known(o).disabled_at = Some(NOW - 700); }, ConditionType::SubscriptionEnabled, False, Reason::DisabledByProvider),
    ("it was enabled a minute ago and is disabled again", any, |o| { disabled(o); attempts(o, NOW - 60, 1); }, ConditionType::SubscriptionEnabled, False, Reason::ReenableBackoff),
    ("the cooldown is over", any, |o| { disabled(o); attempts(o, NOW - 901, 1); }, ConditionType::SubscriptionEnabled, False, Reason::DisabledByProvider),
    ("the day's attempts are used up", any, |o| { disabled(o); attempts(o, NOW - 60, 6); }, ConditionType::SubscriptionEnabled, False, Reason::ReenableBudgetExhausted),
    ("recovery is not wanted", |v| v["spec"]["subscription"] = json!({"recovery": {"policy": "Never"}}), disabled, ConditionType::SubscriptionEnabled, False, Reason::RecoveryDisabled),
    // What comes in.
    ("the last delivery was good", any, |_| {}, ConditionType::SignaturesVerified, True, Reason::Verified),
    ("nothing came yet", any, |o| receiver_of(o).last_verified_key = None, ConditionType::SignaturesVerified, Unknown, Reason::NoTraffic),
    ("it was signed with an older key", any, |o| receiver_of(o).last_verified_key = Some("k0".into()), ConditionType::SignaturesVerified, True, Reason::PreviousKeyInUse),
    ("no key fits and Linktree says that deliveries fail", any, |o| { mismatched(o); failing(o); }, ConditionType::SignaturesVerified, False, Reason::SecretMismatch),
    ("no key fits and Linktree is content: a forger", any, mismatched, ConditionType::SignaturesVerified, True, Reason::Verified),
    ("the clock is wrong", any, |o| { receiver_of(o).clock_offset_seconds = Some(400); failing(o); }, ConditionType::SignaturesVerified, False, Reason::ClockSkew),
    ("an id came with another body", any, |o| receiver_of(o).last_hour.conflict = 1, ConditionType::SignaturesVerified, True, Reason::DeliveryIDConflict),
    ("an id came with another body, and no key fits any more", any, |o| { receiver_of(o).last_hour.conflict = 1; mismatched(o); failing(o); }, ConditionType::SignaturesVerified, False, Reason::SecretMismatch),
    // What goes out.
    ("the sinks take events", any, |_| {}, ConditionType::Delivering, True, Reason::Healthy),
    ("there are no sinks", |v| v["spec"]["sinks"] = json!([]), |_| {}, ConditionType::Delivering, True, Reason::Healthy),
    ("a sink's address is not known", any, sink_unresolved, ConditionType::Delivering, False, Reason::SinkUnresolved),
    ("a sink refuses", any, |o| receiver_of(o).sinks[0].consecutive_failures = 3, ConditionType::Delivering, False, Reason::SinkFailing),
    ("a sink is slow", any, |o| receiver_of(o).sinks[0].backlog = 1000, ConditionType::Delivering, False, Reason::Backlog),
    ("forwarding is paused", |v| v["spec"]["pause"] = "Forwarding".into(), |_| {}, ConditionType::Delivering, False, Reason::Paused),
    ("the receiver has not read that it is", |v| v["spec"]["pause"] = "Forwarding".into(), |o| receiver_of(o).route_digest = "r0".into(), ConditionType::Delivering, Unknown, Reason::Pending),
    ("paused forwarding does not hurt the intake", |v| v["spec"]["pause"] = "Forwarding".into(), |_| {}, ConditionType::Ready, True, Reason::Available),
    // What is left undone.
    ("paused, it is not registered", paused, nothing_known, ConditionType::Registered, False, Reason::Paused),
    ("paused, drift stays", paused, drifted, ConditionType::UpToDate, False, Reason::Paused),
    ("paused, it stays disabled", paused, disabled, ConditionType::SubscriptionEnabled, False, Reason::Paused),
    ("paused, no pod is made", paused, |o| { o.receiver = Receiver::default(); o.children_outdated = vec![Child::StatefulSet]; }, ConditionType::ReceiverAvailable, False, Reason::Paused),
    ("paused, a change does not reach a receiver that runs", paused, |o| o.children_outdated = vec![Child::StatefulSet], ConditionType::Stalled, True, Reason::Paused),
    ("paused, and what runs goes on", paused, |o| o.children_outdated = vec![Child::StatefulSet], ConditionType::Ready, True, Reason::Available),
    // The risk.
    ("deliveries arrive", any, |_| {}, ConditionType::DeliveryAtRisk, False, Reason::DeliveriesSucceeding),
    ("deliveries fail", any, failing, ConditionType::DeliveryAtRisk, True, Reason::DeliveriesFailing),
    ("none are sent", any, disabled, ConditionType::DeliveryAtRisk, True, Reason::SubscriptionDisabled),
    // All together: root causes first.
    ("all is well", any, |_| {}, ConditionType::Ready, True, Reason::Available),
    ("no traffic yet is no doubt", any, |o| receiver_of(o).last_verified_key = None, ConditionType::Ready, True, Reason::Available),
    ("a failing sink does not hurt the intake", any, |o| receiver_of(o).sinks[0].consecutive_failures = 3, ConditionType::Ready, True, Reason::Available),
    ("an unreachable account does not hurt what is registered", any, unreachable_account, ConditionType::Ready, True, Reason::Available),
    ("nothing is registered for want of a token", any, |o| { nothing_known(o); o.connection = unusable(Reason::TokenMissing); }, ConditionType::Ready, False, Reason::TokenMissing),
    ("no pod, so no answer at the url either", any, |o| { o.receiver = Receiver::default(); o.probe = ProbeResult::NotProbed; }, ConditionType::Ready, False, Reason::Progressing),
    ("somebody's own receiver answers, and has the secret from elsewhere", external, secret_elsewhere, ConditionType::Ready, True, Reason::Available),
    ("somebody's own receiver is gone", external, |o| answered(o, 404), ConditionType::Ready, False, Reason::UnexpectedResponse),
    ("disabled because the url leads elsewhere", any, |o| { disabled(o); o.probe = ProbeResult::Unexpected { problem: "401".into() }; }, ConditionType::Ready, False, Reason::UnexpectedResponse),
    ("what only a person can mend is stalled", any, |o| o.keys = Keys::CurrentMissing(place("own")), ConditionType::Stalled, True, Reason::SecretMissing),
    ("what passes is reconciling", any, |o| pod(o).ready = false, ConditionType::Reconciling, True, Reason::Progressing),
];

pub(super) fn external(object: &mut Value) {
    object["spec"]["endpoint"] = json!({"type": "External", "external": {"url": "https://hooks.example.com/in"}});
    object["spec"]["sinks"] = json!([]);
}

pub(super) fn foreign(status: u16) -> ProbeResult {
    ProbeResult::Foreign { status, problem: "an answer that is not the receiver's".into(), certificate_expires: None }
}

/// Somebody's own receiver answers this; Linktree sends to it, if to anything.
pub(super) fn answered(observed: &mut Observed, status: u16) {
    (observed.receiver, observed.probe) = (Receiver::default(), foreign(status));
    if let Some(known) = account(observed).subscriptions.first_mut() {
        known.url = "https://hooks.example.com/in".into();
    }
}

/// Registered and sent to, and somebody's own receiver refuses what is not signed.
pub(super) fn theirs(observed: &mut Observed) {
    answered(observed, 401);
}

pub(super) fn secret_elsewhere(observed: &mut Observed) {
    theirs(observed);
    (observed.keys, observed.secret_kept_for) = (Keys::ProviderMissing(place("links-signing")), None);
}

/// As [`theirs`], and Linktree still sends to the bundled one.
pub(super) fn answers_elsewhere(observed: &mut Observed) {
    theirs(observed);
    known(observed).url = Spec::parse(&webhook(|_| {})).unwrap().url.into();
}

fn taken(observed: &mut Observed) {
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

/// It is exposed so, and nothing answers.
fn exposed(observed: &mut Observed, exposure: Exposure) {
    observed.exposure = exposure;
    observed.probe = ProbeResult::ConnectionFailed { problem: "refused".into() };
}

fn unusable(reason: Reason) -> Connection {
    Connection::Unusable { reason, message: "the connection says why".into() }
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

fn secret_not_to_be_had(observed: &mut Observed) {
    observed.keys = Keys::ProviderMissing(place("links-signing"));
    lacks(observed, Call::RotateSecret);
}

fn outside(observed: &mut Observed) {
    nothing_known(observed);
    if let Connection::Listed { in_cluster, .. } = &mut observed.connection {
        *in_cluster = false;
    }
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
fn each_situation_has_its_condition() {
    for case @ (sentence, _, _, of, status, reason) in CASES {
        let (spec, observed) = situation(case);
        let conditions = status_after(&spec, &observed, None, at(NOW)).conditions;
        assert_eq!(find(&conditions, *of), Some((status.as_str(), reason.as_str())), "{sentence}: {of}");
    }
}

/// What a failed registration means, and whether a person has to act.
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
fn a_failed_registration_says_why_and_whether_a_person_has_to_act() {
    let (spec, mut observed) = (Spec::parse(&webhook(|_| {})).unwrap(), settled());
    nothing_known(&mut observed);
    for (error, reason, person) in failures() {
        let failure = Failure::Linktree { of: ConditionType::Registered, error: error.clone() };
        let conditions = status_after(&spec, &observed, Some(failure), at(NOW)).conditions;
        let expected = Some(("False", reason.as_str()));
        assert_eq!(find(&conditions, ConditionType::Registered), expected, "{error}");
        assert_eq!(find(&conditions, ConditionType::Ready), expected, "{error}");
        let kstatus = if person { ConditionType::Stalled } else { ConditionType::Reconciling };
        assert_eq!(find(&conditions, kstatus), Some(("True", reason.as_str())), "{error}");
    }
}

#[test]
fn every_reason_has_a_situation() {
    let mut seen: BTreeSet<Reason> = CASES.iter().map(|(.., reason)| *reason).collect();
    seen.extend(failures().into_iter().map(|(_, reason, _)| reason));
    // Asserted in `deletion`, in `exposure`, in `keys` and below.
    seen.extend([Reason::Terminating, Reason::ExposureRefused, Reason::SecretNotKept, Reason::InvalidSpec]);
    let missing: Vec<_> = Reason::ALL.iter().filter(|reason| !seen.contains(reason)).collect();
    assert!(missing.is_empty(), "no situation leads to {missing:?}");
}

#[test]
fn a_spec_that_cannot_be_used_stalls_and_leaves_the_rest_as_it_was() {
    let error =
        Spec::parse(&webhook(|v| v["spec"]["receiver"] = json!({"journal": {"capacity": "lots"}}))).unwrap_err();
    let before = settled().status;
    let status = status::invalid(&before, Some(2), &error, at(NOW));
    assert_eq!(find(&status.conditions, ConditionType::Stalled), Some(("True", "InvalidSpec")));
    assert_eq!(find(&status.conditions, ConditionType::Ready), Some(("False", "InvalidSpec")));
    assert_eq!((status.observed_generation, status.subscription), (Some(2), before.subscription));
}
