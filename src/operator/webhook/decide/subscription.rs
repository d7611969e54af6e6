//! The subscription at Linktree: that there is exactly one, that it is as the spec says, that Linktree sends to it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::signing::kept;
use crate::{
    api::{
        condition::{ConditionType, Reason},
        webhook::ExposureType,
        webhook_status::{SubscriptionState, SubscriptionStatus},
    },
    linktree::{retry::DISABLE_AFTER, wire},
    operator::{
        account::{Capabilities, Snapshot},
        conditions::{self, Finding, Status},
        webhook::{
            observed::{Connection, Keys, Observed},
            plan::Step,
            spec::Spec,
        },
    },
};

mod recovery;

pub(in crate::operator::webhook) use recovery::attempted;

/// What the rules on the subscription found out.
pub(super) struct Subscription {
    pub(super) status: Option<SubscriptionStatus>,
    pub(super) registered: Finding,
    pub(super) up_to_date: Finding,
    pub(super) enabled: Finding,
    pub(super) at_risk: Finding,
    pub(super) steps: Vec<Step>,
}

impl Subscription {
    /// Linktree's own word that its deliveries do not arrive.
    pub(super) fn failing(&self) -> bool {
        self.at_risk.holds()
    }
}

/// What must be in order before Linktree is told to send.
pub(super) struct Health<'a> {
    pub(super) receiver: &'a Finding,
    pub(super) endpoint: &'a Finding,
    pub(super) keys: &'a Finding,
}

pub(super) fn decide(spec: &Spec, observed: &Observed, health: &Health<'_>, now: Timestamp) -> Subscription {
    match &observed.connection {
        Connection::Unusable { .. } | Connection::Unlisted => unseen(observed),
        Connection::Listed { snapshot, in_cluster, capabilities } => match find(spec, observed, snapshot) {
            Some(known) => present(spec, observed, known, *capabilities, health, now),
            None => absent(spec, observed, snapshot, *in_cluster, health, now),
        },
    }
}

/// By its id where we know one, else by url: the url is the webhook's identity at Linktree.
fn find<'a>(spec: &Spec, observed: &Observed, snapshot: &'a Arc<Snapshot>) -> Option<&'a wire::Subscription> {
    let id = observed.status.subscription.as_ref().and_then(|subscription| subscription.id.as_deref());
    let by_id = snapshot.subscriptions.iter().find(|known| Some(known.id.0.as_str()) == id);
    by_id.or_else(|| snapshot.subscriptions.iter().find(|known| known.url == spec.url.as_str()))
}

/// The account cannot be looked at: what was known stays.
fn unseen(observed: &Observed) -> Subscription {
    Subscription {
        status: observed.status.subscription.clone(),
        registered: kept(observed, ConditionType::Registered),
        up_to_date: kept(observed, ConditionType::UpToDate),
        enabled: kept(observed, ConditionType::SubscriptionEnabled),
        at_risk: kept(observed, ConditionType::DeliveryAtRisk),
        steps: Vec::new(),
    }
}

fn absent(
    spec: &Spec,
    observed: &Observed,
    snapshot: &Snapshot,
    in_cluster: bool,
    health: &Health<'_>,
    now: Timestamp,
) -> Subscription {
    let begun = observed.status.subscription.as_ref().and_then(|subscription| subscription.registration_time.clone());
    let (registered, steps) = if spec.exposure == ExposureType::Service && !in_cluster {
        (not_in_cluster(), Vec::new())
    } else if observed.hold_until.is_some_and(|until| now < until) {
        (kept(observed, ConditionType::Registered), Vec::new())
    } else if !(health.receiver.holds() && health.endpoint.holds()) {
        let message = format!("registers as soon as the receiver answers at {}", spec.url);
        (Finding::new(false, Reason::Pending, message), Vec::new())
    } else if begun.as_ref().is_some_and(|begun| snapshot.listed_at < begun.0) {
        // An earlier registration may have taken effect without our seeing its answer: look before asking again.
        let message = "looking on the account for a subscription made by an earlier attempt";
        (Finding::new(false, Reason::Pending, message), vec![Step::RequestList])
    } else {
        let at = next_whole_second(now);
        let message = "the subscription is being registered";
        (Finding::new(false, Reason::Pending, message), vec![Step::RecordRegistration { at }, Step::Register])
    };
    let pending = || Finding::new(Status::Unknown, Reason::Pending, "there is no subscription yet");
    Subscription {
        status: begun.map(|begun| registering(Some(begun))),
        registered,
        up_to_date: pending(),
        enabled: pending(),
        at_risk: Finding::new(false, Reason::DeliveriesSucceeding, "nothing is sent yet"),
        steps,
    }
}

