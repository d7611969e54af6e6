//! What the conditions say of steps that failed.

use jiff::Timestamp;

use crate::{
    api::condition::{ConditionType, Reason},
    linktree::error::{ApiError, RetryClass},
    operator::{
        kubernetes::conditions::{self, Finding},
        webhook::outcome::Failure,
    },
};

/// Has the condition that a failed step was to fulfil say why it is not.
pub(super) fn apply(failure: &Failure, hold_until: Option<Timestamp>, findings: &mut [(ConditionType, Finding)]) {
    let (message, reason) = describe(failure, hold_until);
    let of = match failure {
        Failure::Kubernetes { .. } => ConditionType::ReceiverAvailable,
        Failure::Exposure { .. } => return not_exposed(reason, &message, findings),
        Failure::NotKept { .. } => ConditionType::SigningKeysReady,
        Failure::Linktree { of, .. } => *of,
    };
    set(findings, of, Finding::new(false, reason, message));
}

/// As long as the URL leads to the receiver, what could not be written is only told.
fn not_exposed(reason: Reason, message: &str, findings: &mut [(ConditionType, Finding)]) {
    let endpoint = findings.iter_mut().find(|(of, _)| *of == ConditionType::EndpointReachable);
    let Some((_, finding)) = endpoint else { return };
    *finding = if finding.holds() {
        Finding { message: format!("{}; yet {message}", finding.message), ..finding.clone() }
    } else {
        Finding::new(false, reason, message)
    };
}

/// What is said of a failed step.
pub(super) fn describe(failure: &Failure, hold_until: Option<Timestamp>) -> (String, Reason) {
    match failure {
        Failure::Kubernetes { problem } => (format!("the Kubernetes API refused: {problem}"), Reason::Progressing),
        Failure::Exposure { problem } => {
            (format!("the Kubernetes API refused what exposes the receiver: {problem}"), Reason::ExposureRefused)
        }
        Failure::NotKept { problem, made } => {
            let next = if *made {
                "a new one is made as soon as it can be"
            } else {
                "Linktree is asked for it once it can be"
            };
            (format!("the signing secret from Linktree cannot be kept: {problem}; {next}"), Reason::SecretNotKept)
        }
        Failure::Linktree { error, .. } => {
            // Who waits for its turn is told about when that is.
            let next = hold_until.filter(|_| !matches!(error, ApiError::Throttled { .. }));
            let next =
                next.map(|until| format!("; next attempt at {}", conditions::whole_seconds(until))).unwrap_or_default();
            (format!("{error}{next}"), failure_reason(error))
        }
    }
}

fn failure_reason(error: &ApiError) -> Reason {
    match error {
        ApiError::Conflict { .. } => Reason::Conflict,
        ApiError::Invalid { .. } => Reason::Rejected,
        ApiError::TokenRejected { .. } => Reason::TokenRejected,
        ApiError::PlanExcludesWebhooks { .. } => Reason::PlanExcludesWebhooks,
        ApiError::Throttled { .. } | ApiError::TooManyRequests { .. } => Reason::QuotaExhausted,
        ApiError::NotFound
        | ApiError::Unsupported { .. }
        | ApiError::Server { .. }
        | ApiError::Unreadable { .. }
        | ApiError::TimedOut { .. }
        | ApiError::Unreachable { .. } => match error.retry_class() {
            RetryClass::Transient { .. } => Reason::LinktreeUnavailable,
            RetryClass::Permanent => Reason::Rejected,
            RetryClass::Absent => Reason::Pending,
        },
    }
}

/// Replaces the finding of a condition, if there is one.
pub(super) fn set(findings: &mut [(ConditionType, Finding)], of: ConditionType, finding: Finding) {
    if let Some((_, old)) = findings.iter_mut().find(|(found, _)| *found == of) {
        *old = finding;
    }
}
