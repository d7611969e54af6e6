//! `Ready` and the kstatus conditions, which summarize the findings.

use crate::{
    api::condition::{ConditionType, Reason},
    operator::kubernetes::conditions::{Finding, Status},
};

/// The conditions that `Ready` requires, root causes first: the first that is not true gives `Ready` its reason and
/// message.
const READY_NEEDS: [ConditionType; 6] = [
    ConditionType::ReceiverAvailable,
    ConditionType::EndpointReachable,
    ConditionType::Registered,
    ConditionType::SigningKeysReady,
    ConditionType::SubscriptionEnabled,
    ConditionType::SignaturesVerified,
];

/// Adds `Ready`, and either `Reconciling` or `Stalled` if one of them is true, but never both (kstatus).
pub(super) fn summarize(findings: &mut Vec<(ConditionType, Finding)>, busy: bool) {
    let ready = ready(findings);
    let paused = findings.iter().any(|(condition_type, _)| *condition_type == ConditionType::Stalled);
    // `Delivering` does not count: neither a failing sink nor paused forwarding makes the webhook `Stalled`.
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
    // An unusable connection is the root cause only before the registration; afterwards Linktree sends in any case.
    let registered = get(ConditionType::Registered).is_some_and(Finding::holds);
    let connection = get(ConditionType::ConnectionReady).filter(|finding| !registered && !finding.holds());
    let missing = READY_NEEDS.iter().find_map(|condition_type| {
        let finding = get(*condition_type)?;
        // `Unknown` counts as true before the first delivery, and for an external receiver with its secret from the
        // dashboard.
        let unknown_is_enough =
            *condition_type == ConditionType::SignaturesVerified || finding.reason == Reason::SecretUnknown;
        let holds = finding.holds() || (unknown_is_enough && finding.status == Status::Unknown);
        (!holds).then_some(finding)
    });
    match connection.or(missing) {
        Some(finding) => {
            // The consequence: until when Linktree tries, or since when it sends nothing.
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

/// Whether a problem with this reason persists until the user changes something.
fn needs_user(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ConnectionMissing
            | Reason::TokenMissing
            | Reason::TokenRejected
            | Reason::PlanExcludesWebhooks
            | Reason::Conflict
            | Reason::AwaitingProof
            | Reason::AccountChanged
            | Reason::SubscriptionNotFound
            | Reason::RecoveryDisabled
            | Reason::ReenableUnsupported
            | Reason::NameTaken
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