fn present(
    spec: &Spec,
    observed: &Observed,
    known: &wire::Subscription,
    capabilities: Capabilities,
    health: &Health<'_>,
    now: Timestamp,
) -> Subscription {
    let previous = observed.status.subscription.clone();
    let mut steps = Vec::new();
    let registered = registered(observed, known, &mut steps);
    let up_to_date = up_to_date(spec, known, capabilities, &mut steps);
    if matches!(observed.keys, Keys::ProviderMissing(_)) && !capabilities.rotate_unsupported {
        steps.push(Step::RotateSecret { id: known.id.clone() });
    }
    let recovery = recovery::kept(previous.as_ref(), known, observed);
    let enabled = recovery::decide(known, recovery.as_ref(), capabilities.update_unsupported, health, now, &mut steps);
    let held = observed.hold_until.is_some_and(|until| now < until);
    if held {
        steps.retain(|step| matches!(step, Step::Adopt { .. }));
    }
    Subscription {
        status: Some(SubscriptionStatus {
            id: Some(known.id.0.clone()),
            state: match known.status {
                Some(wire::SubscriptionStatus::Disabled) => SubscriptionState::Disabled,
                Some(wire::SubscriptionStatus::Active) | None => SubscriptionState::Enabled,
            },
            registration_time: previous.and_then(|previous| previous.registration_time),
            failing_since_time: known.failing_since.and_then(time),
            disable_deadline_time: known.failing_since.and_then(disable_deadline),
            recovery,
        }),
        registered,
        up_to_date,
        enabled,
        at_risk: at_risk(known),
        steps,
    }
}

fn registered(observed: &Observed, known: &wire::Subscription, steps: &mut Vec<Step>) -> Finding {
    let ours = observed.status.subscription.as_ref().and_then(|subscription| subscription.id.as_ref());
    let created = conditions::has_reason(&observed.status.conditions, ConditionType::Registered, Reason::Created);
    if ours == Some(&known.id.0) && created {
        return Finding::new(true, Reason::Created, format!("subscription {}", known.id));
    }
    if ours != Some(&known.id.0) {
        steps.push(Step::Adopt { id: known.id.clone() });
    }
    Finding::new(true, Reason::Adopted, format!("subscription {}, which was there for this url", known.id))
}

fn up_to_date(spec: &Spec, known: &wire::Subscription, capabilities: Capabilities, steps: &mut Vec<Step>) -> Finding {
    // What an answer leaves out is not known to differ.
    let url_differs = !known.url.is_empty() && known.url != spec.url.as_str();
    let events_differ = !known.events.is_empty()
        && known.events.iter().cloned().collect::<std::collections::BTreeSet<_>>() != spec.events;
    if !url_differs && !events_differ {
        return Finding::new(true, Reason::Matched, "url and events are as the spec says");
    }
    let fields = [(url_differs, "url"), (events_differ, "events")];
    let fields: Vec<_> = fields.into_iter().filter_map(|(differs, field)| differs.then_some(field)).collect();
    if capabilities.update_unsupported {
        let message =
            format!("{} cannot be changed through Linktree's API: change it in the dashboard", fields.join(" and "));
        return Finding::new(false, Reason::UpdateRestricted, message);
    }
    let change = wire::UpdateSubscription {
        url: url_differs.then(|| spec.url.to_string()),
        events: events_differ.then(|| spec.events.iter().cloned().collect()),
        status: None,
    };
    steps.push(Step::Update { id: known.id.clone(), change });
    Finding::new(
        false,
        Reason::DriftDetected,
        format!("{} at Linktree differ from the spec; correcting", fields.join(" and ")),
    )
}

fn at_risk(known: &wire::Subscription) -> Finding {
    let at = |second: i64| Timestamp::from_second(second).unwrap_or_default();
    match (known.status, known.failing_since, known.disabled_at) {
        (Some(wire::SubscriptionStatus::Disabled), since, disabled) => {
            let since = disabled.or(since).map(|since| format!(" since {}", at(since))).unwrap_or_default();
            Finding::new(
                true,
                Reason::SubscriptionDisabled,
                format!("Linktree sends nothing{since}: events are being lost"),
            )
        }
        (Some(wire::SubscriptionStatus::Active) | None, Some(since), _) => {
            let deadline = disable_deadline(since).map(|deadline| deadline.0).unwrap_or_default();
            let message =
                format!("deliveries fail since {}; Linktree disables the subscription at {deadline}", at(since));
            Finding::new(true, Reason::DeliveriesFailing, message)
        }
        (Some(wire::SubscriptionStatus::Active) | None, None, _) => {
            Finding::new(false, Reason::DeliveriesSucceeding, "no delivery is failing")
        }
    }
}

fn not_in_cluster() -> Finding {
    Finding::new(
        false,
        Reason::Rejected,
        "exposure.type Service is for a connection inside the cluster; write endpoint.managed.host and exposure.type None",
    )
}

/// The status of a subscription that was asked for and is not confirmed.
pub(in crate::operator::webhook) fn registering(begun: Option<Time>) -> SubscriptionStatus {
    SubscriptionStatus {
        id: None,
        state: SubscriptionState::Registering,
        registration_time: begun,
        failing_since_time: None,
        disable_deadline_time: None,
        recovery: None,
    }
}

fn time(second: i64) -> Option<Time> {
    Timestamp::from_second(second).ok().map(Time)
}

fn disable_deadline(failing_since: i64) -> Option<Time> {
    time(failing_since.saturating_add(i64::try_from(DISABLE_AFTER.as_secs()).unwrap_or(i64::MAX)))
}

/// Rounded up, since the API keeps whole seconds: a list begun before this moment must look older than it.
fn next_whole_second(now: Timestamp) -> Timestamp {
    conditions::whole_seconds(now).saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX)
}
