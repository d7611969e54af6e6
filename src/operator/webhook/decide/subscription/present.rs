//! The decision for a webhook whose subscription exists: it must match the spec and be enabled.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    outcome::{EVENTS, Health, Subscription, URL},
    recovery,
};
use crate::{
    api::{
        condition::{ConditionType, Reason},
        subscription::DriftPolicy,
        webhook_status::{DriftStatus, SubscriptionState, SubscriptionStatus},
    },
    linktree::{event::EventType, retry::DISABLE_AFTER, wire},
    operator::{
        account::capabilities::Capabilities,
        kubernetes::{
            apply::in_order_kept,
            conditions::{self, Finding, Status},
        },
        webhook::{
            correction::Correction,
            observed::{Keys, Observed},
            ownership::is_same_url,
            plan::Step,
            spec::{self, Spec},
        },
    },
};

pub(super) fn decide(
    spec: &Spec,
    observed: &Observed,
    known: &wire::Subscription,
    capabilities: Capabilities,
    health: &Health<'_>,
    now: Timestamp,
) -> Subscription {
    let previous = observed.status.subscription.as_ref();
    let mut steps = Vec::new();
    let registered = registered(observed, known, &mut steps);
    let previous_drift = previous.map(|subscription| subscription.drift.as_slice());
    let same = |before: &DriftStatus, drift: &DriftStatus| before.field == drift.field;
    let drift = in_order_kept(drift(spec, known), previous_drift.unwrap_or_default(), same);
    let correction = observed.correction.as_ref();
    let up_to_date = up_to_date(spec, known, &drift, capabilities, (health, correction, now), &mut steps);
    if !capabilities.lacks_rotation() {
        steps.extend(rotation(spec, observed, known));
    }
    let recovery = recovery::decide(spec, observed, known, capabilities, health, now);
    steps.extend(recovery.step);
    if observed.hold_until.is_some_and(|until| now < until) {
        steps.retain(|step| matches!(step, Step::Adopt { .. }));
    }
    let disabled = known.status == Some(wire::SubscriptionStatus::Disabled);
    let disabled_since = || known.disabled_at.and_then(time).or_else(|| previous?.disabled_time.clone());
    Subscription {
        status: Some(SubscriptionStatus {
            id: Some(known.id.0.clone()),
            state: if disabled { SubscriptionState::Disabled } else { SubscriptionState::Enabled },
            registration_time: previous.and_then(|previous| previous.registration_time.clone()),
            failing_since_time: known.failing_since.and_then(time),
            disable_deadline_time: known.failing_since.and_then(disable_deadline),
            disabled_time: disabled.then(|| disabled_since().unwrap_or(Time(conditions::whole_seconds(now)))),
            drift,
            plan: Vec::new(),
            recovery: recovery.record,
        }),
        registered,
        up_to_date,
        enabled: recovery.enabled,
        at_risk: at_risk(known, now),
        steps,
    }
}

fn registered(observed: &Observed, known: &wire::Subscription, steps: &mut Vec<Step>) -> Finding {
    let own_id = observed.status.subscription.as_ref().and_then(|subscription| subscription.id.as_ref());
    let created = conditions::has_reason(&observed.status.conditions, ConditionType::Registered, Reason::Created);
    if own_id == Some(&known.id.0) && created {
        return Finding::new(true, Reason::Created, format!("the operator created subscription {}", known.id));
    }
    if own_id != Some(&known.id.0) {
        steps.push(Step::Adopt { id: known.id.clone() });
    }
    Finding::new(true, Reason::Adopted, format!("the operator adopted subscription {}", known.id))
}

/// The steps that rotate the signing secret, if the receiver lacks the current one or the user requests it.
fn rotation(spec: &Spec, observed: &Observed, known: &wire::Subscription) -> Vec<Step> {
    match spec.keys {
        spec::Keys::Provider { .. } => {}
        spec::Keys::Named(_) => return Vec::new(),
    }
    // The secret of an earlier subscription does not verify this one's deliveries.
    let is_outdated = observed.secret_kept_for.as_ref().is_some_and(|kept_for| *kept_for != known.id);
    let is_missing = is_outdated || matches!(observed.keys, Keys::ProviderMissing(_));
    // An external receiver may use the secret from the dashboard; after a rotation, it would reject all deliveries.
    let is_needed = is_missing && !spec.is_external();
    if !is_needed && observed.rotate_request.is_none() {
        return Vec::new();
    }
    let (id, request) = (known.id.clone(), observed.rotate_request.clone());
    vec![Step::DryRunSecretWrite, Step::RotateSecret { id, keep_previous: !is_missing, request }]
}

/// The subscription's fields that differ from the spec.
///
/// A field that Linktree's response omits counts as matching.
fn drift(spec: &Spec, known: &wire::Subscription) -> Vec<DriftStatus> {
    let field =
        |field: &str, desired: String, observed: String| DriftStatus { field: field.to_owned(), desired, observed };
    let events: BTreeSet<EventType> = known.events.iter().cloned().collect();
    let mut drift = Vec::new();
    if !known.url.is_empty() && !is_same_url(&known.url, &spec.url) {
        drift.push(field(URL, spec.url.to_string(), known.url.clone()));
    }
    if !events.is_empty() && events != spec.events {
        drift.push(field(EVENTS, names(&spec.events), names(&events)));
    }
    drift
}

