//! `Ready` and the kstatus conditions, a summary of the findings.

use crate::{
    api::condition::{ConditionType, Reason},
    operator::kubernetes::conditions::{Finding, Status},
};

/// The conditions that `Ready` requires, root causes first: the first that is not true gives `Ready` its reason.
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
    let paused = findings.iter().any(|(condition_type, _)| *condition_type == ConditionType::Stalled);
    // Sinks are not part of it: neither a failing sink nor paused forwarding makes the webhook fail.
    let stalled = findings
        .iter()
        .find(|(condition_type, finding)| {
            *condition_type != ConditionType::Delivering && !finding.holds() && needs_user(finding.reason)
        })
        .cloned();
    let unsettled = findings.iter().find(|(condition_type, finding)| {
        *condition_type == ConditionType::UpToDate && finding.status == Status::False
    });
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
    let get = |wanted: ConditionType| {
        findings.iter().find(|(condition_type, _)| *condition_type == wanted).map(|(_, finding)| finding)
    };
    // An account that cannot be used is the root cause only while nothing is registered.
    let registered = get(ConditionType::Registered).is_some_and(Finding::holds);
    let connection = get(ConditionType::ConnectionReady).filter(|finding| !registered && !finding.holds());
    let missing = READY_NEEDS.iter().find_map(|condition_type| {
        let finding = get(*condition_type)?;
        // `Unknown` is enough without traffic yet, or if an external receiver has its secret from the dashboard.
        let unknown_is_enough =
            *condition_type == ConditionType::SignaturesVerified || finding.reason == Reason::SecretUnknown;
        let holds = finding.holds() || (unknown_is_enough && finding.status == Status::Unknown);
        (!holds).then_some(finding)
    });
    match connection.or(missing) {
        Some(finding) => {
            // The consequence, with its time.
            let at_risk = get(ConditionType::DeliveryAtRisk).filter(|risk| risk.holds());
            let next = at_risk.map(|risk| format!("; {}", risk.message)).unwrap_or_default();
            Finding { status: Status::False, message: format!("{}{next}", finding.message), ..finding.clone() }
        }
        None if get(ConditionType::ReceiverAvailable).is_none() => {
            Finding::new(true, Reason::Available, "Linktree sends events, and your receiver responds at the URL")
        }
        None => Finding::new(true, Reason::Available, "a signed event sent now would be accepted and stored"),
    }
}

/// Whether a reason persists until the user changes something.
fn needs_user(reason: Reason) -> bool {
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
