//! Renders findings as status conditions. No other code writes conditions, so that their transition times, generations
//! and order are consistent.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::apply::in_order_kept;
use crate::api::condition::{ConditionType, Reason};

/// The value of a condition's `status` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    True,
    False,
    Unknown,
}

impl Status {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::True => "True",
            Status::False => "False",
            Status::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Status::True } else { Status::False }
    }
}

/// The result of one rule, rendered as one condition. Its message tells a user the state and the remedy. The message
/// contains nothing that changes with each reconciliation, since each change costs a status write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub status: Status,
    pub reason: Reason,
    pub message: String,
}

impl Finding {
    pub fn new(status: impl Into<Status>, reason: Reason, message: impl Into<String>) -> Self {
        Finding { status: status.into(), reason, message: message.into() }
    }

    #[must_use]
    pub fn holds(&self) -> bool {
        self.status == Status::True
    }
}

/// Renders findings as conditions. Types that are in `previous` keep their order there, as with a server-side apply;
/// new ones follow in the given order. `lastTransitionTime` changes only if the condition's status does.
#[must_use]
pub fn render(
    findings: &[(ConditionType, Finding)],
    previous: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let conditions = findings
        .iter()
        .map(|(condition_type, Finding { status, reason, message })| {
            let before = find(previous, *condition_type).filter(|before| before.status == status.as_str());
            Condition {
                type_: condition_type.to_string(),
                status: status.as_str().to_owned(),
                reason: reason.to_string(),
                message: bounded(message),
                observed_generation: generation,
                last_transition_time: before
                    .map_or_else(|| Time(whole_seconds(now)), |before| before.last_transition_time.clone()),
            }
        })
        .collect();
    in_order_kept(conditions, previous, |before, condition| before.type_ == condition.type_)
}

/// The condition of this type, if `conditions` has one.
#[must_use]
pub fn find(conditions: &[Condition], condition_type: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == condition_type.as_str())
}

/// Whether `conditions` has one of this type with this reason.
#[must_use]
pub fn has_reason(conditions: &[Condition], condition_type: ConditionType, reason: Reason) -> bool {
    find(conditions, condition_type).is_some_and(|condition| condition.reason == reason.as_str())
}

/// A time without its fraction of a second, as the Kubernetes API stores it: a value read back then equals the written
/// one.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Maximum length of a condition's message, in characters. Kubernetes allows 32 KiB, which is too long to read.
const MESSAGE_MAX: usize = 1024;

fn bounded(message: &str) -> String {
    message.chars().take(MESSAGE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(holds: bool, message: &str) -> Vec<(ConditionType, Finding)> {
        vec![(ConditionType::Ready, Finding::new(holds, Reason::Available, message))]
    }

    #[test]
    fn the_transition_time_changes_with_the_status_and_not_with_the_message() {
        let first = render(&ready(true, "a"), &[], Some(1), at(10));
        let second = render(&ready(true, "b"), &first, Some(2), at(20));
        assert_eq!((second[0].last_transition_time.0, second[0].message.as_str()), (at(10), "b"));
        let third = render(&ready(false, "b"), &second, Some(2), at(30));
        assert_eq!(third[0].last_transition_time.0, at(30));
    }

    #[test]
    fn a_condition_without_a_finding_is_removed() {
        let stalled = vec![(ConditionType::Stalled, Finding::new(true, Reason::InvalidSpec, ""))];
        let before = render(&stalled, &[], Some(1), at(10));
        assert!(find(&render(&ready(true, ""), &before, Some(1), at(20)), ConditionType::Stalled).is_none());
    }

    #[test]
    fn conditions_keep_the_order_that_the_api_server_keeps() {
        let finding = |condition_type| (condition_type, Finding::new(true, Reason::Available, ""));
        let [ready, stalled, delivering] =
            [ConditionType::Ready, ConditionType::Stalled, ConditionType::Delivering].map(finding);
        let before = render(&[ready.clone(), stalled.clone()], &[], Some(1), at(10));
        let after = render(&[ready, delivering, stalled], &before, Some(1), at(20));
        let order: Vec<&str> = after.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(order, ["Ready", "Stalled", "Delivering"]);
    }

    #[test]
    fn a_message_is_bounded() {
        assert_eq!(render(&ready(true, &"é".repeat(5000)), &[], None, at(0))[0].message.chars().count(), MESSAGE_MAX);
    }
}
