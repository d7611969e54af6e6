//! Tests of decisions: a table of situations with their expected conditions, which covers every reason, and properties
//! that hold for any mixture of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{
        SecretKeyReference,
        webhook_status::{
            LinktreeWebhookStatus, RecoveryResult, RecoveryStatus, SubscriptionAccount, SubscriptionState,
        },
    },
    linktree::{
        error::ApiError,
        wire::{self, SubscriptionId},
    },
    operator::{
        account::{
            Snapshot,
            capabilities::{Call, Capabilities},
        },
        kubernetes::object_key::ObjectKey,
        webhook::{
            challenge::Challenge,
            creation::Creation,
            observed::{Child, Exposure, Keys, Part, Pod, ProbeResult, Receiver, RouteState, StaleObject, Unresolved},
            outcome::{Failure, Outcome},
            spec::{Spec, tests::webhook},
            status::{self, Report},
            subscription_record::registering,
        },
    },
    route::{
        self,
        status::{
            Certificate, HoldCause, JournalHealth, JournalUsage, ReceiverStatus, RemovedSink, SinkHold, SinkStatus,
            UnverifiedRun,
        },
    },
};

mod cases;
mod correction;
mod deletion;
mod exposure;
mod external;
mod keys;
mod ownership;
mod properties;
mod redrive;
mod sinks;
mod sync;

pub(super) const NOW: i64 = 1_800_000_000;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A webhook that is in sync: registered, enabled, with verified deliveries.
pub(in crate::operator::webhook) fn settled() -> Observed {
    let url = Spec::parse(&webhook(|_| {})).unwrap().url;
    let known = json!({"id": "wh_1", "url": url, "events": ["link.created", "link.updated"], "status": "active"});
    let snapshot = Snapshot {
        listed_at: at(NOW - 10),
        account: None,
        subscriptions: vec![serde_json::from_value(known).unwrap()],
        absent: BTreeSet::new(),
    };
    let mut subscription = registering(Some(Time(at(NOW - 3600))));
    subscription.id = Some("wh_1".into());
    subscription.state = SubscriptionState::Enabled;
    Observed {
        finalizer: true,
        status: LinktreeWebhookStatus { subscription: Some(subscription), ..LinktreeWebhookStatus::default() },
        connection: Connection::Listed {
            snapshot: Arc::new(snapshot),
            in_cluster: true,
            capabilities: Capabilities::default(),
            not_ready: None,
            token: "t1".into(),
        },
        keys: Keys::Found { active: "provider".into(), missing: Vec::new(), expired: Vec::new() },
        keys_changed: false,
        secret_kept_for: Some(SubscriptionId("wh_1".into())),
        next_key_end: None,
        rotate_request: None,
        redrive_request: None,
        route_digest: "r1".into(),
        children: std::collections::BTreeMap::new(),
        receiver: Receiver {
            refused: None,
            pod: Some(Pod { name: "links-receiver-0".into(), ready: true, ..Pod::default() }),
            status: Some(receiver_status()),
        },
        exposure: Exposure::NotOurs,
        stale_objects: Vec::new(),
        sinks_unresolved: Vec::new(),
        sink_failures: BTreeMap::new(),
        url_taken_by: None,
        id_taken_by: None,
        challenge: Some(Challenge::new(&crate::linktree::secret::Secret::new("probe"), "r1", None)),
        leads_here: false,
        probe: ProbeResult::Succeeded { certificate_expires: None },
        probed_at: Some(at(NOW)),
        hold_until: None,
        held: None,
        unresolved: None,
        creation: Creation::First,
        correction: None,
        sync_request: None,
    }
}

fn receiver_status() -> ReceiverStatus {
    ReceiverStatus {
        last_received_time: Some(NOW - 60),
        last_verified_time: Some(NOW - 60),
        last_verified_key: Some("provider".into()),
        sinks: vec![SinkStatus {
            name: "cms".into(),
            last_success_time: None,
            consecutive_failures: 0,
            backlog: Some(0),
            dead_lettered: Some(0),
            last_failure: None,
            last_answer: None,
            held: None,
            dropped: 0,
        }],
        ..ReceiverStatus::idle("r1".into())
    }
}

fn account(observed: &mut Observed) -> &mut Snapshot {
    if !matches!(observed.connection, Connection::Listed { .. }) {
        observed.connection = settled().connection;
    }
    match &mut observed.connection {
        Connection::Listed { snapshot, .. } => Arc::make_mut(snapshot),
        Connection::Unusable { .. } | Connection::Unlisted => unreachable!(),
    }
}

/// The subscription as Linktree has it.
fn known(observed: &mut Observed) -> &mut wire::Subscription {
    let subscriptions = &mut account(observed).subscriptions;
    if subscriptions.is_empty() {
        subscriptions.extend(account(&mut settled()).subscriptions.clone());
    }
    &mut subscriptions[0]
}

fn unregistered(observed: &mut Observed) {
    account(observed).subscriptions.clear();
    observed.status.subscription = None;
}

fn pod(observed: &mut Observed) -> &mut Pod {
    observed.receiver.pod.get_or_insert_default()
}

fn receiver_of(observed: &mut Observed) -> &mut ReceiverStatus {
    observed.receiver.status.get_or_insert_with(receiver_status)
}

fn disabled(observed: &mut Observed) {
    let known = known(observed);
    known.status = Some(wire::SubscriptionStatus::Disabled);
    known.disabled_at = Some(NOW - 600);
}

fn lacks(observed: &mut Observed, call: Call) {
    account(observed);
    if let Connection::Listed { capabilities, .. } = &mut observed.connection {
        capabilities.set(call, crate::api::connection::Capability::Unsupported);
    }
}

fn attempts(observed: &mut Observed, last: i64, today: i64) {
    let subscription = observed.status.subscription.get_or_insert_with(|| registering(None));
    subscription.recovery = Some(RecoveryStatus {
        last_attempt_time: Time(at(last)),
        last_result: RecoveryResult::Succeeded,
        attempts: today,
        day_start_time: Time(at(NOW - 7200)),
        attempts_today: today,
        next_attempt_time: None,
    });
}

fn condition(condition_type: ConditionType, status: &str, reason: Reason) -> Condition {
    Condition {
        type_: condition_type.to_string(),
        status: status.into(),
        reason: reason.to_string(),
        message: "as before".into(),
        observed_generation: Some(1),
        last_transition_time: Time(at(NOW - 100)),
    }
}

fn place(name: &str) -> SecretKeyReference {
    SecretKeyReference { name: name.into(), key: "secret".into() }
}

/// The status after a decision whose steps have this failure.
fn status_after(spec: &Spec, observed: &Observed, failure: Option<Failure>, now: Timestamp) -> LinktreeWebhookStatus {
    let outcome = Outcome { failures: failure.into_iter().collect(), ..Outcome::default() };
    let route = route::tests::route();
    let report = Report {
        generation: spec.generation,
        url: spec.url.as_str(),
        route: (!spec.is_external()).then_some(&route),
        observed,
        plan: decide(spec, observed, now),
        outcome: &outcome,
        hold_until: None,
        now,
    };
    report.status()
}

fn find(conditions: &[Condition], condition_type: ConditionType) -> Option<(&str, &str)> {
    conditions::find(conditions, condition_type).map(|it| (it.status.as_str(), it.reason.as_str()))
}
