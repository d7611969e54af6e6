//! Reports failed steps on the conditions.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::condition::{ConditionType, Reason},
    linktree::error::{ApiError, RetryClass},
    operator::{
        kubernetes::conditions::{self, Finding},
        webhook::outcome::Failure,
    },
};

/// Shortest hold whose end a message contains. The end of a shorter one would move with every attempt, and each move
/// costs a status write.
const LONG_HOLD: SignedDuration = SignedDuration::from_mins(10);

/// Reports a failed step on the condition that it should have made true.
pub(super) fn apply(
    failure: &Failure,
    hold_until: Option<Timestamp>,
    now: Timestamp,
    findings: &mut [(ConditionType, Finding)],
) {
    let (message, reason) = describe(failure, hold_until, now);
    let condition_type = match failure {
        Failure::Kubernetes { .. } => ConditionType::ReceiverAvailable,
        Failure::Exposure { .. } => return not_exposed(reason, &message, findings),
        Failure::Redrive { .. } => return add_to_delivering(&message, findings),
        Failure::SecretNotStored { .. } | Failure::SecretNotOurs { .. } => ConditionType::SigningKeysReady,
        Failure::Linktree { condition_type, .. } => *condition_type,
    };
    set(findings, condition_type, Finding::new(false, reason, message));
}

/// Reports a failed write of the Ingress or HTTPRoute on `EndpointReachable`.
///
/// The condition stays true while the URL leads to the receiver.
fn not_exposed(reason: Reason, message: &str, findings: &mut [(ConditionType, Finding)]) {
    let endpoint = findings.iter_mut().find(|(condition_type, _)| *condition_type == ConditionType::EndpointReachable);
    let Some((_, finding)) = endpoint else { return };
    *finding = if finding.holds() {
        Finding { message: format!("{}; however, {message}", finding.message), ..finding.clone() }
    } else {
        Finding::new(false, reason, message)
    };
}

/// Adds the message to that of `Delivering`: a request to send dead letters again says nothing about the sinks.
fn add_to_delivering(message: &str, findings: &mut [(ConditionType, Finding)]) {
    if let Some((_, finding)) = findings.iter_mut().find(|(found, _)| *found == ConditionType::Delivering) {
        finding.message = format!("{}; {message}", finding.message);
    }
}

/// The message and condition reason for a failed step.
pub(super) fn describe(failure: &Failure, hold_until: Option<Timestamp>, now: Timestamp) -> (String, Reason) {
    match failure {
        Failure::Kubernetes { problem } => {
            (format!("a request to the Kubernetes API failed: {problem}"), Reason::Progressing)
        }
        Failure::Exposure { problem } => {
            (format!("a change to the receiver's exposure failed: {problem}"), Reason::ExposureRefused)
        }
        Failure::Redrive { problem } => {
            (format!("the requested redrive waits, and is tried again: {problem}"), Reason::Pending)
        }
        Failure::SecretNotOurs { problem, created: _ } => (problem.clone(), Reason::NameTaken),
        Failure::SecretNotStored { problem, created } => {
            let next = if *created {
                "a new one is created once it can be stored"
            } else {
                "it is requested once it can be stored"
            };
            (format!("the signing secret from Linktree cannot be stored: {problem}; {next}"), Reason::SecretNotKept)
        }
        Failure::Linktree { error, .. } => {
            // The message of a throttled request already contains the time of the next attempt.
            let is_long = |until: &Timestamp| until.duration_since(now) >= LONG_HOLD;
            let next = hold_until.filter(is_long).filter(|_| !matches!(error, ApiError::Throttled { .. }));
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

/// Replaces the finding for a condition type; does nothing if there is none.
pub(super) fn set(findings: &mut [(ConditionType, Finding)], condition_type: ConditionType, finding: Finding) {
    if let Some((_, old)) = findings.iter_mut().find(|(found, _)| *found == condition_type) {
        *old = finding;
    }
}
