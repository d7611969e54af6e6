//! `spec.pause: Reconciliation`: the operator makes no changes, and the status shows which ones are pending.

use crate::{
    api::{
        condition::{ConditionType, Reason},
        webhook::Pause,
    },
    operator::{
        kubernetes::conditions::{Finding, Status},
        webhook::{observed::Child, plan::Step},
    },
};

/// Removes every step that writes something from the plan, and reports the pause on the conditions that these steps
/// should have made true.
///
/// `Stalled` reports the pause, too, since a condition that is true now does not show that a change is pending.
pub(super) fn hold_back(pause: Pause, steps: &mut Vec<Step>, findings: &mut Vec<(ConditionType, Finding)>) {
    match pause {
        Pause::Reconciliation => {}
        Pause::None | Pause::Forwarding => return,
    }
    let held: Vec<ConditionType> = steps.iter().filter_map(condition_of).collect();
    // A list of the account writes nothing, and keeps the status current.
    steps.retain(|step| matches!(step, Step::RequestList));
    if held.is_empty() {
        return;
    }
    for (_, finding) in
        findings.iter_mut().filter(|(condition_type, finding)| held.contains(condition_type) && !finding.holds())
    {
        *finding = Finding::new(
            finding.status,
            Reason::Paused,
            format!("{}; no changes are made while {PAUSED}", finding.message),
        );
    }
    let message = format!("changes for {} are pending while {PAUSED}: set it to None", names(&held));
    findings.push((ConditionType::Stalled, Finding::new(Status::True, Reason::Paused, message)));
}

const PAUSED: &str = "spec.pause is Reconciliation";

/// The condition that a step makes true.
fn condition_of(step: &Step) -> Option<ConditionType> {
    match step {
        Step::Apply(Child::Exposure, _) | Step::Remove(_) => Some(ConditionType::EndpointReachable),
        Step::Apply(..) | Step::RefreshPodMount { .. } => Some(ConditionType::ReceiverAvailable),
        Step::Redrive { .. } => Some(ConditionType::Delivering),
        Step::RecordRegistration { .. } | Step::Register { .. } => Some(ConditionType::Registered),
        Step::RotateSecret { .. } => Some(ConditionType::SigningKeysReady),
        Step::Update { .. } => Some(ConditionType::UpToDate),
        Step::Reenable { .. } | Step::Unsubscribe { .. } => Some(ConditionType::SubscriptionEnabled),
        // The finalizer is only needed before a registration. The other steps write nothing, or never occur in this
        // plan.
        Step::AddFinalizer
        | Step::RequestList
        | Step::DryRunSecretWrite
        | Step::Adopt { .. }
        | Step::RemoveFinalizer { .. } => None,
    }
}

fn names(held: &[ConditionType]) -> String {
    let held: std::collections::BTreeSet<_> = held.iter().copied().collect();
    held.into_iter().map(ConditionType::as_str).collect::<Vec<_>>().join(", ")
}
