//! `Ready` and the kstatus conditions: what the findings come to.

use crate::{
    api::condition::{ConditionType, Reason},
    operator::kubernetes::conditions::{Finding, Status},
};

/// What must hold for `Ready`, root causes first: the first that does not gives `Ready` its reason.
const READY_NEEDS: [ConditionType; 6] = [
    ConditionType::ReceiverAvailable,
    ConditionType::EndpointReachable,
    ConditionType::Registered,
    ConditionType::SigningKeysReady,
    ConditionType::SubscriptionEnabled,
    ConditionType::SignaturesVerified,
];

/// Adds `Ready`, and `Reconciling` or `Stalled` while one of them is true; never both (kstatus).
pub(super) fn summarize(findings: &mut Vec<(ConditionType, Finding)>, busy: bool) {
    let ready = ready(findings);
    let paused = findings.iter().any(|(of, _)| *of == ConditionType::Stalled);
    // What the sinks do is no part of it: neither a failing sink nor paused forwarding makes the webhook fail.
    let stalled = findings
        .iter()
        .find(|(of, finding)| *of != ConditionType::Delivering && !finding.holds() && needs_a_person(finding.reason))
        .cloned();
    let unsettled =
        findings.iter().find(|(of, finding)| *of == ConditionType::UpToDate && finding.status == Status::False);
    let kstatus = match (stalled, unsettled) {
        (Some((_, finding)), _) => Some((ConditionType::Stalled, Finding { status: Status::True, ..finding })),
        (None, _) if !ready.holds() => {
            Some((ConditionType::Reconciling, Finding { status: Status::True, ..ready.clone() }))
        }
        (None, Some((_, finding))) if busy => {
            Some((ConditionType::Reconciling, Finding { status: Status::True, ..finding.clone() }))
        }
        (None, _) => None,
    };
    let kstatus = kstatus.filter(|_| !paused);
    findings.insert(0, (ConditionType::Ready, ready));
    findings.extend(kstatus);
}

fn ready(findings: &[(ConditionType, Finding)]) -> Finding {
    let get = |of: ConditionType| findings.iter().find(|(found, _)| *found == of).map(|(_, finding)| finding);
    // An account that cannot be used is the root cause only as long as nothing is registered.
    let registered = get(ConditionType::Registered).is_some_and(Finding::holds);
    let connection = get(ConditionType::ConnectionReady).filter(|finding| !registered && !finding.holds());
    let missing = READY_NEEDS.iter().find_map(|of| {
        let finding = get(*of)?;
        // No traffic yet is no reason to doubt the keys; nor is it one that somebody's own receiver has them elsewhere.
        let undoubted = *of == ConditionType::SignaturesVerified || finding.reason == Reason::SecretUnknown;
        let holds = finding.holds() || (undoubted && finding.status == Status::Unknown);
        (!holds).then_some(finding)
    });
    match connection.or(missing) {
        Some(finding) => {
            // What comes of it, and when.
            let at_risk = get(ConditionType::DeliveryAtRisk).filter(|risk| risk.holds());
            let next = at_risk.map(|risk| format!("; {}", risk.message)).unwrap_or_default();
            Finding { status: Status::False, message: format!("{}{next}", finding.message), ..finding.clone() }
        }
        None if get(ConditionType::ReceiverAvailable).is_none() => {
            Finding::new(true, Reason::Available, "Linktree sends, and your receiver answers at the url")
        }
        None => Finding::new(true, Reason::Available, "a signed event sent now is accepted and kept"),
    }
}

/// Reasons that stay until a person changes something.
fn needs_a_person(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ConnectionMissing
            | Reason::TokenMissing
            | Reason::TokenRejected
            | Reason::PlanExcludesWebhooks
            | Reason::Conflict
            | Reason::SubscriptionNotFound
            | Reason::RecoveryDisabled
            | Reason::ReenableUnsupported
            | Reason::NotExposed
            | Reason::GatewayApiMissing
            | Reason::Rejected
            | Reason::SecretMissing
            | Reason::KeysExpired
            | Reason::AwaitingProviderSecret
            | Reason::SecretMismatch
            | Reason::UpdateRestricted
            | Reason::Paused
            | Reason::InvalidSpec
    )
}