fn up_to_date(
    spec: &Spec,
    known: &wire::Subscription,
    drift: &[DriftStatus],
    capabilities: Capabilities,
    (health, correction, now): (&Health<'_>, Option<&Correction>, Timestamp),
    steps: &mut Vec<Step>,
) -> Finding {
    if drift.is_empty() && known.events.is_empty() {
        let message = "Linktree's API does not return the subscription's events: if you change spec.events, change them in the dashboard, too";
        return Finding::new(Status::Unknown, Reason::Unobservable, message);
    }
    if drift.is_empty() {
        return Finding::new(true, Reason::Matched, "the URL and events match the spec");
    }
    let differs = |field: &str| drift.iter().any(|drift| drift.field == field);
    let fields: Vec<_> = drift.iter().map(|drift| drift.field.as_str()).collect();
    let fields = fields.join(" and ");
    match spec.policies.drift {
        DriftPolicy::Report => {
            let message = format!(
                "the subscription differs from the spec in {fields}, and driftPolicy is Report: see status.subscription.drift"
            );
            Finding::new(false, Reason::DriftDetected, message)
        }
        DriftPolicy::Correct if capabilities.lacks_update() => {
            let message = format!(
                "the subscription differs from the spec in {fields}, and Linktree's API cannot update it: change it in the dashboard"
            );
            Finding::new(false, Reason::UpdateRestricted, message)
        }
        DriftPolicy::Correct => {
            // Until the receiver at the new URL can accept deliveries, the subscription keeps its previous URL.
            let deferred = differs(URL) && !health.answers();
            let change = wire::UpdateSubscription {
                url: (differs(URL) && !deferred).then(|| spec.url.to_string()),
                events: differs(EVENTS).then(|| spec.events.iter().cloned().collect()),
                status: None,
            };
            let waits = correction.is_some_and(|it| it.must_wait(spec.generation, drift, now));
            if change != wire::UpdateSubscription::default() && !waits {
                steps.push(Step::Update { id: known.id.clone(), change });
            }
            if !deferred && correction.is_some_and(|it| it.was_in_vain(spec.generation, drift, now)) {
                return kept_by_linktree(drift);
            }
            let next = if deferred {
                format!("the URL is updated once the receiver responds at {}", spec.url)
            } else {
                "updating it".to_owned()
            };
            Finding::new(
                false,
                Reason::DriftDetected,
                format!("the subscription differs from the spec in {fields}; {next}"),
            )
        }
    }
}

/// The finding if an update had no effect.
fn kept_by_linktree(drift: &[DriftStatus]) -> Finding {
    let kept = drift.iter().map(|drift| format!("{} {}", drift.field, drift.observed)).collect::<Vec<_>>().join(", ");
    let message = format!(
        "Linktree's API keeps {kept} after an update: write this into the spec, or change it in the dashboard; the update is repeated ever more rarely"
    );
    Finding::new(false, Reason::UpdateRestricted, message)
}

/// Percentages of the time until Linktree disables the subscription. The message has the largest one that has passed.
const THRESHOLDS: [i64; 3] = [90, 75, 50];

fn at_risk(known: &wire::Subscription, now: Timestamp) -> Finding {
    let at = |second: i64| Timestamp::from_second(second).unwrap_or_default();
    match (known.status, known.failing_since, known.disabled_at) {
        (Some(wire::SubscriptionStatus::Disabled), since, disabled) => {
            let since = disabled.or(since).map(|since| format!(" since {}", at(since))).unwrap_or_default();
            let message = format!("Linktree has sent nothing{since}: events are being lost");
            Finding::new(true, Reason::SubscriptionDisabled, message)
        }
        (Some(wire::SubscriptionStatus::Active) | None, Some(since), _) => {
            let deadline = disable_deadline(since).map(|deadline| deadline.0).unwrap_or_default();
            let passed = now.as_second().saturating_sub(since).saturating_mul(100) / disable_after();
            let passed = THRESHOLDS.iter().find(|threshold| passed >= **threshold);
            let passed =
                passed.map(|percent| format!(" (more than {percent} % of that time has passed)")).unwrap_or_default();
            let message = format!(
                "deliveries have failed since {}; Linktree disables the subscription at {deadline}{passed}",
                at(since)
            );
            Finding::new(true, Reason::DeliveriesFailing, message)
        }
        (Some(wire::SubscriptionStatus::Active) | None, None, _) => {
            Finding::new(false, Reason::DeliveriesSucceeding, "no deliveries fail")
        }
    }
}

fn names(events: &BTreeSet<EventType>) -> String {
    events.iter().map(EventType::as_str).collect::<Vec<_>>().join(",")
}

fn time(second: i64) -> Option<Time> {
    Timestamp::from_second(second).ok().map(Time)
}

fn disable_deadline(failing_since: i64) -> Option<Time> {
    time(failing_since.saturating_add(disable_after()))
}

fn disable_after() -> i64 {
    i64::try_from(DISABLE_AFTER.as_secs()).unwrap_or(i64::MAX)
}
