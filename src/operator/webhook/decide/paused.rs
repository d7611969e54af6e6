//! pause Reconciliation: what would be done is left undone, and the status says so. What is so is still told as it is.

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

/// Takes every step that would write something out of the plan. The conditions that those steps were to fulfil say that
/// they wait for a person; so does `Stalled`, since a condition that holds today does not show that work is left undone.
pub(super) fn hold_back(pause: Pause, steps: &mut Vec<Step>, findings: &mut Vec<(ConditionType, Finding)>) {
    match pause {
        Pause::Reconciliation => {}
        Pause::None | Pause::Forwarding => return,
    }
    let held: Vec<ConditionType> = steps.iter().filter_map(would_mend).collect();
    // A list writes nothing, and what it finds out is worth knowing.
    steps.retain(|step| matches!(step, Step::RequestList));
    if held.is_empty() {
        return;
    }
    for (_, finding) in findings.iter_mut().filter(|(of, finding)| held.contains(of) && !finding.holds()) {
        *finding = Finding::new(
            finding.status,
            Reason::Paused,
            format!("{}; nothing is done while {PAUSED}", finding.message),
        );
    }
    let message = format!("work for {} is left undone while {PAUSED}", names(&held));
    findings.push((ConditionType::Stalled, Finding::new(Status::True, Reason::Paused, message)));
}

const PAUSED: &str = "spec.pause is Reconciliation";

/// The condition that a step is to fulfil.
fn would_mend(step: &Step) -> Option<ConditionType> {
    match step {
        Step::Apply(Child::Exposure) | Step::Remove(_) => Some(ConditionType::EndpointReachable),
        Step::Apply(_) | Step::RefreshPodMount { .. } => Some(ConditionType::ReceiverAvailable),
        Step::RecordRegistration { .. } | Step::Register => Some(ConditionType::Registered),
        Step::RotateSecret { .. } => Some(ConditionType::SigningKeysReady),
        Step::Update { .. } => Some(ConditionType::UpToDate),
        Step::Reenable { .. } | Step::Unsubscribe { .. } => Some(ConditionType::SubscriptionEnabled),
        // The finalizer is only needed before something is registered; the others write nothing.
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
